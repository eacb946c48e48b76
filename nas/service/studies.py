"""The operator's studies, as a child process describes them: their code never runs inside the service."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from typing import final

from nas.catalog import study_packages
from nas.errors import CatalogError
from nas.service.models import CATALOGUE, StudyModel
from nas.service.settings import child_environment

_PATIENCE_S = 120  # studies import torch: seconds on an idle machine, a minute on a busy one


@final
class Studies:
    """What the catalogue holds, read again when a study's file changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: object = None
        self._described: list[StudyModel] = []

    def all(self) -> list[StudyModel]:
        """Return what :func:`nas.catalog.describe_study` says of each study, by name.

        Raises:
            CatalogError: the studies can't be listed.
        """
        with self._lock:
            files = _files()
            if files != self._seen:
                self._described = _describe()
                self._seen = files
            return self._described


def _describe() -> list[StudyModel]:
    command = [sys.executable, "-m", "nas", "studies", "--json"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_S,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
        )
        return CATALOGUE.validate_json(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CatalogError(
            f"the studies can't be listed (it took longer than {_PATIENCE_S} s): see with 'nas studies --json' which "
            "one computes or loads much while it is imported."
        ) from error
    except (subprocess.SubprocessError, ValueError, OSError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or [""]
        raise CatalogError(f"the studies can't be listed ({words[-1]}): try 'nas studies --json'.") from error


def _files() -> dict[str, float]:
    """Return when each file of the studies' packages was changed."""
    found = {}
    for package in study_packages():
        spec = None
        with contextlib.suppress(Exception):  # what is wrong with it is said by _describe
            spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or []:
            for path in Path(folder).glob("*.py"):
                with contextlib.suppress(OSError):  # it is gone, or a link that an editor keeps leads nowhere
                    found[str(path)] = path.stat().st_mtime
    return found
