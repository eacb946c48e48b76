"""Pruning of the train split by how often items are learned in short trainings, and its random control."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from nas.checks import check_integers, check_kind, check_maker, failing_as
from nas.data.loading import load_splits
from nas.data.locations import cache_folder
from nas.data.selection import check_seed
from nas.errors import DamagedFileError, DataError, StudyError
from nas.evaluation.quality import Accuracy
from nas.evaluation.quality.measuring import statistics_of
from nas.files import digest
from nas.inputs import Inputs, call_network
from nas.space import IntArray
from nas.splits import DataSource, Split, Splits
from nas.stored import read_stored, write_stored
from nas.task import Quality, Task
from nas.training import Losses, Recipe, train

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class HScoreSubset:
    """A data source's train split without items that short trainings always learn, or never (Tayaranian 2024).

    An item's H-score is the number of trainings in all of whose epochs it was right, by the outputs on which it
    was trained. The trainings differ in their seed: in the random weights and the order of the items. Each one's result
    is kept in the folder that ``NAS_CACHE`` names, so a killed scoring goes on with the next training, and a later
    load trains nothing. Search and test stay whole. The paper fine-tunes a network that was pre-trained.

    Args:
        source: Gives the whole data set; the targets are of a kind that ``quality`` judges as right or wrong.
        network: Makes the network, with weights from torch's global generator or pre-trained; a ``nas.Supernet`` trains
            its largest subnet.
        recipe: How each is trained; its epochs are those of the score.
        runs: How many are trained.
        remove: The scores whose items are left out.
        quality: Judges items: its statistics are 1 where one is right, and 0 elsewhere.
        seed: Seed of the first training; each of the others has the next one.
        device: Where to train.

    Raises:
        StudyError: a setting is of another kind or out of range.
        DataError: the seed is out of range.
    """

    source: DataSource
    network: Callable[[], nn.Module]
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=3))
    runs: int = 6
    remove: tuple[int, ...] = (0, 6)
    quality: Quality = field(default_factory=Accuracy)
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_kind("HScoreSubset", "source", self.source, DataSource, "an instance such as Digits()")
        check_maker("HScoreSubset", "network", self.network, "a function that makes a network")
        check_kind("HScoreSubset", "recipe", self.recipe, Recipe, "a Recipe such as Recipe(epochs=3)")
        check_kind("HScoreSubset", "quality", self.quality, Quality, "an instance such as Accuracy()")
        check_kind("HScoreSubset", "remove", self.remove, tuple, "a tuple of scores such as (0, 6)")
        check_integers(self, "runs")
        check_seed(self.seed)
        scores = range(self.runs + 1)
        if self.runs < 1 or not self.remove or not all(score in scores for score in self.remove):
            raise StudyError(
                f"HScoreSubset has runs={self.runs} and remove={self.remove}: at least one training, and one score or "
                "more from 0 to as many as there are trainings, such as (0, 6), are expected."
            )
        if self.recipe.mix is not None:
            raise StudyError(
                f"HScoreSubset has a recipe with mix={self.recipe.mix!r}, and of a blend nobody knows which item was "
                "learned: leave mix out."
            )

    def load(self) -> Splits:
        """Return the splits, train without the items of the scores to be removed.

        Raises:
            DataError: the items aren't classified as right or wrong, or no item of some class would be left.
        """
        splits = load_splits(self.source)
        removed = " and ".join(map(str, self.remove))
        how = f"without scores of {removed} ({self.runs} trainings of {self.recipe.epochs} epochs)"
        return with_train_rows(splits, self.rows(splits), "by H-score", how)

    def rows(self, splits: Splits) -> IntArray:
        """Return which items of train are left, sorted."""
        scores = self.scores(splits)
        rows = np.flatnonzero(~np.isin(scores, self.remove))
        lost = set(_strata(splits.train).tolist()) - set(_strata(splits.train)[rows].tolist())
        if lost or not len(rows):
            counts = np.bincount(scores, minlength=self.runs + 1).tolist()
            raise DataError(
                f"without the H-scores {self.remove}, {len(rows)} of {len(scores)} training items of {splits.name} are "
                f"left, and none with the target{'s' if len(lost) > 1 else ''} {', '.join(map(str, sorted(lost)))} "
                f"(the scores from 0 on occur {counts} times): remove others, or train for more or fewer epochs."
            )
        return rows

    def scores(self, splits: Splits) -> IntArray:
        """Return ``(n,)`` scores of the train split's items, from 0 to ``runs``."""
        learned = np.array([self._score_training(splits, run) for run in range(self.runs)])
        return np.asarray(learned.sum(axis=0))

    def _score_training(self, splits: Splits, run: int) -> IntArray:
        """Return ``(n,)``: 1 where an item was right in all epochs of a training, which is kept in a file."""
        module, seed = self._make_network(self.seed + run), self.seed + run
        made_of = [splits.fingerprint, *_identity(module), self.recipe.fingerprint, repr(self.quality), seed]
        # Named by all that the result depends on, so that another network or recipe never finds it.
        path = cache_folder() / f"h-score-{digest(made_of)}.json"
        known = _read_stored_subset(path, len(splits.train))
        if known is not None:
            return known
        logger.info("training %d of %d for the H-scores of %s", run + 1, self.runs, splits.name)
        learned = _learn(module, splits.train, splits.task, self, seed)
        write_stored(path, {"learned": "".join(map(str, learned.tolist()))})
        return learned

    def _make_network(self, seed: int) -> nn.Module:
        advice = "let it make the network that is to be trained"
        with (
            torch.random.fork_rng(devices=[]),
            failing_as(DataError, "the function network of HScoreSubset failed", advice),
        ):
            torch.manual_seed(seed)
            made = self.network()
        check_kind("HScoreSubset.network", "result", made, nn.Module, "a torch.nn.Module")
        return made


@final
@dataclass(frozen=True)
class RandomSubset:
    """The control of :class:`HScoreSubset`: as many training items of each class, drawn at random.

    Args:
        like: Says how many.
        seed: Seed of the draw.

    Raises:
        StudyError: a setting is of another kind.
        DataError: the seed is out of range.
    """

    like: HScoreSubset
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind("RandomSubset", "like", self.like, HScoreSubset, "an HScoreSubset")
        check_seed(self.seed)

    def load(self) -> Splits:
        """Return the splits, train with random items alone.

        Raises:
            DataError: as :meth:`HScoreSubset.load`.
        """
        splits = load_splits(self.like.source)
        return with_train_rows(splits, self.rows(splits), "at random", "as many of each class")

    def rows(self, splits: Splits) -> IntArray:
        """Return which items of train are drawn, sorted."""
        strata, rng = _strata(splits.train), np.random.default_rng(self.seed)
        classes, counts = np.unique(strata[self.like.rows(splits)], return_counts=True)
        drawn = [
            rng.choice(np.flatnonzero(strata == number), count, replace=False)
            for number, count in zip(classes, counts, strict=True)
        ]
        return np.sort(np.concatenate(drawn))


def with_train_rows(splits: Splits, rows: IntArray, by: str, how: str) -> Splits:
    """Return splits of which train holds some rows alone, chosen as ``by`` and, for the report, ``how`` say."""
    chosen = f"{len(rows):,} of {len(splits.train):,} to train, chosen {by}"
    return replace(
        splits,
        name=f"{splits.name}, {chosen}",
        train=splits.train.subset(torch.from_numpy(rows)),
        fingerprint=f"{splits.fingerprint} rows {digest(rows.tolist())}",
        notes=(*splits.notes, f"{chosen} ({len(rows) / len(splits.train):.1%}), {how}"),
    )


def _strata(split: Split) -> IntArray:
    """Return the targets where they are one whole number for each item, zeros otherwise."""
    targets = split.targets
    whole = targets.ndim == 1 and not targets.is_floating_point()
    return targets.numpy() if whole else np.zeros(len(targets), dtype=np.int64)


def _learn(module: nn.Module, split: Split, task: Task, how: HScoreSubset, seed: int) -> IntArray:
    """Train a network, and return ``(n,)``: 1 where an item was right whenever it was trained on."""
    targets, recipe = split.targets, how.recipe
    learned = np.ones(len(split), dtype=np.int64)

    def step(inputs: Inputs, numbers: Tensor, _generator: torch.Generator) -> Losses:
        outputs = call_network(module, inputs)
        rows = numbers.cpu()
        learned[rows] &= _are_right(how.quality, outputs.detach().cpu().float(), targets[rows])
        yield task.loss(outputs, targets[rows].to(outputs.device), recipe.label_smoothing)

    # Items are known by their number, which stands where the target does otherwise.
    numbered = replace(split, targets=torch.arange(len(split)))
    train(module, step, numbered, recipe, seed=seed, device=torch.device(how.device))
    return learned


def _are_right(quality: Quality, outputs: Tensor, targets: Tensor) -> IntArray:
    statistics = statistics_of(quality, outputs, targets)
    known = statistics[
        ~np.isnan(statistics)
    ]  # NaN are the outputs of a training that diverges, which it says itself
    if statistics.shape[1] != 1 or not np.isin(known, (0, 1)).all():
        raise DataError(
            f"the H-score counts items that are right, and the quality {quality.objective.name!r} doesn't say of each "
            "whether it is: give one whose statistics are 0 or 1, such as Accuracy()."
        )
    return np.asarray(statistics[:, 0] == 1, dtype=np.int64)


def _identity(module: nn.Module) -> tuple[str, str]:
    """Return what a network is told from others by: its layers, and the digest of its weights."""
    weights = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        weights.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        weights.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return repr(module), weights.hexdigest()


def _read_stored_subset(path: Path, count: int) -> IntArray | None:
    """Return what a training found, where its file is there and whole."""
    if not path.exists():
        return None
    try:
        learned = read_stored(path, dict[str, str])["learned"]
    except DamagedFileError:
        logger.warning("%s is damaged and is made again", path)
        return None
    return np.array([int(mark) for mark in learned], dtype=np.int64) if len(learned) == count else None
