"""Stand-ins for the tests of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from fastapi.testclient import TestClient

from nas.catalog import describe_study, study_names
from nas.service.models import StudyModel

FINISHED = "tiny-00000001"
"""The name of the finished run."""


class KnownStudies:
    """The catalogue without a process of its own."""

    def all(self) -> list[StudyModel]:
        return [StudyModel.model_validate(describe_study(name)) for name in study_names()]


@dataclass
class FakeChild:
    """A process that does what a test says."""

    command: list[str]
    directory: Path
    storage: str | None = None
    code: int | None = None
    alive: bool = True
    words: str = "last words"
    asked: list[str] = field(default_factory=list)

    def is_alive(self) -> bool:
        return self.alive

    def exit_code(self) -> int | None:
        return self.code

    def stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")
        self.end(-9)

    def last_words(self) -> str:
        return self.words

    def end(self, code: int | None) -> None:
        self.alive, self.code = False, code


def sign_in(client: TestClient, token: str, there: str = "/runs") -> httpx2.Response:
    """Send the form to sign in."""
    return client.post("/login", data={"token": token, "next": there}, follow_redirects=False)
