"""A wire between a run and an agent that is slow, or cut, or loses connections."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER without lingering: what closes a connection is then a reset."""


@dataclass
class Wire:
    """Forwards connections to a port of the loopback.

    Args:
        port: Port of the agent.
        seed: Seed of what goes wrong.
        delay_s: Before each piece is forwarded.
        lost: Share of connections that are reset, in the middle of a piece. All others are closed at some time,
            between two answers, so that there are many.
    """

    port: int
    seed: int = 0
    delay_s: float = 0.0
    lost: float = 0.0
    is_cut: bool = False
    connections: int = 0
    resets: int = 0
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where this end listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self.connections += 1
        try:
            far = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        except OSError:  # the agent is dead
            near.close()
            return
        left = self._rng.randint(1, 12) if self.lost else 10**9
        is_lost = self._rng.random() < self.lost
        with near, far, contextlib.suppress(OSError):
            self._forward(near, far, left, is_lost)

    def _forward(self, near: socket.socket, far: socket.socket, answers: int, is_lost: bool) -> None:
        """Forward in both directions until one end closes, or so many pieces of answers are through."""
        while answers > 0:
            for source in select.select([near, far], [], [])[0]:
                piece = source.recv(1 << 16)
                if not piece:
                    return
                time.sleep(self.delay_s)
                while self.is_cut:
                    time.sleep(0.05)
                answers -= source is far
                if answers <= 0 and is_lost:
                    near.sendall(piece[: len(piece) // 2])
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self.resets += 1
                    return
                (near if source is far else far).sendall(piece)
