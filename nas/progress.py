"""The stages of a run, and who listens to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.inputs import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from nas.supernet import Supernet
    from nas.training import Recipe, Step
from nas.splits import Split

DEFAULT_DEVICE = "cpu"
"""Where a run trains unless ``--device`` says otherwise."""


@dataclass(frozen=True)
class Pretext:
    """What a supernet learns before its training, from items that nobody labelled.

    Args:
        module: The supernet, and the layers that nothing else needs: all of it is trained.
        data: Items; targets where they make some by themselves.
        step: What to do with a batch.
    """

    module: nn.Module
    data: Split
    step: Step


@runtime_checkable
class Pretraining(Protocol):
    """How the weights that all architectures share begin to be learned, without labels.

    ``repr`` goes into the study's fingerprint, so a frozen dataclass does well.
    """

    @property
    def recipe(self) -> Recipe:
        """How long and how fast."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it reads besides the data: their digests go into the fingerprint too."""

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        """Return what to learn. Random weights of its own layers come from torch's global generator, which is seeded.

        Args:
            supernet: What is to be trained, on the device already; not changed here.
            data: Items whose targets mean nothing.
            inputs: What the network takes.

        Raises:
            StudyError: network or items are not such that it could be learned; says what is expected.
        """


TRAIN_SUPERNET, CHOOSE_PROXY, SEARCH = "train supernet", "choose proxy subset", "search"
PRETRAIN_SUPERNET, SCORE_UNTRAINED = "pre-train supernet", "score untrained networks"
ADAPT_CANDIDATES, FINISH_WINNERS = "adapt candidates", "finish winners"
CHECK_RANKING, DONE = "check the ranking", "done"
RANDOM_SEARCH, UNIFORM_SCALING = "baseline: random search", "baseline: uniform scaling"
PRUNED_BY_HAND = "baseline: the largest network, pruned and quantized"
"""A run's stages, as listeners and the readers of ``status.json`` know them; after the last one it is done."""


class Progress(Protocol):
    """Listens to a run."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins, or goes on after ``done`` of ``total`` steps."""

    def advance(self, note: str) -> None:
        """One step is done; ``note`` is a short word on how it stands."""

    def say(self, sentence: str) -> None:
        """Something worth telling that is not a step."""
