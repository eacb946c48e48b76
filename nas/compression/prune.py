"""Structured pruning: whole channels and heads are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, final

from torch import Tensor, nn

from nas.checks import check_integers, failing_as
from nas.choices import Choice, Option
from nas.compression.channel_groups import ChannelGroup, channel_groups
from nas.compression.pipeline import Lab, Model
from nas.compression.removal import copy_with_units
from nas.compression.saliency import SALIENCIES, Saliency, unit_saliencies
from nas.compression.settings import check_options, check_shares, share_choices
from nas.compression.training import check_recipe, train_in
from nas.compression.working import make_model, make_working_copy, module_in
from nas.errors import ExportError, StudyError
from nas.inputs import place_inputs
from nas.space import Condition, SearchSpace
from nas.training import Hinton, Recipe

Distribution = Literal["uniform", "global"]
_ADVICE = "choose networks whose channels it can follow, or leave the pass out"
_LEAST_SHARE = 0.1
"""Least share of a layer's channels that stays where all layers compete: a layer without channels ends the network."""


@final
@dataclass(frozen=True)
class Prune:
    """Leaves out the channels and the heads of attention that matter least (Fang 2023).

    Which layers have channels in common is traced by Torch-Pruning; the network's output keeps its shape. The weights
    that stay are those of before, so fine-tune afterwards. Batch norm is recalibrated.

    Args:
        keep: The share of channels, and of heads, that stay; several make it a choice, from small to large, and the
            last one is 1.
        saliency: What says how much a channel matters, see :func:`nas.compression.saliency.unit_saliencies`; several
            make it a choice, where ``keep`` is one.
        distribution: ``uniform``: each layer keeps that share. ``global``: the channels of all layers compete, and
            those of layers that multiply more for each often win, so that more multiplications stay.
        round_to: Layers keep a multiple of so many channels, as far as they have as many. ONNX Runtime's fast
            convolutions want multiples of 4: with others, networks for digits took four times as long.
        steps: In how many steps of equal size; between two of them the network is trained.
        recipe: Recipe of that training, from its first epoch to its last each time; the winners' unless given.
        name: Name of the pass.

    Raises:
        StudyError: a setting is out of range.
    """

    keep: float | tuple[float, ...] = (0.5, 0.75, 1.0)
    saliency: Saliency | tuple[Saliency, ...] = "taylor"
    distribution: Distribution = "global"
    round_to: int = 4
    steps: int = 1
    recipe: Recipe | None = None
    name: str = "prune"
    works_on: ClassVar[Literal["module"]] = "module"

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", check_shares("Prune", "keep", self.keep))
        check_integers(self, "round_to", "steps")
        if self.round_to < 1 or self.steps < 1:
            raise StudyError(
                f"Prune has round_to={self.round_to} and steps={self.steps}: 1 or more is expected."
            )
        check_recipe("Prune", self.recipe)
        if self.distribution not in ("uniform", "global"):
            raise StudyError(
                f"Prune has the distribution {self.distribution!r}: 'uniform' or 'global' is expected."
            )
        if isinstance(self.saliency, tuple) and not isinstance(self.keep, tuple):
            raise StudyError(
                f"Prune has the saliencies {self.saliency!r} and keep={self.keep!r}: a choice of saliencies needs one "
                "of shares, so that leaving nothing out can be chosen too."
            )
        given = self.saliency if isinstance(self.saliency, tuple) else (self.saliency,)
        if not given or len(set(given)) < len(given) or any(one not in SALIENCIES for one in given):
            raise StudyError(
                f"Prune has the saliency {self.saliency!r}: one of {SALIENCIES} is expected, or a tuple of some."
            )

    @property
    def trains(self) -> bool:
        """Whether there is training between steps."""
        return self.steps > 1

    def choices(self) -> SearchSpace:
        """Return ``prune.keep`` and ``prune.saliency``, which matters where something is left out."""
        keeps = share_choices(self.name, "keep", self.keep)
        if isinstance(self.saliency, str):
            return SearchSpace(keeps)
        saliency = Choice(f"{self.name}.saliency", self.saliency)
        smaller = tuple(Condition(choice.name, choice.options[:-1]) for choice in keeps)
        return SearchSpace((*keeps, saliency), {saliency.name: (smaller,)})

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        """Return the pruned network.

        Raises:
            ExportError: there is no module, a layer would keep nothing, or Torch-Pruning can't follow its channels.
            SpaceError: other options than those of the choices.
        """
        before = module_in(model, self.name)
        chosen = check_options(self.choices(), options)
        keep = chosen.get(f"{self.name}.keep", self.keep)
        if keep == 1.0:
            return model
        saliency = cast(Saliency, chosen.get(f"{self.name}.saliency", self.saliency))
        assert isinstance(keep, float)
        module, first = before, dict[str, int]()
        for step in range(1, self.steps + 1):
            # A share of what there was at first (`first` keeps the numbers), so that each step leaves out equally many.
            share = 1 - (1 - keep) * step / self.steps
            module = self._prune_copy(module, model, share, saliency, first, lab)
            if step < self.steps:
                train_in(lab, module, self.recipe or lab.recipe, Hinton(), f"step-{step}")
        what = f"{self.name} to {keep:g} of the channels ({saliency}, {self.distribution})"
        return make_model(model, module, lab, what)

    def _prune_copy(
        self,
        before: nn.Module,
        model: Model,
        share: float,
        saliency: Saliency,
        first: dict[str, int],
        lab: Lab,
    ) -> nn.Module:
        """Return a copy with a share of its units; ``first`` says how many there were, and is filled."""
        example, kind = place_inputs(model.inputs.blank(2), lab.training_device), type(before).__name__
        with failing_as(ExportError, f"{self.name} can't follow the channels of {kind}", _ADVICE):
            network = make_working_copy(before, lab)
            groups = channel_groups(network, example)
        if not groups:
            raise ExportError(
                f"{self.name} finds nothing in {kind} that can be left out without changing its output: {_ADVICE}."
            )
        for group in groups:
            first.setdefault(group.name, len(group.units))
        saliencies = unit_saliencies(saliency, groups, network, lab)
        counts = self._counts(groups, saliencies, share, first)
        kept = {g.name: _best(s, count) for g, s, count in zip(groups, saliencies, counts, strict=True)}
        pruned = copy_with_units(before, kept, example, lab)
        if isinstance(pruned, str):
            raise ExportError(f"{self.name} can't make {kind} smaller ({pruned}): {_ADVICE}.")
        return pruned

    def _counts(
        self,
        groups: Sequence[ChannelGroup],
        saliencies: Sequence[Tensor],
        share: float,
        first: Mapping[str, int],
    ) -> list[int]:
        """Return how many units of each group stay."""
        wholes = [first[group.name] for group in groups]
        if self.distribution == "global":
            wanted = [float(count) for count in _count_across_groups(groups, saliencies, wholes, share)]
        else:
            wanted = [share * whole for whole in wholes]
        counts = []
        for group, want, whole in zip(groups, wanted, wholes, strict=True):
            if want < 0.5:
                raise ExportError(
                    f"{self.name} would keep none of the {whole} channels or heads of layer {group.name!r} at a share "
                    f"of {share:g}: keep {0.5 / whole:.2g} or more."
                )
            multiple = group.multiple(self.round_to)
            rounded = multiple * max(1, int(want / multiple + 0.5))
            counts.append(min(rounded, len(group.units)))
        return counts


def _count_across_groups(
    groups: Sequence[ChannelGroup], saliencies: Sequence[Tensor], wholes: Sequence[int], share: float
) -> list[int]:
    """Return how many units of each group stay, where the channels of all of them compete."""
    counts = [max(1, round(_LEAST_SHARE * whole)) for whole in wholes]
    sizes = [group.units.shape[1] for group in groups]
    left = share * sum(whole * size for whole, size in zip(wholes, sizes, strict=True))
    left -= sum(count * size for count, size in zip(counts, sizes, strict=True))
    ranked = sorted(
        (-saliency, number)
        for number, (values, count) in enumerate(zip(saliencies, counts, strict=True))
        for saliency in values.sort(descending=True).values[count:].tolist()
    )
    # What matters most comes first; a unit for which no room is left gives way to a smaller one.
    for _, number in ranked:
        if sizes[number] <= left:
            counts[number] += 1
            left -= sizes[number]
    return counts


def _best(saliencies: Tensor, count: int) -> Tensor:
    return saliencies.argsort(descending=True, stable=True)[:count].sort().values
