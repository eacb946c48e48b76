"""What is asked of the agent, read and checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nas.devices.agent.refusal import Refusal
from nas.devices.agent.requests import MeasureRequest, read_request

CORES = 4
A, B = "a" * 64, "0123456789abcdef" * 4
LEAST = {"models": [A], "order": [0], "runs": 1, "batch": 1, "threads": 1, "seconds": 1, "wait": 0}


def read(**changes: Any) -> MeasureRequest:
    return read_request(json.dumps({**LEAST, **changes}).encode(), CORES)


def test_a_request_is_read_as_it_was_sent() -> None:
    found = read(models=[A, B], order=[0, 1, 0], runs=5, batch=8, threads=2, seconds=60, wait=20)
    assert found == MeasureRequest([A, B], [0, 1, 0], 5, 8, 2, 60, 20)


def test_an_empty_order_is_a_session_that_begins() -> None:
    assert read(order=[]).order == []


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("runs", 1, 1_000_000),
        ("batch", 1, 65_536),
        ("threads", 1, CORES),
        ("seconds", 1, 86_400),
        ("wait", 0, 30),
    ],
)
def test_a_number_has_its_limits_and_is_an_integer(name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert getattr(read(**{name: value}), name) == value
    for wrong in (least - 1, most + 1, float(least), True, str(least), None, [least]):
        with pytest.raises(Refusal, match=f"an integer from {least} to {most} as {name} is expected"):
            read(**{name: wrong})


@pytest.mark.parametrize("name", LEAST)
def test_what_is_missing_is_named(name: str) -> None:
    body = json.dumps({key: value for key, value in LEAST.items() if key != name}).encode()
    with pytest.raises(Refusal, match=rf" as {name} is expected, and 'None' was sent") as caught:
        read_request(body, CORES)
    assert caught.value.status == 400
    assert caught.value.content["error"] == "request"


@pytest.mark.parametrize("digest", [A[:-1], A + "a", A.upper(), A + "\n", "../" + A[3:], 7])
def test_a_model_is_named_by_its_digest_alone(digest: object) -> None:
    with pytest.raises(Refusal, match="SHA-256 as models"):
        read(models=[A, digest])


def test_all_timed_runs_together_have_a_limit() -> None:
    assert read(order=[0] * 10, runs=100_000).runs == 100_000
    with pytest.raises(Refusal, match="at most 1000000 timed runs in all is expected, and '1000010'"):
        read(order=[0] * 10, runs=100_001)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"runs": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_is_a_short_sentence(body: bytes) -> None:
    with pytest.raises(Refusal, match="the body is no JSON") as caught:
        read_request(body, CORES)
    assert len(str(caught.value)) < 200


def test_what_was_sent_is_repeated_in_part_only() -> None:
    with pytest.raises(Refusal) as caught:
        read(models="x" * 10_000)
    assert len(str(caught.value)) < 200
