"""What a study is made of beside its search: how winners are finished, and how the supernet is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from nas.checks import check_integers, check_kind
from nas.compression.pipeline import PLAIN, CompressionPass, Pipeline, as_pipeline
from nas.errors import StudyError
from nas.training import Recipe


@final
@dataclass(frozen=True)
class Adaptation:
    """Candidates near the front are trained on before winners are chosen among them, where that gains anything.

    What a subnet has with weights that it shares says little of small differences. A few steps of its own say more.

    Args:
        candidates: Number of candidates, at most. Eight of them are trained first; the others only where these eight
            gain more, on average, than the noise of a gain.
        steps: Steps of the optimizer for each, with the settings of the winners' recipe.
    """

    candidates: int = 24
    steps: int = 32

    def __post_init__(self) -> None:
        check_integers(self, "candidates", "steps")
        if self.candidates < 1 or self.steps < 1:
            raise StudyError(
                f"an adaptation of {self.candidates} candidates by {self.steps} steps: both must be 1 or more; "
                "winners.adaptation=None is for none."
            )


@final
@dataclass(frozen=True)
class Winners:
    """How the search's winners are finished.

    Args:
        count: Front members to finish, at most.
        recipe: Recipe of the fine-tuning; the largest subnet teaches, where it is better than the winner itself. A
            winner that is worse afterwards keeps its weights of the search.
        passes: Each makes one more variant of every winner: a pass, or several in a :class:`Pipeline`. Their settings
            are stated: choices are searched in ``Study.pipeline``.
        tie_rounds: How many times, at most, files of the final front that tie within a device's noise are measured
            again, taking turns; each time their spread shrinks.
        adaptation: How candidates near the front are trained on before winners are chosen among them; None for not
            at all. Nothing is done where candidates are trained from scratch.
    """

    count: int = 6
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10, learning_rate=1e-3))
    passes: tuple[CompressionPass | Pipeline, ...] = ()
    tie_rounds: int = 4
    adaptation: Adaptation | None = field(default_factory=Adaptation)

    def __post_init__(self) -> None:
        check_integers(self, "count", "tie_rounds")
        check_kind("Winners", "recipe", self.recipe, Recipe, "a Recipe")
        check_kind("Winners", "passes", self.passes, tuple, "a tuple such as (Int8(),)")
        wanted = "an instance such as Adaptation(steps=50), or None"
        check_kind("Winners", "adaptation", self.adaptation, Adaptation | None, wanted)
        if self.count < 1:
            raise StudyError(f"winners.count is {self.count}: at least one winner is needed.")
        if self.tie_rounds < 0:
            raise StudyError(f"winners.tie_rounds is {self.tie_rounds}: 0 or more are needed.")
        names = [PLAIN]
        for position, made in enumerate(self.passes):
            wanted = "an instance with name, works_on, trains, choices() and apply(), such as Int8(), or a Pipeline"
            check_kind("Winners", f"passes[{position}]", made, CompressionPass | Pipeline, wanted)
            searched = [choice.name for choice in as_pipeline(made).space.choices]
            if searched:
                raise StudyError(
                    f"the pass {made.name!r} in winners.passes leaves {searched[0]!r} to be chosen, which only a "
                    "study's pipeline does: state a single value, or put the pass there."
                )
            names.append(made.name)
        if len(set(names)) < len(names):
            raise StudyError(f"two variants of a winner have the same name in {names}: rename a pass.")


@final
@dataclass(frozen=True)
class Trust:
    """How the supernet's ranking is checked: against architectures that are trained on their own.

    Args:
        count: Architectures besides the winners, spread over the sizes of those that were evaluated.
        recipe: All of them, the winners too, are trained from scratch with it; None to fine-tune them
            as the winners are, which costs little and says less.
    """

    count: int = 4
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        check_integers(self, "count")
        check_kind("Trust", "recipe", self.recipe, Recipe | None, "a Recipe or None")
        if self.count < 0:
            raise StudyError(f"trust.count is {self.count}: 0 or more architectures are needed.")
