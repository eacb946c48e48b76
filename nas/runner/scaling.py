"""A family of networks from one winner, each twice as costly as the last: compound scaling (Tan 2019)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch

from nas.choices import Option
from nas.compression.pipeline import Pipeline
from nas.errors import RunDirectoryError, StudyError
from nas.evaluation.counts import count_macs
from nas.evaluation.from_scratch import FromScratch, fresh_network, train_from_scratch
from nas.files import write_text
from nas.objective import Measurement
from nas.objectives import Bench
from nas.pareto import non_dominated
from nas.progress import Progress
from nas.report.markdown import Marked
from nas.report.results import FILE_BYTES, Results
from nas.report.tables import Table, label, with_spread
from nas.runner.measuring import measure_candidates
from nas.runner.preparation import prepare
from nas.runner.running import run
from nas.runner.steps import Step
from nas.study import Study, Trust
from nas.supernet import Supernet
from nas.supernet.scaling import Factors, Growth, ScaledNetwork, Scaling
from nas.training.checkpoint import remove_checkpoint

_RATIO = 2.0
"""MACs of a member over those of the member before it: phi is the number of doublings (Tan 2019, equation 3)."""
_THIRDS = 3
"""Parts of a doubling that depth, width and resolution share: ten ways, of which three scale one of them alone."""
_BISECTIONS = 16
"""They find a factor between 1 and 16 to a thousandth, which no rounded width tells apart."""

_NEAR = math.log(1.1)
"""A tenth more or less is near enough: Tan 2019 has rounded members too."""

FIT = "fit how to scale"


@final
@dataclass(frozen=True)
class Shares:
    """How many thirds of a doubling of the MACs come from each; together three.

    MACs grow with the depth, and with the square of width and of resolution.
    """

    depth: int
    width: int
    resolution: int

    def __str__(self) -> str:
        return f"depth {self.depth}/3, width {self.width}/3, resolution {self.resolution}/3"

    @property
    def coefficients(self) -> Factors:
        """What depth, width and resolution are multiplied by for each doubling: alpha, beta and gamma of the paper."""
        part = _RATIO ** (1 / _THIRDS)
        return Factors(part**self.depth, part ** (self.width / 2), part ** (self.resolution / 2))


@final
@dataclass(frozen=True)
class Member:
    """A network of the family.

    Args:
        phi: How many doublings.
        factors: By how much it grew.
        ratio: Ratio of its MACs to those of the winner.
        quality: Quality on the search split after a training from scratch; None before.
    """

    phi: float
    factors: Factors
    ratio: float
    quality: Measurement | None = None


@final
class Family:
    """The networks that an architecture grows into.

    Args:
        study: The study whose space it is of.
        architecture: An option for every choice of the network; others are passed over.

    Raises:
        StudyError: the study's space says nothing of depth and width.
    """

    def __init__(self, study: Study, architecture: Mapping[str, Option]) -> None:
        self._study, self._scaling = study, study.scaling or Scaling()
        space = fresh_network(study.network, study.seed).space
        whole = space.architecture({c.name: architecture[c.name] for c in space.choices})
        active = space.active(space.indices([whole]))[0]
        self._options = {
            c.name: whole[c.name] for c, is_on in zip(space.choices, active, strict=True) if is_on
        }
        self._check_scaling()

    @classmethod
    def of_winner(cls, study: Study, results: Results, winner: str) -> Family:
        """Return the family of a run's winner.

        Raises:
            RunDirectoryError: the run has no such winner.
        """
        found = [one for one in results.winners if one.id == winner]
        if not found:
            known = [one.id for one in results.winners]
            raise RunDirectoryError(f"the run has no winner {winner!r}: choose among {known}.")
        return cls(study, found[0].choices)

    def _check_scaling(self) -> None:
        scaling = self._scaling
        if not any(scaling.is_width(n) or scaling.blocks_besides(n) is not None for n in self._options):
            raise StudyError(
                f"no choice of study {self._study.name!r} matches {scaling}: give the study scaling=Scaling(width=..., "
                "depth=...) with patterns of the names of its choices."
            )

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        splits = self._study.data.load()
        if not splits.inputs.is_image or splits.train.targets.dim() > 2:
            raise StudyError(
                f"study {self._study.name!r} doesn't judge whole images: compound scaling is for networks that take "
                "images and give none."
            )
        return splits.inputs.shapes[0]

    @cached_property
    def _macs(self) -> int:
        return self._count(Factors())

    def member(self, shares: Shares, phi: float) -> Member:
        """Return a member that costs ``2**phi`` times as much, as nearly as whole blocks, channels and pixels allow.

        Depth and resolution are rounded first; width takes up what that leaves, or resolution where width isn't
        scaled. Where that is a tenth or more, because widths are few and come in steps, the other dimensions that are
        scaled take it up.
        """
        base = shares.coefficients
        factors = Factors(base.depth**phi, base.width**phi, base.resolution**phi)
        scaled = [d for d in ("width", "resolution", "depth") if phi > 0 and getattr(shares, d)]
        error = math.inf if shares.width or shares.resolution else self._error(factors, phi)
        for dimension in scaled:
            if error > _NEAR:
                fitted = self._fit_factors(phi, factors, dimension)
                if self._error(fitted, phi) < error:
                    factors, error = fitted, self._error(fitted, phi)
        return Member(phi, factors, self._count(factors) / self._macs)

    def _error(self, factors: Factors, phi: float) -> float:
        """Return how far the MACs are from ``2**phi`` times the winner's, as a logarithm."""
        return abs(math.log(self._count(factors) / (_RATIO**phi * self._macs)))

    def _fit_factors(self, phi: float, factors: Factors, dimension: str) -> Factors:
        """Return the factors, of which one is free, whose MACs are nearest to the target."""
        low, high, target = 1.0, 2.0 ** (phi + 1), _RATIO**phi * self._macs
        tried: dict[Factors, int] = {}
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5
            one = replace(factors, **{dimension: middle})
            tried[one] = self._count(one)
            low, high = (middle, high) if tried[one] < target else (low, middle)
        return min(tried, key=lambda one: abs(np.log(tried[one] / target)))

    def _count(self, factors: Factors) -> int:
        with torch.device("meta"):
            supernet = Supernet(self._network(factors)())
            module = supernet.extract(supernet.space.smallest(), config=False).eval()
        return count_macs(module, self._shape)

    def _network(self, factors: Factors) -> ScaledNetwork:
        return ScaledNetwork(self._study.network, Growth(self._options, self._scaling, factors))

    def study_of(self, member: Member) -> Study:
        """Return the study that trains, finishes and measures a member."""
        study = self._study
        return replace(
            study,
            name=f"{study.name}-phi-{member.phi:g}",
            network=self._network(member.factors),
            training=FromScratch(),
            evaluations=1,
            winners=replace(study.winners, count=1),
            pipeline=Pipeline(),
            constraints=(),
            warm_start=(),
            proxy=None,
            weights=None,
            pretraining=None,
            trust=Trust(count=0),
        )


def ways_to_scale() -> Iterator[Shares]:
    """Yield the ways to share a doubling, of which the last three scale one dimension alone."""
    ways = [Shares(*w) for w in itertools.product(range(_THIRDS + 1), repeat=3) if sum(w) == _THIRDS]
    yield from sorted(ways, key=lambda way: max(way.depth, way.width, way.resolution))


def scale_winner(
    study: Study,
    results: Results,
    winner: str,
    out: Path,
    *,
    phis: Sequence[float],
    device: torch.device,
    progress: Progress,
) -> list[Results]:
    """Grow a winner into a family; each member is a run of its own in ``out``, with card, figures and exported files.

    How to share the growth between depth, width and resolution is found first, on networks of twice the winner's MACs.
    The same call again goes on where it was left.

    Args:
        study: Study that found the winner.
        results: What was found in its run.
        winner: Id of the winner.
        out: Folder of the family.
        phis: How many times each member doubles the winner's MACs; 0 is the winner, trained as the others are.
        device: Where to train.
        progress: Is told how it goes.

    Returns:
        The results of each member's run.
    """
    family = Family.of_winner(study, results, winner)
    fitted = fit_scaling(family, out / "fit", device, progress)
    shares = next(iter(fitted))
    progress.say(f"{winner} grows by {shares}")
    members, found = [family.member(shares, phi) for phi in phis], []
    for member in members:
        found.append(
            run(family.study_of(member), out / f"phi-{member.phi:g}", device=device, progress=progress)
        )
    write_text(out / "README.md", _write_card(study, winner, fitted, members, found))
    return found


def fit_scaling(
    family: Family,
    folder: Path,
    device: torch.device,
    progress: Progress,
    ways: Sequence[Shares] | None = None,
) -> dict[Shares, Member]:
    """Train a network of twice the winner's MACs for each way to scale, and return all, the best one first.

    Each is trained from scratch by the study's recipe and evaluated on the search split. What was trained is kept in
    ``folder``.

    Args:
        family: Whose growth it is.
        folder: Where to keep what was trained.
        device: Where to train.
        progress: Is told how it goes.
        ways: Those to try; None for all.
    """
    ways = list(ways_to_scale()) if ways is None else ways
    progress.start(FIT, len(ways), 0)
    found: dict[Shares, Member] = {}
    costs: dict[Shares, float] = {}
    for shares in ways:
        member = family.member(shares, 1.0)
        study = family.study_of(member)
        quality = _quality_of(study, folder / f"{shares.depth}{shares.width}{shares.resolution}", device)
        found[shares] = replace(member, quality=quality)
        costs[shares] = study.objectives[0].objective.cost(quality.value)
        progress.advance(f"{shares}: {quality.value:.4g}")
    return {shares: found[shares] for shares in sorted(ways, key=costs.__getitem__)}


def _quality_of(study: Study, path: Path, device: torch.device) -> Measurement:
    """Return the quality on the search split of a study's only architecture, trained from scratch."""
    prepared = prepare(study, device)
    step = Step(path.with_suffix(".json"), prepared.description())
    stored = step.result(Measurement)
    if stored is not None:
        return stored
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = path.with_suffix(".pt")
    module = train_from_scratch(
        study.network,
        prepared.supernet.space.smallest(),
        prepared.splits.train,
        prepared.splits.task,
        study.recipe,
        seed=study.seed,
        device=device,
        checkpoint=checkpoint,
    )
    bench = Bench(prepared.splits.search, thorough=False, calibration={})
    quality = measure_candidates(prepared.measured[0], [prepared.candidate(module)], bench, of_device=False)[
        0
    ]
    step.store(quality)
    remove_checkpoint(checkpoint)
    return quality


def _write_card(
    study: Study,
    winner: str,
    fitted: Mapping[Shares, Member],
    members: Sequence[Member],
    found: Sequence[Results],
) -> str:
    """Return the card of the family."""
    best = next(iter(fitted)).coefficients
    return (
        f"# {study.name}: {winner}, scaled\n\n"
        f"Compound scaling (Tan 2019): for each doubling of the MACs, depth grows {best.depth:.3f} times, width "
        f"{best.width:.3f} times and resolution {best.resolution:.3f} times. All members are trained from scratch "
        "alike, the first one too; qualities are on the test split, of the exported float32 files.\n\n"
        f"{_tabulate_members(members, found).markdown()}\n\n## How to grow\n\n"
        "Networks of twice the MACs, trained from scratch with the study's recipe:\n\n"
        f"{_tabulate_ways(study, fitted).markdown()}\n"
    )


def _tabulate_members(members: Sequence[Member], found: Sequence[Results]) -> Table:
    objectives = [*found[0].objectives, FILE_BYTES]
    exported = [results.winners[0].variants[0].values for results in found]
    costs = np.array([[o.cost(values[o.name].value) for o in objectives] for values in exported])
    rows = [
        [
            Marked(f"[{member.phi:g}](phi-{member.phi:g}/winners/{results.winners[0].id}/README.md)"),
            f"{member.ratio:.2f} x",
            *(with_spread(values[o.name], o) for o in objectives),
            "yes" if on_front else "no",
        ]
        for member, results, values, on_front in zip(
            members, found, exported, non_dominated(costs), strict=True
        )
    ]
    return Table(["phi", "MACs", *(label(o.name) for o in objectives), "on front"], rows)


def _tabulate_ways(study: Study, fitted: Mapping[Shares, Member]) -> Table:
    quality = study.objectives[0].objective
    return Table(
        ["grows by", "MACs", f"{quality.name} on the search split"],
        [
            [str(way), f"{one.ratio:.2f} x", with_spread(one.quality, quality)]
            for way, one in fitted.items()
            if one.quality
        ],
    )
