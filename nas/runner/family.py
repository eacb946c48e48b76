"""Compound scaling (Tan 2019): an architecture grows into a family of networks, each twice as costly as the last."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import torch

from nas.choices import Option
from nas.compression.pipeline import Pipeline
from nas.errors import RunDirectoryError, SpaceError, StudyError, one_line
from nas.evaluation import LatencyMs
from nas.evaluation.counts import count_macs
from nas.evaluation.from_scratch import FromScratch, fresh_network
from nas.objective import Measurement
from nas.report.results import Results
from nas.study import Study, Trust
from nas.supernet import Supernet
from nas.supernet.scaling import Factors, Growth, ScaledNetwork, Scaling

_RATIO = 2.0
"""MACs of a member over those of the member before it: phi is the number of doublings (Tan 2019, equation 3)."""
_THIRDS = 3
"""Parts of a doubling that depth, width and resolution share: ten ways, of which three scale one of them alone."""
_BISECTIONS = 16
"""They find a factor between 1 and 16 to a thousandth, which no rounded width tells apart."""

_NEAR = math.log(1.1)
"""A tenth more or less is near enough: Tan 2019 has rounded members too."""


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
        SpaceError: the architecture is not of the study's space.
        StudyError: the space says nothing of depth and width.
    """

    def __init__(self, study: Study, architecture: Mapping[str, Option]) -> None:
        self._study, self._scaling = study, study.scaling or Scaling()
        space = fresh_network(study.network, study.seed).space
        own = {c.name for c in space.choices}
        whole = space.architecture({name: option for name, option in architecture.items() if name in own})
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
            StudyError: the winner is of another network, or the space says nothing of depth and width.
        """
        found = [one for one in results.winners if one.id == winner]
        if not found:
            known = [one.id for one in results.winners]
            raise RunDirectoryError(f"the run has no winner {winner!r}: choose among {known}.")
        try:
            return cls(study, found[0].choices)
        except SpaceError as error:
            raise StudyError(
                f"winner {winner} is not of the network of study {study.name!r} ({one_line(error)}): name the study "
                f"that found it, {results.study!r}."
            ) from error

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
                f"study {self._study.name!r} isn't about whole images: compound scaling is for networks that take "
                "images and give none."
            )
        return splits.inputs.shapes[0]

    @cached_property
    def _macs(self) -> int:
        return self._count(Factors())

    @property
    def first(self) -> Member:
        """The winner itself, however the others grow."""
        return Member(0.0, Factors(), 1.0)

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
        """Return the study that trains, finishes and measures a member.

        What earlier runs or a device's profile tell of the whole space says nothing of a space of one network.
        """
        study = self._study
        objectives = (replace(o, profile=None) if isinstance(o, LatencyMs) else o for o in study.objectives)
        return replace(
            study,
            name=f"{study.name}-phi-{member.phi:g}",
            network=self._network(member.factors),
            objectives=tuple(objectives),
            training=FromScratch(),
            evaluations=1,
            winners=replace(study.winners, count=1),
            pipeline=Pipeline(),
            constraints=(),
            warm_start=(),
            prior=(),
            proxy=None,
            weights=None,
            pretraining=None,
            trust=Trust(count=0),
        )


def ways_to_scale() -> Iterator[Shares]:
    """Yield the ways to share a doubling, of which the last three scale one dimension alone."""
    ways = [Shares(*w) for w in itertools.product(range(_THIRDS + 1), repeat=3) if sum(w) == _THIRDS]
    yield from sorted(ways, key=lambda way: max(way.depth, way.width, way.resolution))
