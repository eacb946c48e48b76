"""A service in a process of its own, for the benchmarks that load it, fuzz it, or kill it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil

_PATIENCE_S = 180


class Service:
    """``nas serve`` on a folder, with the benchmarks' studies."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, "NAS_STUDIES": "benchmarks.service_studies", **environment}
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.token = ""

    def start(self) -> None:
        """Start it, and wait until it says where it listens and with which token, if it makes one."""
        command = [sys.executable, "-m", "nas", "serve", "--folder", str(self._folder), "--port", "0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=self._environment, start_new_session=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://\S+", line):
                self.url = f"{found[0]}/api/v1"
            if found := re.search(r"nas_[0-9a-f]{12}_\S+", line):
                self.token = found[0]
            if self.url and ("nas_" in line or "token of yours" in line):
                break
        else:
            raise RuntimeError("the service didn't start")
        begin = time.monotonic()
        while time.monotonic() - begin < _PATIENCE_S:
            try:
                self.ask("GET", "/session")
                return
            except httpx2.TransportError:
                time.sleep(0.1)

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs."""
        return {"Authorization": f"Bearer {self.token}"}

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """Return the JSON of an answer."""
        answer = httpx2.request(method, self.url + path, json=content, headers=self.headers, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def cpu_s(self) -> float:
        """Return the seconds of a core that the service has used so far, its runs left out."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Return the memory that the service holds, its runs and other children left out."""
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def signal(self, number: int) -> int:
        """Send a signal to the service alone and return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.url = ""
        return code
