"""What child processes of the service see of its environment."""

from __future__ import annotations

import os

from nas.service.settings import PREFIX

TOKEN = "NAS_TOKEN"
"""Environment variable: the token that the command line sends to a server."""

STORAGE = "NAS_STORAGE"
"""Environment variable: where ``nas run`` keeps its trials, as its ``--storage``."""


def child_environment(storage: str | None = None) -> dict[str, str]:
    """Return the environment without the service's own settings and secrets.

    Args:
        storage: Database for the trials of runs, where it isn't a file in the run directory. It may hold a password,
            which a command line would show to everybody on the machine.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k not in (TOKEN, STORAGE)}
    return kept | {"PYTHONUNBUFFERED": "1"} | ({STORAGE: storage} if storage is not None else {})
