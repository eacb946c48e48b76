"""How a process gets onto a cluster; no Ray is begun."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from nas.errors import WorkerError
from nas.executors.ray_connection import check_cluster, enter_cluster

ray: Any = pytest.importorskip("ray")


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (
            "RPC error: InvalidAuthToken: Authentication token is missing",
            "asks for a token: bring ~/.ray/auth_token",
        ),
        ("no such luck", r"can't be used .ConnectionError: Failed to connect."),
    ],
)
def test_why_a_cluster_can_not_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, cause: str, told: str
) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError(cause)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(WorkerError, match=told):
        check_cluster("auto")


def test_whoever_handles_sigterm_still_does_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with enter_cluster("local"):
        assert signal.getsignal(signal.SIGTERM) is before


def test_an_address_is_tried_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(WorkerError, match=r"no Ray cluster listens at 127\.0\.0\.1:9"):
        check_cluster("127.0.0.1:9")
