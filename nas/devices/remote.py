"""A device at the other end of a wire, where an agent runs."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from nas.devices.agent_answers import AgentFacts, AgentTimes, MissingModelsError, TimingWork
from nas.devices.agent_link import AgentLink
from nas.devices.device import Session, Timings
from nas.devices.local import check_threads
from nas.errors import DeviceRefusedError, DeviceUnavailableError, StudyError

_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?", re.ASCII)
_ATTEMPTS = 3
"""Attempts to send models: two runs that send theirs may push each other's out of the agent's cache."""


@final
@dataclass(frozen=True)
class Remote:
    """A board, phone or server on which ``nas agent`` runs, with ONNX Runtime on its CPU.

    Networks are timed there, never across the wire. Neither the address nor the token are part of the study, which may
    go on when they change: what counts is that the device is the same one.

    Args:
        url: Where the agent listens, for example ``http://10.0.0.7:8710``.
        token: That the agent showed when it first began. Better: ``token_file``, or the environment variable
            ``NAS_AGENT_TOKEN``.
        threads: Threads of one operator; operators run one after another.
        token_file: A file that holds the token.

    Raises:
        StudyError: a setting is out of range.
    """

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    threads: int = 1
    token_file: str | Path | None = field(default=None, repr=False)
    _link: AgentLink = field(init=False, repr=False, compare=False)
    _told: list[str] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        check_threads(self, self.threads)
        if not isinstance(self.url, str) or not _URL.fullmatch(self.url):
            raise StudyError(f"Remote has url={self.url!r}: give an address such as http://10.0.0.7:8710.")
        object.__setattr__(self, "_link", AgentLink(self.url, self.token, self.token_file))

    def identity(self) -> str:
        """Return processor, threads and version, as the agent tells them."""
        found = self.facts().identity(self.threads)
        self._told[:] = [found]
        return found

    def facts(self) -> AgentFacts:
        """Return what the agent tells of itself, and how the device is at the moment.

        Raises:
            DeviceUnavailableError: it can't be reached.
            DeviceRefusedError: it is too old, is no agent, or the token is wrong.
        """
        return self._link.facts()

    @contextlib.contextmanager
    def open(self, models: Sequence[bytes], batch_size: int) -> Iterator[Session]:
        """Send the models that the agent lacks, and have them loaded and warmed up."""
        facts = self._link.facts()
        self._check_same(facts)
        self._check_fit(models, facts)
        digests = tuple(hashlib.sha256(model).hexdigest() for model in models)
        work = TimingWork(digests, batch_size, self.threads, facts.max_seconds)
        ready = self._prepare_models(work, dict(zip(digests, models, strict=True)))
        yield _RemoteSession(self._link, self.url, work, ready.instance)

    def _prepare_models(self, work: TimingWork, models: Mapping[str, bytes]) -> AgentTimes:
        """Have networks loaded, and send those that the agent lacks."""
        for _ in range(_ATTEMPTS):
            try:
                return self._link.measure(work, [], 1)
            except MissingModelsError as error:
                for digest in error.digests:
                    self._link.store(digest, models[digest])
        raise DeviceUnavailableError(f"the agent at {self.url} lets go of models while others are sent")

    def _check_same(self, facts: AgentFacts) -> None:
        """Refuse another device than the one that told its identity a moment ago."""
        if self._told and self._told[-1] != facts.identity(self.threads):
            raise DeviceUnavailableError(f"another device answers at {self.url} than a moment ago")

    def _check_fit(self, models: Sequence[bytes], facts: AgentFacts) -> None:
        largest, total = max(map(len, models)), sum(map(len, set(models)))
        for flag, found, allowed in (
            ("--max-model-mb", largest, facts.max_model_bytes),
            ("--max-cache-mb", total, facts.max_cache_bytes),
        ):
            if found > allowed:
                raise DeviceRefusedError(
                    f"models of {found} bytes are to be measured on {self.url}, whose agent takes {allowed}: start it "
                    f"with a larger {flag}."
                )


@final
class _RemoteSession:
    """Networks that are loaded and warm at the other end.

    Args:
        link: To the agent.
        url: Its address.
        work: The networks.
        instance: Instance of the process that has them.
    """

    def __init__(self, link: AgentLink, url: str, work: TimingWork, instance: str) -> None:
        self._link, self._url, self._work, self._instance = link, url, work, instance

    def time(self, order: Sequence[int], runs: int) -> Timings:
        """Have networks run in turns."""
        try:
            found = self._link.measure(self._work, order, runs)
        except MissingModelsError as error:
            raise self._make_lost_error("lost models") from error
        if found.instance != self._instance:
            raise self._make_lost_error("began anew")
        return Timings(np.asarray(found.seconds), min(max(found.cpu_share, 0.0), 1.0))

    def _make_lost_error(self, what: str) -> DeviceUnavailableError:
        return DeviceUnavailableError(
            f"the agent at {self._url} {what} during a measurement, which is made again"
        )
