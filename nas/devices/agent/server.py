"""The agent's HTTP: three requests, a token with each, and nothing read that wasn't announced."""

from __future__ import annotations

import contextlib
import hmac
import http.server
import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas.devices.agent.bench import TimingBench
from nas.devices.agent.models import ModelFolder
from nas.devices.agent.nursery import NurseGoneError
from nas.devices.agent.refusal import Refusal
from nas.devices.agent.requests import MAX_JSON_BYTES, read_request

_MAX_CONNECTIONS = 32
"""Each takes a thread of a small board."""
_MAKE_ROOM_S = 1.0
"""The thread of a connection that was closed to make room ends within it, unless it hangs."""
_IDLE_S = 60
"""A client that sends nothing for so long is gone."""
_LINGER_S, _LINGER_BYTES = 1.0, 16 << 20
"""Read from a client whose request was turned down half-way, so that it sees why."""
_MODEL = re.compile("/v1/models/([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Desk:
    """What requests are answered with.

    Args:
        token: Without which nothing is.
        bench: Where networks are timed.
        models: That are kept.
        max_model_bytes: Most bytes of one model.
        cores: Cores of the device.
        describe: Returns what is told of the device.
    """

    token: str
    bench: TimingBench
    models: ModelFolder
    max_model_bytes: int
    cores: int
    describe: Callable[[], dict[str, Any]]


class AgentServer(http.server.ThreadingHTTPServer):
    """Listens, with a thread per connection and at most 32 of them.

    Args:
        address: Host and port; 0 is any free one.
        desk: Answers.
        say: Tells whoever watches the agent, in a sentence.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], desk: Desk, say: Callable[[str], None]) -> None:
        self.desk, self.say = desk, say
        self._places = threading.Semaphore(_MAX_CONNECTIONS)
        self._strangers: dict[socket.socket, None] = {}
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking the network for this host's name as the parent does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread. Where there are too many, whoever has shown no token for longest makes room."""
        if not self._places.acquire(blocking=False):
            self._send_a_stranger_away()
            if not self._places.acquire(timeout=_MAKE_ROOM_S):
                self.shutdown_request(request)
                return
        self._strangers[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection's requests."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.trust(request)
            self._places.release()

    def trust(self, request: Any) -> None:
        """Remember that a connection has shown the token, or is gone."""
        self._strangers.pop(request, None)

    def _send_a_stranger_away(self) -> None:
        for stranger in list(self._strangers)[:1]:
            with contextlib.suppress(OSError):  # it went by itself
                stranger.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client went away in the middle of something."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: AgentServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nas-agent", ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one piece

    def do_GET(self) -> None:
        """Answer a request of any method."""
        self._unread = 0
        try:
            self._check_token()
            self._unread = self._body_length()
            status, content = self._answer()
        except Refusal as refusal:
            status, content = refusal.status, refusal.content
        except NurseGoneError:
            self.server.say("the process that begins others was killed; start the agent again")
            threading.Thread(target=self.server.shutdown, daemon=True).start()
            status, content = 503, {"error": "ending", "message": "the agent is being ended."}
        except OSError as error:
            if isinstance(error, (ConnectionError, socket.timeout)):
                self.close_connection = True
                return
            status, content = 507, {"error": "disk", "message": f"a model can't be kept ({error.strerror})."}
        self._send(status, content)

    do_PUT = do_POST = do_GET  # noqa: N815 - named by http.server

    def _answer(self) -> tuple[int, dict[str, Any]]:
        desk = self.server.desk
        asked, model = (self.command, self.path), _MODEL.fullmatch(self.path)
        if asked == ("GET", "/v1/device"):
            return 200, desk.describe()
        if asked == ("POST", "/v1/measure"):
            return 200, desk.bench.measure(read_request(self._body(MAX_JSON_BYTES), desk.cores))
        if self.command == "PUT" and model:
            self._take_model(model.group(1))
            return 200, {}
        raise Refusal(404, "path", "there is no such thing here.")

    def _take_model(self, digest: str) -> None:
        size = self._expect(self.server.desk.max_model_bytes)
        self._unread, self.close_connection = -1, True  # unknown, until it is read to its end
        self.server.desk.models.store(digest, self.rfile, size)  # type: ignore[arg-type]
        self._unread, self.close_connection = 0, False

    def _body(self, longest: int) -> bytes:
        size = self._expect(longest)
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError("the body ended early")
        self._unread = 0
        return body

    def _expect(self, longest: int) -> int:
        """Return how long the body is, once that is known to be allowed."""
        if self._unread > longest:
            raise Refusal(
                413, "large", f"{self._unread} bytes are announced, and at most {longest} are read."
            )
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        return self._unread

    def _body_length(self) -> int:
        """Return how long the body is."""
        lengths = self.headers.get_all("Content-Length", ["0"])
        if self.headers.get("Transfer-Encoding") is not None or len(lengths) > 1:
            self._unread = -1
            raise Refusal(411, "length", "a body needs one Content-Length.")
        if not re.fullmatch("[0-9]{1,15}", lengths[0], re.ASCII):
            self._unread = -1
            raise Refusal(400, "length", "the Content-Length is no number of bytes.")
        return int(lengths[0])

    def _check_token(self) -> None:
        told = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(told, f"Bearer {self.server.desk.token}".encode()):
            self._unread = -1
            raise Refusal(401, "token", "the token is missing or another one.")
        self.server.trust(self.connection)

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        if self.request_version == "HTTP/0.9":  # or what is no version: answers have a head all the same
            self.request_version = "HTTP/1.0"
        if self._unread:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()
        if self._unread:
            self._linger()

    def _linger(self) -> None:
        """Read a little of what the client still sends; a connection that is cut at once would hide the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        left = _LINGER_BYTES
        while left > 0:
            piece = self.connection.recv(1 << 16)
            if not piece:
                return
            left -= len(piece)

    def handle_expect_100(self) -> bool:
        """Wait with "go on" until the request is known to be allowed."""
        return True

    def send_error(self, code: int, message: Any = None, explain: Any = None) -> None:
        """Answer what is no request of HTTP, as all others are answered."""
        self._unread = -1
        self.close_connection = True
        self._send(int(code), {"error": "request", "message": str(message or "this is no request.")})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests are no news."""
