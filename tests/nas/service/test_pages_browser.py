"""The page in a browser: from a fresh folder to a downloaded model, as a person would do it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chromium import PATIENCE_MS, chromium, served, sign_in, violations
from playwright.sync_api import Browser, BrowserContext, Page, expect

from nas.objective import Measurement, Objective
from nas.report.tables import format_value, with_spread

SUPPORT = Path(__file__).parents[2] / "support"


@dataclass
class Site:
    """A service with one finished run of the tiny study, started from its page."""

    url: str
    context: BrowserContext
    run: str
    complaints: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("service")
    with served(folder, "service_studies", SUPPORT, "/nas") as (url, token):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        complaints: list[str] = []
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page = context.new_page()
        sign_in(page, url, token)
        yield Site(url, context, started_from_the_page(page), complaints)
        context.close()


def started_from_the_page(page: Page) -> str:
    """Start the tiny study and wait for its end, on its page, without loading it again."""
    page.get_by_role("link", name="Studies", exact=True).click()
    page.get_by_role("link", name="Start tiny").click()
    page.get_by_label("Evaluations").fill("8")
    page.get_by_role("button", name="Start the study").click()
    expect(page.locator(".pill")).to_have_text("finished", timeout=PATIENCE_MS)
    return page.url


@pytest.fixture
def run_page(site: Site) -> Iterator[Page]:
    page = site.context.new_page()
    page.goto(site.run)
    page.wait_for_selector("#answer .headline")
    yield page
    page.close()


def test_the_front_grew_on_the_page_that_started_it(site: Site) -> None:
    page = site.context.pages[0]
    assert page.url == site.run
    expect(page.locator("#front-count")).to_have_text(re.compile(r"^\d of 8$"))
    assert page.locator("#front .points path").count() >= 8
    expect(page.locator("#front .xtitle")).to_have_text("parameters")
    expect(page.get_by_role("slider", name="parameters")).to_be_enabled()
    expect(page.get_by_role("heading", name="Winners")).to_be_visible()


def test_the_finished_winners_are_marks_of_their_own_that_lead_to_their_cards(run_page: Page) -> None:
    expect(run_page.locator("#legend-winners")).to_contain_text("quality on the test split")
    run_page.wait_for_selector("#front[data-drawn=yes]")
    place = run_page.evaluate(
        """() => {
          const plot = document.getElementById("front");
          const winners = plot._fullData.find((trace) => trace.name === "winners");
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          const [left, top] = [xaxis._offset + xaxis.d2p(winners.x[0]), yaxis._offset + yaxis.d2p(winners.y[0])];
          return [box.left + left, box.top + top];
        }"""
    )
    run_page.mouse.move(*place, steps=5)
    expect(run_page.locator("#tip")).to_contain_text("finished, test split")
    run_page.mouse.click(*place)
    run_page.wait_for_url(re.compile("/winners/[0-9a-f]{16}$"))


def test_the_pareto_set_and_a_winner_are_downloaded(run_page: Page) -> None:
    for link in (
        run_page.get_by_role("link", name="Download the Pareto set"),
        run_page.get_by_role("link", name=re.compile("^Download [0-9a-f]{16}$")).first,
    ):
        with run_page.expect_download() as download:
            link.click()
        with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
            assert archive.testzip() is None
            assert any(name.endswith("/model.onnx") for name in archive.namelist())


def test_a_budget_names_the_best_model_that_fits_and_the_next_step(run_page: Page) -> None:
    free = run_page.locator("#answer .name").inner_text()
    run_page.get_by_role("slider", name="parameters").fill("0")
    expect(run_page.locator("#answer .name")).not_to_have_text(free)
    step = run_page.locator(".step").first
    expect(step).to_contain_text("parameters buys +")
    step.click()
    expect(run_page.locator("#answer .kicker")).not_to_contain_text("1 of")
    run_page.get_by_label("parameters, at most").fill("1")
    run_page.keyboard.press("Tab")
    expect(run_page.locator("#answer .headline")).to_have_text("Nothing fits")


def test_the_plot_and_two_models_are_reached_by_keyboard_alone(run_page: Page) -> None:
    run_page.locator("#front").focus()
    run_page.keyboard.press("ArrowRight")
    expect(run_page.locator("#tip")).to_have_class(re.compile("shown"))
    first = run_page.locator("#said").inner_text()
    assert "on the front: accuracy" in first
    run_page.keyboard.press("Enter")
    run_page.keyboard.press("ArrowRight")
    assert run_page.locator("#said").inner_text() != first
    run_page.keyboard.press("Enter")
    link = run_page.get_by_role("link", name="Compare", exact=True).last
    expect(link).to_have_attribute("href", re.compile(r"\?a=\d+&b=\d+$"))
    link.focus()
    run_page.keyboard.press("Enter")
    expect(run_page.get_by_role("heading", name="Two architectures")).to_be_visible()


def test_any_two_objectives_are_the_axes(run_page: Page) -> None:
    run_page.get_by_label("x axis").select_option(label="accuracy")
    run_page.get_by_label("y axis").select_option(label="parameters")
    expect(run_page.locator("#front .xtitle")).to_have_text("accuracy")
    expect(run_page.locator("#front .ytitle")).to_have_text("parameters")


def test_the_front_is_there_before_plotly_is(site: Site) -> None:
    page = site.context.new_page()
    page.route("**/static/plotly.min.js*", lambda route: None)  # it never arrives
    page.goto(site.run, wait_until="commit")
    points = page.locator("#sketch .c-front")
    expect(points).to_have_attribute("d", re.compile("M"))
    num_drawn = (points.get_attribute("d") or "").count("M")
    assert page.locator("#front-count").inner_text().startswith(f"{num_drawn} of")
    expect(page.locator("#sketch .title")).to_have_count(2)
    page.unroute_all(behavior="ignoreErrors")
    page.close()


def test_light_and_dark_are_chosen_and_kept(run_page: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = run_page.evaluate(background)
    run_page.get_by_role("button", name="Light or dark").click()
    dark = run_page.evaluate(background)
    assert dark != light
    run_page.reload()
    assert run_page.evaluate(background) == dark
    run_page.get_by_role("button", name="Light or dark").click()
    assert run_page.evaluate(background) == light


def test_numbers_on_the_page_are_those_of_the_report(run_page: Page) -> None:
    accuracy, latency = Objective("accuracy", "", "maximize"), Objective("latency_ms", "ms", "minimize")
    macs, size = Objective("macs", "", "minimize"), Objective("file_bytes", "B", "minimize")
    cases = [(accuracy, v) for v in (0.0, 0.12345, 0.5, 0.98885, 1.0, 1.5)]
    cases += [(latency, v) for v in (0.0, 0.05326, 0.00001234, 3.0, 12.3456, 999.96, 1000.4, 123456.7)]
    cases += [(macs, v) for v in (7.0, 999.0, 1000.0, 1487328.0)] + [(size, v) for v in (17.0, 123456.0)]
    asked = [{"value": v, "unit": o.unit, "direction": o.direction, "spread": v / 37} for o, v in cases]
    script = """async (cases) => {
        const { shown, withSpread } = await import("/static/format.js");
        return cases.map((c) => [shown(c.value, c), withSpread(c.value, c.spread, c).join(" ").trim()]);
    }"""
    expected = [[format_value(v, o), with_spread(Measurement(v, v / 37, o.unit, "", 1), o)] for o, v in cases]
    assert run_page.evaluate(script, asked) == expected


def test_what_is_not_known_of_a_winners_file_is_no_mark_and_no_line(run_page: Page) -> None:
    script = """async () => {
        const { Trials } = await import("/nas/static/trials.js");
        const trials = Object.assign(new Trials("a run"), { objectives: [{ name: "accuracy" }, { name: "macs" }] });
        const values = { accuracy: { value: 0.75, spread: 0.25 } };
        return trials.file({ id: "a", variants: [] }, { name: "int8", on_front: true, values });
    }"""
    file = {"id": "a", "variant": "int8", "on_front": True}
    assert run_page.evaluate(script) == file | {"values": [0.75, None], "spread": [0.25, None]}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_serious_for_axe_and_nothing_too_wide(site: Site, theme: str, width: int) -> None:
    page = site.context.new_page()
    page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(site.run)
    page.wait_for_selector("#answer .headline")
    trials = page.locator("#part-table tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.trial)")
    paths = [
        "/studies",
        "/studies/tiny",
        "/runs",
        site.run,
        f"{site.run}/compare",
        "/compare",
        "/runs/tiny-ffffffff",
        "/docs",
    ]
    name = site.run.rpartition("/")[2]
    paths += [f"/compare?a={name}&b={name}"]
    paths += [f"{site.run}/compare?a={trials[0]}&b={trials[1]}"]
    paths += [page.locator(".winner .name").first.evaluate("link => link.href")]
    found = []
    for path in paths:
        page.goto(path if path.startswith("http") else site.url + path)
        if path == site.run:
            page.wait_for_selector("#answer .headline")
        found += [f"{path}: {violation}" for violation in violations(page)]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.close()
    assert not found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_for_axe_where_one_signs_in(browser: Browser, site: Site, theme: str) -> None:
    context = browser.new_context(color_scheme="light" if theme == "light" else "dark")
    page = context.new_page()
    page.goto(f"{site.url}/login")
    assert not violations(page)
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The token is wrong")
    assert not violations(page)
    context.close()


def test_the_browser_never_complained(site: Site) -> None:
    """Neither about scripts nor about what the content security policy forbids."""
    missing = "the server responded with a status of 404"  # the page that isn't there, asked for above
    assert [complaint for complaint in site.complaints if missing not in complaint] == []
