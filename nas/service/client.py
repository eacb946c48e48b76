"""The API from the other side: what ``--server URL`` on the command line talks through."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar, final
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from nas.errors import ServiceError
from nas.service.models import CATALOGUE, FrontModel, RunModel, StudyModel
from nas.service.settings import TOKEN

T = TypeVar("T")
_TIMEOUT_S = 60.0  # the first look at a run of thousands of trials takes the service many seconds
_RUN, _FRONT = TypeAdapter(RunModel), TypeAdapter(FrontModel)


@final
class Client:
    """A server, and the token to speak to it with.

    Args:
        url: URL of the service, for example ``http://127.0.0.1:8000``.
        token: From the environment variable ``NAS_TOKEN`` unless given.
        transport: Instead of the network.

    Raises:
        ServiceError: there is no token, or the address is none.
    """

    def __init__(
        self, url: str, token: str | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        token = token or os.environ.get(TOKEN)
        if not token:
            raise ServiceError(
                f"no token to speak to {url} with: set the environment variable {TOKEN} to one of "
                "'nas token create'."
            )
        if not token.isascii() or not token.isprintable():
            raise ServiceError(
                f"the token in {TOKEN} is none: it holds what no token of 'nas token create' does."
            )
        if not url.startswith(("http://", "https://")):
            raise ServiceError(f"the server is {url!r}: give an address such as http://127.0.0.1:8000.")
        self._url = url.rstrip("/")
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S, transport=transport
        )

    def studies(self) -> list[StudyModel]:
        """Return the catalogue."""
        return self._ask(CATALOGUE, "GET", "/studies")

    def start(self, study: str, changes: Mapping[str, object]) -> RunModel:
        """Queue a study and return its run."""
        return self._ask(_RUN, "POST", "/runs", {"study": study, **changes})

    def run(self, run: str) -> RunModel:
        """Return how a run stands."""
        return self._ask(_RUN, "GET", f"/runs/{quote(run, safe='')}")

    def front(self, run: str) -> FrontModel:
        """Return the front so far."""
        return self._ask(_FRONT, "GET", f"/runs/{quote(run, safe='')}/front")

    def download(self, run: str, to: Path) -> None:
        """Write the zip of the whole Pareto set to a file."""
        with (
            self._send("GET", f"/runs/{quote(run, safe='')}/pareto.zip") as response,
            to.open("wb") as stream,
        ):
            for piece in response.iter_bytes():
                stream.write(piece)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _ask(self, answer: TypeAdapter[T], method: str, path: str, content: object = None) -> T:
        with self._send(method, path, content) as response:
            try:
                return answer.validate_json(response.read())
            except ValidationError as error:
                raise self._not_ours(f"{response.status_code} with what can't be read") from error

    @contextlib.contextmanager
    def _send(self, method: str, path: str, content: object = None) -> Iterator[httpx2.Response]:
        """Give the answer to a request, as it arrives.

        Raises:
            ServiceError: the server can't be reached, turns the request down, or is none of ours.
        """
        try:
            with self._http.stream(method, f"{self._url}/api/v1{path}", json=content) as response:
                kind = response.headers.get("content-type", "").partition(";")[0]
                if response.is_error and kind == "application/problem+json":
                    response.read()
                    detail = response.json().get("detail", response.status_code)
                    raise ServiceError(f"the server {self._url} says: {detail}")
                if response.is_error or kind not in ("application/json", "application/zip"):
                    raise self._not_ours(f"{response.status_code} ({kind or 'nothing'})")
                yield response
        # A host that is no name is a UnicodeError.
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise ServiceError(
                f"the server {self._url} can't be reached ({error}): check the address, and that 'nas serve' runs "
                "there."
            ) from error

    def _not_ours(self, answered: str) -> ServiceError:
        return ServiceError(
            f"the server {self._url} answered {answered}, which is not how a nas service of this version answers: "
            "check the address."
        )
