"""What child processes of the service see of its environment."""

from __future__ import annotations

import os

from nas.service.settings import PREFIX

TOKEN = "NAS_TOKEN"
"""Environment variable: the token that the command line sends to a server."""


def child_environment() -> dict[str, str]:
    """Return the environment without the service's own settings and secrets."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) and k != TOKEN}
    return kept | {"PYTHONUNBUFFERED": "1"}
