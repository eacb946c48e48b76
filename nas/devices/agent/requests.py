"""What is asked of the agent, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from nas.devices.agent.models import DIGEST
from nas.devices.agent.refusal import Refusal

# What a request may hold: more than any measurement needs, and no more than a small board has memory and time for.
MAX_JSON_BYTES = 1 << 20
_MAX_DIGITS = 15  # Python takes quadratic time to read a long number
_MAX_MODELS = 1024
_MAX_TURNS = 100_000
_MAX_TIMES = 1_000_000
_MAX_BATCH = 65_536
_MAX_SECONDS = 86_400  # a day
MAX_WAIT_S = 30


@dataclass(frozen=True)
class MeasureRequest:
    """Which networks are to run in which turns.

    Args:
        models: Digests.
        order: Positions there, one per turn.
        runs: Timed runs of a turn.
        batch: Items per forward pass.
        threads: Threads of one operator.
        seconds: Longest time that the measurement may take.
        wait: Seconds to wait until another measurement has ended.
    """

    models: list[str]
    order: list[int]
    runs: int
    batch: int
    threads: int
    seconds: int
    wait: int


def read_request(body: bytes, cores: int) -> MeasureRequest:
    """Return what a body asks for.

    Raises:
        Refusal: it is nothing that can be asked for.
    """
    content = _json(body)
    if not isinstance(content, dict):
        raise _make_refusal("an object", content)
    models: Any = content.get("models")
    order: Any = content.get("order")
    if not _is_list(models, str, _MAX_MODELS) or not models or not all(map(DIGEST.fullmatch, models)):
        raise _make_refusal(f"a list of 1 to {_MAX_MODELS} SHA-256 as models", models)
    if not _is_list(order, int, _MAX_TURNS) or not all(0 <= turn < len(models) for turn in order):
        raise _make_refusal(f"a list of at most {_MAX_TURNS} positions of models as order", order)
    runs = _integer(content, "runs", 1, _MAX_TIMES)
    if runs * len(order) > _MAX_TIMES:
        raise _make_refusal(f"at most {_MAX_TIMES} timed runs in all", runs * len(order))
    return MeasureRequest(
        models,
        order,
        runs,
        _integer(content, "batch", 1, _MAX_BATCH),
        _integer(content, "threads", 1, cores),
        _integer(content, "seconds", 1, _MAX_SECONDS),
        _integer(content, "wait", 0, MAX_WAIT_S),
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_int=_short_int)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "request", f"the body is no JSON ({str(error)[:100]}).") from None


def _short_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("a number is too long")
    return int(digits)


def _is_list(value: Any, kind: type, longest: int) -> bool:
    return isinstance(value, list) and len(value) <= longest and all(type(one) is kind for one in value)


def _integer(content: dict[str, Any], name: str, low: int, high: int) -> int:
    value = content.get(name)
    if type(value) is not int or not low <= value <= high:
        raise _make_refusal(f"an integer from {low} to {high} as {name}", value)
    return value


def _make_refusal(wanted: str, found: Any) -> Refusal:
    return Refusal(400, "request", f"{wanted} is expected, and {str(found)[:60]!r} was sent.")
