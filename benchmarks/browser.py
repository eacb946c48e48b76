"""The system's Chromium, to look at the service's page with."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserContext, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's headless Chromium.

    Raises:
        SystemExit: there is none.
    """
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit(f"none of {_NAMES} is installed: 'apt-get install chromium' on Debian.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def sign_in(browser: Browser, url: str, token: str, **context: object) -> BrowserContext:
    """Return a browser without a cache that is signed in."""
    made = browser.new_context(**context)  # type: ignore[arg-type]
    made.set_default_timeout(120_000)
    page = made.new_page()
    page.goto(f"{url}/login?next=/runs")
    page.fill("#token", token)
    page.click("button[type=submit]")
    page.wait_for_url("**/runs")
    page.close()
    return made
