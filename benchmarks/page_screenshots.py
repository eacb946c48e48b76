"""Take pictures of the service's page, of a real run of a study that is started from the page itself.

    python -m benchmarks.page_screenshots --to screenshots --readme docs/service.png

``--folder`` keeps the service's folder, so that a finished run is used again. The README's picture is the run's page
with a budget set.
"""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browser import chromium, sign_in
from benchmarks.serving import Service

_SIZES = ((1440, 900), (390, 844))
_MAX_BYTES = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/screenshots"))
    parser.add_argument("--study", default="digits")
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--to", type=Path, default=Path("runs/screenshots/pictures"))
    parser.add_argument("--readme", type=Path, help="Where to put the README's picture.")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    service = Service(arguments.folder, NAS_STUDIES="studies")
    service.token = read_token(arguments.folder)
    service.start()
    (arguments.folder / "token.txt").write_text(service.token)
    try:
        run = find_finished_run(service, arguments.study, arguments.evaluations)
        with chromium() as browser:
            for theme in ("light", "dark"):
                for size in _SIZES:
                    take_all(browser, service, run, arguments.to, theme, size)
            if arguments.readme is not None:
                take_for_readme(browser, service, run, arguments.readme)
    finally:
        service.signal(signal.SIGTERM)


def read_token(folder: Path) -> str:
    """Return the token that an earlier call kept, empty if there was none."""
    path = folder / "token.txt"
    return path.read_text() if path.exists() else ""


def find_finished_run(service: Service, study: str, evaluations: int) -> str:
    """Return the id of a finished run of the study; start one where there is none, and wait."""
    for run in service.ask("GET", "/runs")["runs"]:
        if run["study"] == study and run["state"] == "finished":
            return str(run["id"])
    run = service.ask("POST", "/runs", {"study": study, "evaluations": evaluations})
    while run["state"] in ("queued", "running"):
        time.sleep(5)
        run = service.ask("GET", f"/runs/{run['id']}")
    if run["state"] != "finished":
        raise SystemExit(f"the run {run['id']} is {run['state']}: {run['last_words']}")
    return str(run["id"])


def take_all(
    browser: Browser, service: Service, run: str, to: Path, theme: str, size: tuple[int, int]
) -> None:
    """Take every page in one theme and width."""
    url = service.url.removesuffix("/api/v1")
    context = sign_in(
        browser, url, service.token, viewport={"width": size[0], "height": size[1]}, color_scheme=theme
    )
    page = context.new_page()
    winner = service.ask("GET", f"/runs/{run}/winners")["winners"][0]["id"]
    first, *_, last = service.ask("GET", f"/runs/{run}/front")["numbers"]
    pages = {
        "studies": "/studies",
        "start": "/studies/digits",
        "runs": "/runs",
        "run": f"/runs/{run}",
        "architectures": f"/runs/{run}/compare?a={first}&b={last}",
        "winner": f"/runs/{run}/winners/{winner}",
        "compare": "/compare",
    }
    runs = [r["id"] for r in service.ask("GET", "/runs")["runs"] if r["evaluations"]["complete"]]
    if len(runs) > 1:
        pages["compare"] += f"?a={runs[0]}&b={runs[1]}"
    for name, path in pages.items():
        page.goto(url + path)
        if name == "run":
            set_budget(page)
        if name == "compare" and len(runs) > 1:
            page.wait_for_selector("#both .points path")
        page.screenshot(path=to / f"{name}-{theme}-{size[0]}.png", full_page=True)
    context.close()


def take_for_readme(browser: Browser, service: Service, run: str, path: Path) -> None:
    """Take the run's page as it first comes into view."""
    url = service.url.removesuffix("/api/v1")
    context = sign_in(
        browser, url, service.token, viewport={"width": 1440, "height": 960}, color_scheme="light"
    )
    page = context.new_page()
    page.goto(f"{url}/runs/{run}")
    set_budget(page)
    page.locator("#front").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.locator("#front").evaluate("element => element.style.outline = 'none'")
    page.wait_for_timeout(500)  # the card fades in
    page.screenshot(path=path)
    context.close()
    Image.open(path).convert("RGB").save(path, optimize=True)
    if path.stat().st_size > _MAX_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes: at most {_MAX_BYTES} are wanted.")


def set_budget(page: Page) -> None:
    """Pull the last objective's slider to a little over a third, and wait for the answer."""
    page.wait_for_selector("#answer .headline")
    page.locator(".budget:not([hidden]) input[type=range]").last.fill("380")
    page.wait_for_selector(".step")
    page.wait_for_timeout(500)  # the plot is drawn again


if __name__ == "__main__":
    main()
