"""Checks that the files which a run delivers are those that it has made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nas.errors import DamagedFileError
from nas.export.names import CARD, PICTURE, WEIGHTS
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.runner.steps import CachedStep
from nas.stored import StepResult, fault_of


def check_report(directory: RunDirectory) -> dict[str, str]:
    """Return what is wrong with the report, cards and pictures, by path.

    Their digests are forgotten, because they are about to be made anew.
    """
    if not directory.reported.exists():
        return {}
    faults = StepResult.read(directory.reported).faults(directory.path)
    directory.reported.unlink()
    return faults


def report_step(directory: RunDirectory, results: Results) -> CachedStep:
    """Return the step that writes a run's report, cards and pictures."""
    cards = [directory.winners / winner.id / name for winner in results.winners for name in (CARD, PICTURE)]
    paths = [
        *(directory.results, directory.report, directory.front, directory.hypervolume),
        *(directory.trust_result, directory.winners / CARD, *cards),
    ]
    names = tuple(str(path.relative_to(directory.path)) for path in paths if path.exists())
    return CachedStep(directory.reported, [], names)


def check_delivery(directory: RunDirectory, ids: Sequence[str], names: Collection[str] | None = None) -> None:
    """Compare winners' files with the digests that were taken when they were made.

    Args:
        directory: Directory of the run.
        ids: Ids of the winners.
        names: Names of the files to look at; None for all of them, and the card of the set.

    Raises:
        DamagedFileError: a file is missing or not the one that was made; says what to do.
        RunDirectoryError: a file can't be read.
    """
    folders = [directory.winners / id_ for id_ in ids]
    results = [directory.reported, *(path for folder in folders for path in folder.glob("finished*.json"))]
    known = {
        result.parent / name: digest
        for result in results
        if result.exists()
        for name, digest in StepResult.read(result).files.items()
    }
    of_winners = [path for path in known if path.parent in folders and (names is None or path.name in names)]
    of_the_set = [path for path in known if path == directory.winners / CARD and names is None]
    for path in of_winners + of_the_set:
        fault = fault_of(path, known[path])
        if fault is not None:
            raise DamagedFileError(
                f"{path.relative_to(directory.path)} {fault}: run the study of {directory.path} again, which makes it "
                "anew."
            )
    for folder in folders:
        if folder / WEIGHTS not in known:
            raise DamagedFileError(
                f"the list of what was made in {folder} is missing: run the study of {directory.path} again, which "
                "makes it anew."
            )
