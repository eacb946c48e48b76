"""What the operator decides about the service's process: environment variables and flags, all here."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nas.errors import ServiceError

PREFIX = "NAS_SERVICE_"
"""Of the environment variables: ``NAS_SERVICE_PORT`` and so on, one per field of :class:`Settings`."""

TOKEN = "NAS_TOKEN"
"""Environment variable: the token that the command line sends to a server."""

STORAGE = "NAS_STORAGE"
"""Environment variable: where ``nas run`` keeps its trials, as its ``--storage``."""

OWN_PATHS = ("api", "compare", "devices", "docs", "login", "logout", "runs", "static", "studies")
"""How paths of ours begin. A prefix that begins so couldn't be told from them."""


@final
class Settings(BaseSettings):
    """The service's settings, each from ``NAS_SERVICE_<NAME>`` unless a flag says otherwise."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    folder: Path = Field(Path("runs/service"), description="Holds everything: runs, queue, tokens.")
    storage: str | None = Field(
        None, description="PostgreSQL for queue, tokens and trials; SQLite unless told otherwise."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 is any free one.")
    root_path: str = Field("", description="Path below which a proxy shows the service, such as /nas.")
    proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of proxies, by comma, whose X-Forwarded-For and -Proto are believed.",
    )
    https: bool = Field(False, description="A proxy in front speaks HTTPS: cookies are for HTTPS alone.")
    devices: Annotated[tuple[str, ...], NoDecode] = Field(
        ("cpu",),
        min_length=1,
        description="Where studies may train, by comma, also ray:HOST:PORT; one runs on each.",
    )
    agents: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses of agents on devices, by comma; the page shows how these are."
    )
    restarts: int = Field(3, ge=0, description="How often a crashed run is restarted from its checkpoint.")
    restart_after_s: float = Field(2.0, ge=0, description="Pause before the first restart; doubles.")
    grace_s: float = Field(6.0, gt=0, description="What a stopped run gets to put things down.")
    max_body_bytes: int = Field(64 * 1024, ge=1024, description="Largest request body.")
    max_query_bytes: int = Field(4096, ge=256, description="Longest path and query.")
    max_unfinished: int = Field(10, ge=1, description="Unfinished studies per token.")
    max_evaluations: int = Field(20_000, ge=1, description="Evaluations of a token's unfinished studies.")
    max_streams: int = Field(100, ge=1, description="Open event streams per token.")
    login_attempts: int = Field(10, ge=1, description="Wrong tokens per address before it has to wait.")
    login_window_s: float = Field(300.0, gt=0, description="How long it has to wait.")
    session_hours: float = Field(12.0, gt=0, description="How long a sign-in lasts.")
    refresh_s: float = Field(1.0, gt=0, description="How often a watched run is looked at.")
    keep_alive_s: float = Field(15.0, gt=0, description="How often a silent event stream says so.")

    @field_validator("devices", "agents", "proxies", mode="before")
    @classmethod
    def _by_comma(cls, value: object) -> object:
        return tuple(d.strip() for d in value.split(",") if d.strip()) if isinstance(value, str) else value

    @field_validator("root_path")
    @classmethod
    def _is_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path, re.ASCII):
            raise ValueError("it should be a path such as /nas, of letters, digits and any of '._~-'")
        if path and path.split("/")[1] in OWN_PATHS:
            raise ValueError(f"it should not begin as a path of the service does: {', '.join(OWN_PATHS)}")
        return path

    @field_validator("proxies")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                network = ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f"{proxy!r} is neither an address nor a network such as 10.0.0.0/8"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"{proxy!r} is everybody, and whoever is believed can say any address")
        return value

    @property
    def database_url(self) -> str:
        """The database of the service's own tables."""
        return self.storage or f"sqlite:///{self.folder.resolve() / 'service.db'}"

    @property
    def runs(self) -> Path:
        """Where the run directories are."""
        return self.folder.resolve() / "runs"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def settings_from(**flags: Any) -> Settings:
    """Return the settings of the environment, with flags that are not None in their place.

    Raises:
        ServiceError: a value is not valid; says which.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"][:1])
        raise ServiceError(
            f"the setting {name} (environment variable {PREFIX}{name.upper()}) is not valid: {first['msg']}."
        ) from None


def child_environment(storage: str | None = None) -> dict[str, str]:
    """Return the environment without the service's own settings and secrets.

    Args:
        storage: Database for the trials of runs, where it isn't a file in the run directory. It may hold a password,
            which a command line would show to everybody on the machine.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k not in (TOKEN, STORAGE)}
    return kept | {"PYTHONUNBUFFERED": "1"} | ({STORAGE: storage} if storage is not None else {})
