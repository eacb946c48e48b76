"""Everything that lives as long as the service, put together once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import final

from fastapi import Request

from nas.errors import NasError
from nas.progress import DEFAULT_DEVICE
from nas.service.access import Access
from nas.service.boards import Boards
from nas.service.devices import Place
from nas.service.events import Watches
from nas.service.limits import Attempts
from nas.service.models import NewRun, RunModel, StudyModel
from nas.service.problems import Problem
from nas.service.runs import Runs
from nas.service.settings import Settings
from nas.service.starting import check_changes, check_quota, earlier_runs
from nas.service.store import UNFINISHED, Action, Run, Store
from nas.service.studies import Studies
from nas.service.supervisor import Supervisor
from nas.service.tokens import Tokens

logger = logging.getLogger(__name__)

_NUM_WARMED = 10
"""Runs on the first half of a page of the list: more would keep a core busy for minutes after each start."""


@final
class State:
    """The service's parts, put together; nothing is started.

    Args:
        settings: Settings of the process.

    Raises:
        ServiceError: the database can't be opened, or an agent's address is none.
    """

    def __init__(self, settings: Settings) -> None:
        settings.runs.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.store = Store(settings.database_url)
        self.tokens = Tokens(self.store)
        attempts = Attempts(settings.login_attempts, settings.login_window_s)
        session_s = settings.session_hours * 3600
        self.access = Access(self.tokens, attempts, session_s=session_s, https=settings.https)
        self.studies = Studies()
        self.supervisor = Supervisor(self.store, settings)
        self.runs = Runs(settings.runs, settings.storage)
        self.watches = Watches(self.store, self.runs, settings)
        self.boards = Boards(settings.agents)
        self._quota = threading.Lock()

    def catalogue(self) -> list[StudyModel]:
        """Return the studies with those devices of this service that they may train on."""
        return [self._place_study(study) for study in self.studies.all()]

    def study(self, name: str) -> StudyModel:
        """Return the study of that name in the catalogue.

        Raises:
            Problem: there is none (404).
        """
        found = next((study for study in self.catalogue() if study.name == name), None)
        if found is None:
            raise Problem(404, "unknown-study", f"There is no study {name!r}: the catalogue lists them.")
        return found

    def earlier(self, study: StudyModel) -> list[Run]:
        """Return the runs that a new one of a study may learn from, newest first; none where it learns nothing."""
        if not study.uses_knowledge:
            return []
        return earlier_runs(self.store, self.supervisor.directory, study.name)

    def _place_study(self, study: StudyModel) -> StudyModel:
        devices, error = list(self.settings.devices), study.error
        if error is None and "device" not in study.changeable:
            devices = [name for name in devices if Place.parse(name).device == DEFAULT_DEVICE]
            if not devices:
                error = (
                    f"it trains on {DEFAULT_DEVICE} alone, which this service doesn't have: name device in the "
                    f"study's changeable, or serve with --device {DEFAULT_DEVICE} too."
                )
                devices = [DEFAULT_DEVICE]
        defaults = study.defaults.model_copy(update={"device": devices[0]})
        return study.model_copy(update={"devices": devices, "defaults": defaults, "error": error})

    def start(self, asked: NewRun, token_id: str) -> Run:
        """Queue a study with what shall be changed in it.

        Raises:
            Problem: there is no such study (404), it can't be used (409), it doesn't have or allow what is asked (422),
                or a limit of the token is hit (429).
        """
        study = self.study(asked.study)
        earlier = [run.id for run in self.earlier(study)]
        changes = check_changes(study, asked, earlier)
        wanted = study.defaults.model_dump() | changes
        evaluations, device = int(wanted["evaluations"]), str(wanted["device"])
        with self._quota:  # two requests at once can't both take the last place
            check_quota(self.store, self.settings, token_id, evaluations)
            return self.supervisor.submit(
                study.name, changes, evaluations=evaluations, device=device, token_id=token_id
            )

    def num_waiting(self, run: RunModel) -> int:
        """Return how many runs go before one on its device: one that runs, and those that came earlier."""
        line = [r for r in self.store.runs_in(["queued", "running"]) if r.device == run.device]
        ids = [r.id for r in sorted(line, key=lambda r: r.state != "running")]
        return ids.index(run.id) if run.id in ids else 0

    def act(self, run: Run, action: Action) -> Run:
        """Pause, resume or cancel a run.

        Raises:
            Problem: its state doesn't allow that (409), or it was over and is one too many for its token now (429).
        """
        with self._quota:
            if action == "resume" and run.state not in UNFINISHED:
                check_quota(self.store, self.settings, run.token_id, run.evaluations)
            return self.supervisor.act(run, action)

    def warm(self) -> threading.Thread:
        """Begin to read what takes long to read first, the studies and the newest runs, so that nobody waits for it."""
        thread = threading.Thread(target=self._read_ahead, name="reading ahead", daemon=True)
        thread.start()
        return thread

    def _read_ahead(self) -> None:
        reads: list[Callable[[], object]] = [self.studies.all]
        reads += [self.runs.view(run).snapshot for run in self.store.runs(before=None, limit=_NUM_WARMED)]
        for read in reads:
            try:
                read()
            except NasError as error:  # whoever asks for it is told so too
                logger.warning("%s", error)

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()


def state_of(request: Request) -> State:
    """Return the state of the application that got the request."""
    state: State = request.app.state.service
    return state
