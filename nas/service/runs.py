"""What is known of a run, read from its directory and kept up to date cheaply."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from fastapi import Response
from pydantic_core import to_json

from nas.agreement import Agreement
from nas.errors import NasError
from nas.objective import Objective
from nas.report.results import Original, Results, Winner
from nas.report.trust import TrustResult
from nas.runner.directory import RunDirectory
from nas.runner.progress import Status
from nas.search.models.quality import SurrogateQuality
from nas.service.models import (
    Evaluations,
    FrontModel,
    Predictions,
    Refit,
    RunModel,
    TrialModel,
    Trust,
)
from nas.service.processes import LOG
from nas.service.record import NO_CHOICES, Record, TrialRow
from nas.service.store import Run
from nas.space import SearchSpace

_MAX_VIEWS = 64  # chosen: more runs than a team looks at; each keeps its trials in memory
_MIN_AGE_S = 0.5  # half of what a page waits between two looks, so that many readers share a snapshot


@final
@dataclass(frozen=True)
class Snapshot:
    """A run as it was at one moment.

    Args:
        version: Grows with every change.
        objectives: In the study's order; empty until the run is prepared.
        rows: Evaluated trials; position n stays what it is in all later snapshots.
        failed: Evaluations that failed.
        front: Positions in ``rows`` of the front's members.
        hypervolume: After each row; empty until the tenth evaluation, when the run makes the box it is measured in.
        status: What ``status.json`` holds; None before the first stage.
        results: What a finished run found; None before.
        quality: How good the surrogate's predictions were so far, by measured objective.
        refits: The same since its latest refits, each with its name, oldest first.
        space: The search space; without choices until the run is prepared.
    """

    version: int
    objectives: tuple[Objective, ...]
    rows: tuple[TrialRow, ...]
    failed: int
    front: tuple[int, ...]
    hypervolume: tuple[float, ...]
    status: Status | None
    results: Results | None
    quality: tuple[SurrogateQuality, ...] = ()
    refits: tuple[tuple[str, list[SurrogateQuality]], ...] = ()
    space: SearchSpace = NO_CHOICES

    @property
    def front_rows(self) -> list[TrialRow]:
        """The front's members."""
        return [self.rows[position] for position in self.front]

    @property
    def winners(self) -> tuple[Winner, ...]:
        """Finished winners; none before the run is finished."""
        return self.results.winners if self.results is not None else ()

    @property
    def original(self) -> tuple[Original, ...]:
        """The network that was converted; none before the run is finished, or where none was."""
        return self.results.original if self.results is not None else ()

    def winner(self, id_: str) -> Winner | None:
        """Return the winner of that id."""
        return next((winner for winner in self.winners if winner.id == id_), None)


_NOTHING = Snapshot(0, (), (), 0, (), (), None, None)  # before the first look


@final
class RunView:
    """Reads one run directory, from any thread.

    A reader never waits for another one's reading: it gets the snapshot before. The files' sizes and
    times tell whether there is anything new.

    Args:
        path: The run directory; need not be there yet.
        storage: Database of the trials, where they aren't in a file of the directory.
        clock: Seconds on a clock that never goes back.
    """

    def __init__(
        self, path: Path, storage: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory = RunDirectory(path, storage)
        self._record = Record(self.directory)
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = -1e9
        self._seen: tuple[object, ...] = ()
        self._described: object = None
        self._snapshot = _NOTHING
        self._texts: tuple[int, dict[object, bytes]] = (0, {})

    @property
    def log(self) -> Path:
        """Where the run's process writes."""
        return self.directory.path / LOG

    def snapshot(self, max_age_s: float = _MIN_AGE_S) -> Snapshot:
        """Return the run as it was at most ``max_age_s`` ago, or what another thread replaces right now."""
        if self._clock() - self._looked < max_age_s:
            return self._snapshot
        is_first = self._snapshot.version == 0
        if self._lock.acquire(blocking=is_first):
            try:
                if self._clock() - self._looked >= max_age_s:
                    self._refresh()
                    self._looked = self._clock()
            finally:
                self._lock.release()
        return self._snapshot

    def try_snapshot(self) -> tuple[Snapshot, str | None]:
        """Return the run as it is now, and None; or nothing of it, and why its files can't be read."""
        try:
            return self.snapshot(), None
        except NasError as error:
            return _NOTHING, str(error).replace(f"{self.directory.path.parent}{os.sep}", "")

    def answer(self, key: object, make: Callable[[Snapshot], object]) -> Response:
        """Return what ``make`` makes of the snapshot, sent as JSON; made once per snapshot and key."""
        snapshot = self.snapshot()
        version, texts = self._texts
        if version != snapshot.version or len(texts) > 256:
            texts = {}
            self._texts = (snapshot.version, texts)
        if key not in texts:
            texts[key] = to_json(make(snapshot), inf_nan_mode="null")
        return Response(texts[key], media_type="application/json")

    def _refresh(self) -> None:
        files = self.directory
        watched = (files.manifest, files.database, Path(f"{files.database}-wal"), files.status, files.results)
        seen = tuple(_signature(path) for path in watched)
        if seen == self._seen and not files.storage.exists():  # no file tells of new trials on a server
            return
        if self._described not in (None, seen[0]):
            # Whoever deletes a run's directory and resumes it has another run there.
            self._record = Record(files)
        self._described = seen[0]
        before = len(self._record.rows), self._record.failed
        record = self._record
        is_whole = record.refresh()
        if seen == self._seen and (len(record.rows), record.failed) == before:
            return
        self._snapshot = Snapshot(
            version=self._snapshot.version + 1,
            objectives=record.objectives,
            rows=tuple(record.rows),
            failed=record.failed,
            front=tuple(record.front),
            hypervolume=tuple(record.hypervolume),
            status=_status(files),
            results=_read_results(files.results, seen[-1]) if seen[-1] is not None else None,
            quality=tuple(record.quality),
            refits=tuple(record.refits),
            space=record.space,
        )
        self._seen = seen if is_whole else ()


@final
class Runs:
    """The views of a folder's runs, those used last.

    Args:
        folder: Holds the run directories.
        storage: Database of trials that aren't in files.
    """

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        self._view_of = functools.lru_cache(_MAX_VIEWS)(lambda id_: RunView(folder / id_, storage))

    def view(self, run: Run) -> RunView:
        """Return the view of a run that is in the store."""
        return self._view_of(run.id)


def describe_run(run: Run, snapshot: Snapshot) -> RunModel:
    """Return a run as the API shows it."""
    status = snapshot.status or Status("")
    return RunModel(
        id=run.id,
        study=run.study,
        state=run.state,
        stopping=run.intent is not None,
        stage=status.stage,
        done=status.done,
        total=status.total,
        seconds_left=status.seconds_left if run.state == "running" else None,
        note=status.note,
        created=_time(run.created),
        started=None if run.started is None else _time(run.started),
        finished=None if run.finished is None else _time(run.finished),
        restarts=run.restarts,
        last_words=run.last_words,
        changes=run.changes,
        device=run.device,
        objectives=snapshot.objectives,
        evaluations=Evaluations(complete=len(snapshot.rows), failed=snapshot.failed, asked=run.evaluations),
        hypervolume=snapshot.hypervolume[-1] if snapshot.hypervolume else None,
        surrogate=describe_trust(snapshot),
        has_winners=bool(snapshot.winners),
        fault=None,
    )


def describe_if_readable(run: Run, view: RunView) -> RunModel:
    """Return a run as the API shows it beside others, which are shown too where its files can't be read."""
    snapshot, fault = view.try_snapshot()
    return describe_run(run, snapshot).model_copy(update={"fault": fault})


def describe_trust(snapshot: Snapshot) -> Trust | None:
    """Return how far the search's numbers can be trusted; None while nothing is known."""
    results = snapshot.results
    compared = (
        None if results is None or results.trust is None else _agreement(results.trust, results.quality)
    )
    if not snapshot.quality and compared is None:
        return None
    return Trust(
        predictions=_predictions(snapshot.quality),
        refits=[Refit(name=name, predictions=_predictions(found)) for name, found in snapshot.refits],
        rank_agreement=None if compared is None else compared.tau.value,
        num_compared=None if compared is None else compared.count,
    )


def _predictions(found: Sequence[SurrogateQuality]) -> list[Predictions]:
    """Return them as JSON has them, which knows no NaN."""
    plain = [{k: None if v != v else v for k, v in asdict(quality).items()} for quality in found]
    return [Predictions.model_validate(quality) for quality in plain]


@functools.lru_cache(maxsize=64)
def _agreement(trust: TrustResult, quality: Objective) -> Agreement | None:
    """Return the rank correlation; kept, because its interval takes a thousand resamples."""
    return trust.agreement(quality)


def describe_trial(snapshot: Snapshot, position: int) -> TrialModel:
    """Return the trial at a position of the snapshot's rows as the API shows it."""
    row = vars(snapshot.rows[position])
    return TrialModel.model_validate({**row, "on_front": position in snapshot.front})


def describe_front(snapshot: Snapshot) -> FrontModel:
    """Return the front so far as the API shows it."""
    return FrontModel(
        evaluations=len(snapshot.rows),
        hypervolume=snapshot.hypervolume[-1] if snapshot.hypervolume else None,
        objectives=snapshot.objectives,
        numbers=[row.number for row in snapshot.front_rows],
        trials=[describe_trial(snapshot, position) for position in snapshot.front],
    )


@functools.lru_cache(maxsize=_MAX_VIEWS)
def _read_results(path: Path, _signature: object) -> Results:
    return Results.read(path)


def _status(directory: RunDirectory) -> Status | None:
    try:
        return directory.read_status()
    except NasError:
        return None


def _signature(path: Path) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _time(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
