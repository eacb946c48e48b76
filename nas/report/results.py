"""What a run found, as plain values that can be stored and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from nas.choices import Option
from nas.compression.pipeline import PLAIN
from nas.objective import Measurement, Objective
from nas.report.trust import TrustResult
from nas.stored import read_stored, write_stored

FILE_BYTES = Objective("file_bytes", "B", "minimize")
"""Size of the exported file: an objective of the final front, beside the study's own."""


@final
@dataclass(frozen=True)
class Variant:
    """A winner in one form, measured on its exported file.

    Args:
        name: ``fp32``, or the compression pass.
        file: Name of the ONNX file in the winner's folder.
        values: Values of the final front's objectives by name; quality on the test split.
        on_front: Whether it meets the soft limits and no other variant of any winner that does dominates it. Where
            none meets them, those nearest to that count. Within the noise of a device neither of two dominates.
        exceeds: Objectives whose soft limits it doesn't meet.
        applied: What passes did to it, in order.
        shipped: False where it is worse than the float32 variant, of which it was made, in every column that differs.
        tied_with: Which others of the front it can't be told from by what a device measured of it, as ``id name``: one
            of the two would dominate the other.
    """

    name: str
    file: str
    values: Mapping[str, Measurement]
    on_front: bool
    exceeds: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    shipped: bool = True
    tied_with: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Whether it is on the final front, for a cell of a table."""
        others = self.tied_with[0] if len(self.tied_with) == 1 else f"{len(self.tied_with)} others"
        tied = f"tied with {others}" if self.tied_with else ""
        limits = f"exceeds {' and '.join(self.exceeds)}" if self.exceeds else ""
        withheld = "" if self.shipped else f"not shipped, worse than {PLAIN} in every column"
        return "; ".join(filter(None, ["yes" if self.on_front else "no", tied, limits, withheld]))


@final
@dataclass(frozen=True)
class Winner:
    """An evaluated architecture that was chosen and finished.

    Args:
        id: Id of its architecture; the name of its folder.
        trial: Number of the trial that found it.
        choices: Its architecture.
        macs: MACs of one item.
        num_params: Number of parameters of the network.
        predicted: Quality as the surrogate predicted it before the trial was evaluated; None in the start-up,
            and once the surrogate predicts what architectures reach on their own.
        searched: Measurements of the search: supernet weights, search split, short latency.
        fine_tuned: Quality on the search split after fine-tuning.
        kept: Where fine-tuning made it worse beyond the noise: quality on the search split with its weights of the
            search, which were exported instead. None otherwise.
        variants: The exported files; fp32 first.
        details: Its quality by class, where that is a mean over classes: of the float32 file on the test split.
        confusions: By split, search and test, how many items of the class of a row its float32 file takes for that of a
            column; empty where an answer is no class.
    """

    id: str
    trial: int
    choices: Mapping[str, Option]
    macs: int
    num_params: int
    predicted: float | None
    searched: Mapping[str, Measurement]
    fine_tuned: Measurement
    kept: Measurement | None = field(default=None, kw_only=True)  # older runs lack it
    variants: tuple[Variant, ...]
    details: tuple[float | None, ...] = field(default=(), kw_only=True)  # older runs lack it
    confusions: Mapping[str, list[list[int]]] = field(
        default_factory=dict, kw_only=True
    )  # older runs lack it

    @property
    def exported(self) -> Measurement:
        """Quality on the search split with the weights that were exported."""
        return self.kept or self.fine_tuned


AS_GIVEN, FINISHED = "as given", "finished"
"""States of an original network: with the weights that the study starts from, and after what winners go through."""


@final
@dataclass(frozen=True)
class Original:
    """The network that was converted, whole, measured like the winners and together with them.

    Args:
        state: ``as given``, or ``finished`` like the winners.
        folder: Where its files lie, in the run directory; a winner's where it is one.
        macs: MACs of one item.
        num_params: Number of parameters of the network.
        variants: The exported files; fp32 first. ``on_front`` says that no variant of a winner dominates it.
    """

    state: str
    folder: str
    macs: int
    num_params: int
    variants: tuple[Variant, ...]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"original network, {self.state}"


@final
@dataclass(frozen=True)
class Baseline:
    """What another method found with the same objectives.

    Args:
        name: Name of the method.
        note: What was spent on it.
        values: One row per evaluation, in the order of the study's objectives.
        hypervolume: After each evaluation, in the study's box.
    """

    name: str
    note: str
    values: list[list[float]]
    hypervolume: list[float]


@final
@dataclass(frozen=True)
class Results:
    """A finished run.

    Args:
        study: Its name.
        objectives: In the order of a trial's values.
        facts: Data, space, network, seed, command, machine and durations, for people to read.
        trials: Number of trials by outcome.
        failures: What failed evaluations said, without repeats.
        trial_numbers: Numbers of the evaluated trials.
        ids: Ids of their architectures.
        values: Values of the evaluated trials, one row each.
        front: Positions in ``values`` of the search's front.
        hypervolume: After each evaluated trial, as a multiple of the study's reference box.
        finished_hypervolume: Hypervolume of the winners in the same box, with the quality of their exported weights;
            what to compare with networks trained from scratch. None without a box.
        winners: What was chosen and finished; ``facts["winners_chosen_by"]`` says how.
        baselines: Empty unless asked for.
        trust: How the search's ranking held; None without a supernet.
        proxy: What part of the search split candidates were evaluated on; None for the whole.
        original: The network that was converted; empty where none was.
    """

    study: str
    objectives: tuple[Objective, ...]
    facts: dict[str, Any]
    trials: dict[str, int]
    failures: list[str]
    trial_numbers: list[int]
    ids: list[str]
    values: list[list[float]]
    front: list[int]
    hypervolume: list[float]
    finished_hypervolume: float | None
    winners: tuple[Winner, ...]
    baselines: tuple[Baseline, ...]
    trust: TrustResult | None
    proxy: dict[str, Any] | None
    original: tuple[Original, ...] = ()

    @property
    def quality(self) -> Objective:
        """The first objective."""
        return self.objectives[0]

    def as_searched(self, winner: Winner) -> Variant:
        """Return the variant that the search evaluated: the file of the pipeline's passes, or else the float32 one."""
        name = self.facts.get("searched_variant")  # older runs lack it
        return next((variant for variant in winner.variants if variant.name == name), winner.variants[0])

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_stored(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFileError: the file is damaged.
            RunDirectoryError: it can't be read.
        """
        return read_stored(path, cls)
