"""The wire to an agent: requests, and what its refusals mean here."""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.devices.agent import OLDEST_PROTOCOL, PROTOCOL
from nas.devices.agent_answers import AgentFacts, AgentTimes, MissingModelsError, TimingWork
from nas.errors import (
    DeviceFaultError,
    DeviceRefusedError,
    DeviceUnavailableError,
    ExportError,
    kind_and_line,
)
from nas.typed import MismatchError, read_as

if TYPE_CHECKING:
    import httpx2

TOKEN = "NAS_AGENT_TOKEN"
_CONNECT_S = 5.0
"""A device that is there answers within milliseconds; one that is away is asked again later."""
_ANSWER_S = 20.0
"""Time for answers that take no measuring; it begins anew with each piece of a model that is sent over a slow wire."""
_WAIT_S = 20
"""Time for another measurement to end there, before this one is told that the device is busy."""
_KEPT_S = 20.0
"""A connection is reused for so long: less than the agent keeps one that is idle."""
_KEEPALIVE = ((socket.SO_KEEPALIVE, 1),)
_PROBES = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A wire that was cut during a measurement is noticed within half a minute."""


@final
class AgentLink:
    """Speaks to an agent over one connection that stays open.

    Args:
        url: Where it listens.
        token: Or None: what the environment variable ``NAS_AGENT_TOKEN`` holds.
        token_file: Holds the token instead.
    """

    def __init__(self, url: str, token: str | None, token_file: str | Path | None) -> None:
        self._url, self._token, self._token_file = url.rstrip("/"), token, token_file
        self._client: httpx2.Client | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return AgentLink, (self._url, self._token, self._token_file)  # a copy opens a connection of its own

    def facts(self) -> AgentFacts:
        """Return what the agent tells of itself.

        Raises:
            DeviceUnavailableError: it can't be reached.
            DeviceRefusedError: it is too old or too new, is no agent, or the token is wrong.
        """
        content = self._ask("GET", "/v1/device", _ANSWER_S)
        self._check_version(content)
        try:
            return read_as(AgentFacts, content)
        except MismatchError as error:
            raise self._no_agent(str(error)) from error

    def store(self, digest: str, model: bytes) -> None:
        """Send a model."""
        self._ask("PUT", f"/v1/models/{digest}", _ANSWER_S, content=model)

    def measure(self, work: TimingWork, order: Sequence[int], runs: int) -> AgentTimes:
        """Have networks timed.

        Args:
            work: The networks.
            order: Positions there, one per turn; none to have them loaded anew and warmed up.
            runs: Timed runs of a turn.

        Raises:
            DeviceFaultError: it told no times.
            MissingModelsError: the agent lacks some.
            DeviceUnavailableError: it can't be reached, is busy or too warm.
            ExportError: it can't run one.
            MemoryError: its memory ran out.
        """
        plain = {**asdict(work), "order": [int(turn) for turn in order], "runs": runs, "wait": _WAIT_S}
        found = self._ask("POST", "/v1/measure", work.seconds + _WAIT_S + _ANSWER_S, json=plain)
        try:
            times = read_as(AgentTimes, found)
        except MismatchError as error:
            raise DeviceFaultError(f"the agent at {self._url} told no times ({error}).") from error
        # What comes over a wire is checked here, once, and believed afterwards.
        if [len(turn) for turn in times.seconds] != [runs] * len(order):
            raise DeviceFaultError(
                f"the agent at {self._url} told times of {len(times.seconds)} turns: {len(order)} of {runs} runs each "
                "are expected."
            )
        return times

    def _ask(
        self, method: str, path: str, seconds: float, *, content: bytes | None = None, json: object = None
    ) -> dict[str, Any]:
        import httpx2

        client, limits = self._open_client(), httpx2.Timeout(seconds, connect=_CONNECT_S)
        try:
            request = client.build_request(
                method, f"{self._url}{path}", content=content, json=json, timeout=limits
            )
            try:
                response = client.send(request)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                response = client.send(request)  # a connection was reset: every request may be made twice
        except (httpx2.InvalidURL, UnicodeError) as error:  # no name of a host: a part is empty, say
            raise DeviceRefusedError(
                f"{self._url} is no address ({kind_and_line(error)}): give one such as http://10.0.0.7:8710."
            ) from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise DeviceUnavailableError(
                f"the agent at {self._url} doesn't answer ({kind_and_line(error)}): it must run there, and the network "
                "reach it"
            ) from error
        try:
            found = response.json()
        except ValueError:
            found = None
        if response.is_success:
            if isinstance(found, dict):
                return found
            raise self._no_agent("an answer that is no JSON")
        raise self._make_error(response.status_code, found if isinstance(found, dict) else {})

    def _make_error(self, status: int, found: Mapping[str, Any]) -> Exception:
        """Return the error that a refusal stands for."""
        code, message = found.get("error"), str(found.get("message", "nothing more"))
        said = f"the agent at {self._url} says: {message}"
        if code == "missing" and isinstance(found.get("models"), list):
            return MissingModelsError([str(digest) for digest in found["models"]])
        if code == "memory":
            return MemoryError(said)
        if code == "operator":
            return ExportError(
                f"the device at {self._url} has no operator {found.get('operator')}: {message}"
            )
        if code in ("model", "crashed", "slow"):
            return ExportError(said)
        if status >= 500 or code == "digest":  # it was sent right: the wire did that
            return DeviceUnavailableError(said.rstrip("."))
        if status == 401:
            return DeviceRefusedError(
                f"the agent at {self._url} doesn't take the token: give the one that it showed when it first began, "
                f"with token_file=... or in the environment variable {TOKEN}."
            )
        return DeviceRefusedError(said) if code else self._no_agent(f"status {status}")

    def _check_version(self, content: Mapping[str, Any]) -> None:
        newest, oldest = content.get("protocol"), content.get("oldest_protocol")
        if type(newest) is not int or type(oldest) is not int:
            raise self._no_agent("no version")
        if newest < OLDEST_PROTOCOL:
            raise DeviceRefusedError(
                f"the agent at {self._url} is of version {content.get('agent')} and speaks protocol {newest}, and "
                f"{OLDEST_PROTOCOL} is needed: copy a new one there ('nas agent --bundle agent.pyz')."
            )
        if oldest > PROTOCOL:
            raise DeviceRefusedError(
                f"the agent at {self._url} is of version {content.get('agent')} and speaks protocol {oldest} or later, "
                f"and this nas {PROTOCOL}: install a newer nas here, or copy its agent there."
            )

    def _no_agent(self, found: str) -> DeviceRefusedError:
        return DeviceRefusedError(
            f"what answers at {self._url} is no agent of nas ({found}): check the address and the port."
        )

    def _open_client(self) -> httpx2.Client:
        """Return the client, made when it is first needed."""
        import httpx2

        if self._client is None:
            options = [(socket.SOL_SOCKET, *pair) for pair in _KEEPALIVE]
            options += [
                (socket.IPPROTO_TCP, int(getattr(socket, name)), value)
                for name, value in _PROBES
                if name in vars(socket)  # not every system has them
            ]
            limits = httpx2.Limits(max_connections=4, keepalive_expiry=_KEPT_S)
            self._client = httpx2.Client(
                headers={"Authorization": f"Bearer {self._find_token()}"},
                transport=httpx2.HTTPTransport(limits=limits, socket_options=options),
                trust_env=False,  # a device isn't behind the proxy that the rest of the world is behind
            )
            weakref.finalize(self, self._client.close)
        return self._client

    def _find_token(self) -> str:
        token = self._token or ""
        if not token and self._token_file is not None:
            path = Path(self._token_file).expanduser()
            try:
                token = path.read_text(errors="replace").strip()
            except OSError as error:
                raise DeviceRefusedError(
                    f"the token of the agent at {self._url} can't be read ({error}): put it into {path}."
                ) from error
        token = token or os.environ.get(TOKEN, "")
        if not token or not token.isascii() or not token.isprintable():
            raise DeviceRefusedError(
                f"there is no token to speak to the agent at {self._url} with: give the one that it showed when it "
                f"first began, with token_file=... or in the environment variable {TOKEN}."
            )
        return token
