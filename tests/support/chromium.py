"""A service in a process of its own, and Chromium to look at it with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PATIENCE_MS = 180_000
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start headless Chromium: the system's, or the one that Playwright installed. Without one, fail."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        path = next((found for name in _NAMES if (found := shutil.which(name))), own)
        if not Path(path).exists():
            pytest.fail("The page is tested in Chromium, and there is none: install it with 'make chromium'.")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def served(folder: Path, studies: str, python_path: Path, root: str) -> Iterator[tuple[str, str]]:
    """Run ``nas serve`` on a folder, below a path; give the page's address and the token that it prints."""
    paths = [str(python_path), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "NAS_STUDIES": studies, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "nas", "serve", "--folder", str(folder), "--port", "0"]
    command += ["--root-path", root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = token = ""
        try:
            while not (url and token):
                line = process.stdout.readline()
                assert line, "the service ended before it was ready"
                url = url or "".join(re.findall(r"http://[\d.:]+\S*", line))
                token = token or "".join(re.findall(r"nas_[0-9a-f]{12}_\S+", line))
            yield url, token
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def sign_in(page: Page, url: str, token: str) -> None:
    """Type the token into the form."""
    page.goto(url)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/(studies|runs)$"))


def violations(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical on a page."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text())  # not subject to the page's policy
    found: list[dict[str, Any]] = page.evaluate("axe.run(document).then((results) => results.violations)")
    return [
        f"{v['id']} ({v['impact']}): {json.dumps([node['html'][:160] for node in v['nodes'][:3]])}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
