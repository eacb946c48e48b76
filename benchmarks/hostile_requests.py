"""Requests that nobody should send to an agent, for ``remote_device``."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import random
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from nas.devices import Remote
from nas.errors import NasError

_PIECE = bytes(1 << 20)
_PATIENCE_S = 30.0


def send(url: str, raw: bytes, more: Iterable[bytes] = ()) -> str:
    """Send bytes, and others until the agent hangs up; return the status that it answered, or what happened."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    received = b""
    with socket.create_connection((host, port), timeout=_PATIENCE_S) as wire:
        with contextlib.suppress(ConnectionError):
            wire.sendall(raw)
            for piece in more:
                wire.sendall(piece)
            wire.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := wire.recv(1 << 16):
                received += piece
    return received[9:12].decode("latin-1") or "closed"


def send_attacks(url: str, token: str, model: bytes) -> dict[str, str]:
    """Return what the agent answers to each attack."""
    digest = hashlib.sha256(model).hexdigest()
    allowed = f"Authorization: Bearer {token}\r\n"
    gigabyte = (_PIECE for _ in range(1024))
    chunks = (b"100000\r\n" + _PIECE + b"\r\n" for _ in range(1024))
    put = f"PUT /v1/models/{digest} HTTP/1.1\r\n"
    heads: dict[str, tuple[str, Iterable[bytes]]] = {
        "no token": ("GET /v1/device HTTP/1.1\r\n\r\n", ()),
        "another token": ("GET /v1/device HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n", ()),
        "wrong digest": (
            f"PUT /v1/models/{'0' * 64} HTTP/1.1\r\n{allowed}Content-Length: {len(model)}\r\n\r\n",
            iter([model]),
        ),
        "a gigabyte, declared": (f"{put}{allowed}Content-Length: {1 << 30}\r\n\r\n", gigabyte),
        "a gigabyte, chunked": (f"{put}{allowed}Transfer-Encoding: chunked\r\n\r\n", chunks),
        "a gigabyte of headers": (f"{put}{allowed}X: ", (_PIECE for _ in range(1024))),
    }
    for path in (
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        f"{digest}/../x",
        "%00",
        "C:\\x",
    ):
        heads[f"path {path}"] = (
            f"PUT /v1/models/{path} HTTP/1.1\r\n{allowed}Content-Length: 1\r\n\r\nx",
            (),
        )
    return {name: send(url, head.encode(), more) for name, (head, more) in heads.items()}


def send_fuzzed_requests(url: str, token: str, model: bytes, count: int) -> collections.Counter[str]:
    """Return how often the agent answered what to requests that were right before a few bytes changed."""
    digest, rng = hashlib.sha256(model).hexdigest(), random.Random(0)
    work = {"models": [digest], "order": [0], "runs": 1, "batch": 1, "threads": 1, "seconds": 1, "wait": 1}
    body, allowed = json.dumps(work), f"Authorization: Bearer {token}\r\n"
    whole = [
        f"GET /v1/device HTTP/1.1\r\n{allowed}\r\n".encode(),
        f"POST /v1/measure HTTP/1.1\r\n{allowed}Content-Length: {len(body)}\r\n\r\n{body}".encode(),
        f"PUT /v1/models/{digest} HTTP/1.1\r\n{allowed}Content-Length: {len(model)}\r\n\r\n".encode() + model,
    ]
    answers: collections.Counter[str] = collections.Counter()
    for number in range(count):
        raw = bytearray(whole[number % 3])
        head = raw.find(b"\r\n\r\n") if rng.random() < 0.7 else len(raw)
        for _ in range(rng.randint(1, 8)):
            raw[rng.randrange(head)] = rng.randrange(256)
        answers[send(url, bytes(raw[: rng.randint(1, len(raw))] if rng.random() < 0.3 else raw))] += 1
    return answers


def send_malformed_models(device: Remote, model: bytes, count: int) -> collections.Counter[str]:
    """Return what became of models that were right before a few bytes changed."""
    rng = random.Random(0)
    answers: collections.Counter[str] = collections.Counter()
    for _ in range(count):
        changed = bytearray(model)
        for _ in range(rng.randint(1, 20)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        if rng.random() < 0.2:
            del changed[rng.randrange(len(changed)) :]
        try:
            with device.open([bytes(changed)], 1) as session:
                session.time([0], 1)
            answers["ran"] += 1
        except (NasError, MemoryError) as error:
            crashed = "crashes" in str(error)
            slow = "takes more than" in str(error)
            answers["crashed the runtime" if crashed else "too slow" if slow else type(error).__name__] += 1
    return answers
