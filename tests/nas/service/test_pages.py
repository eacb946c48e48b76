from __future__ import annotations

import dataclasses
import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from service_fakes import FINISHED, sign_in

from nas.report.results import AS_GIVEN, Original, Results
from nas.service.assets import PLOTLY, address, plotly_styles
from nas.service.processes import command_of
from nas.service.state import State
from nas.service.store import Run

HTML = {"accept": "text/html"}


@pytest.fixture
def person(app: FastAPI, run_token: str) -> TestClient:
    """Somebody with a browser, signed in."""
    client = TestClient(app, headers=HTML, follow_redirects=False)
    assert sign_in(client, run_token).status_code == 303
    return client


@pytest.fixture
def onlooker(app: FastAPI, read_token: str) -> TestClient:
    """Somebody with a browser, signed in with a token that may only read."""
    client = TestClient(app, headers=HTML, follow_redirects=False)
    assert sign_in(client, read_token).status_code == 303
    return client


def winner_of(service: State, run: Run) -> str:
    return service.runs.view(run).snapshot().winners[0].id


@pytest.mark.parametrize("path", ["/", "/studies", "/runs", "/runs/tiny-00000001", "/compare"])
def test_whoever_is_not_signed_in_is_led_to_the_form(anyone: TestClient, path: str) -> None:
    answer = anyone.get(path, headers=HTML, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next={path}"
    assert 'name="token"' in anyone.get(path, headers=HTML).text


def test_a_script_that_is_not_signed_in_gets_a_problem(anyone: TestClient) -> None:
    answer = anyone.get("/runs/tiny-00000001/points", headers={"accept": "application/json"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/none-00000000", 404),
        ("/api/v1/runs/none-00000000", 404),
        ("/nothing", 404),
        ("/runs?cursor=x", 422),
    ],
)
def test_an_error_is_a_page_for_who_asks_for_one(person: TestClient, path: str, status: int) -> None:
    shown, told = person.get(path), person.get(path, headers={"accept": "application/json"})
    assert shown.status_code == told.status_code == status
    assert "<h1>" in shown.text
    assert told.headers["content-type"] == "application/problem+json"


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_can_not_use(
    anyone: TestClient, run_token: str
) -> None:
    answer = sign_in(anyone, run_token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert run_token not in cookie


def test_a_wrong_token_is_told_in_the_form(anyone: TestClient) -> None:
    answer = sign_in(anyone, "nas_no")
    assert answer.status_code == 401
    assert "The token is wrong, revoked, expired or of an older version" in answer.text
    assert "nas_no" not in answer.text


@pytest.mark.parametrize(
    "there", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "x", "/login", ""]
)
def test_signing_in_leads_nowhere_else(anyone: TestClient, run_token: str, there: str) -> None:
    answer = sign_in(anyone, run_token, there)
    assert answer.headers["location"] == "/"


def test_signing_out_ends_the_sign_in(person: TestClient) -> None:
    assert person.post("/logout").headers["location"] == "/login"
    assert person.get("/runs").headers["location"].startswith("/login")


def test_the_catalogue_shows_what_can_be_started_and_what_is_broken(person: TestClient) -> None:
    page = person.get("/studies").text
    assert "The tiny study." in page
    assert "no data on this machine" in page
    assert 'href="/studies/tiny"' in page
    assert 'href="/studies/broken"' not in page


def test_a_form_offers_only_what_the_study_declares_changeable(person: TestClient) -> None:
    page = person.get("/studies/strict").text
    assert 'name="seed"' in page
    assert 'name="evaluations"' not in page
    assert 'name="objectives"' not in page
    assert 'name="limit.' not in page


def test_a_study_is_started_with_what_was_changed_and_nothing_else(
    person: TestClient, service: State
) -> None:
    form = {
        "evaluations": "9",
        "seed": "0",
        "limit.macs": "5000",
        "device": "cpu",
    }
    answer = person.post("/studies/tiny/runs", data=form)
    assert answer.status_code == 303
    run = service.store.run(answer.headers["location"].removeprefix("/runs/"))
    assert run is not None
    assert run.changes == {"evaluations": 9, "objectives": ["accuracy"], "constraints": {"macs": 5000.0}}
    page = person.get(answer.headers["location"]).text
    assert "queued just now" in page
    assert "not yet" in person.get("/runs").text
    assert "Waiting for cpu: next in line." in page
    assert "No front yet" in page
    assert re.search(r'<select id="axis-x"[^>]*><option value="0" selected>accuracy</option></select>', page)


def test_a_form_offers_the_earlier_runs_that_a_new_one_may_learn_from(
    person: TestClient, service: State, finished_run: Run
) -> None:
    assert f'name="prior" value="{finished_run.id}"' in person.get("/studies/tiny").text
    assert 'name="prior"' not in person.get("/studies/strict").text
    answer = person.post("/studies/tiny/runs", data={"objectives": "num_params", "prior": finished_run.id})
    run = service.store.run(answer.headers["location"].removeprefix("/runs/"))
    assert run is not None
    assert run.changes == {"prior": [finished_run.id]}
    directory = service.supervisor.directory(run.id)
    assert f"--prior={directory.parent / finished_run.id}" in command_of(run, directory)
    assert f'learned from <span class="num">{finished_run.id}' in person.get(answer.headers["location"]).text


def test_a_run_that_is_not_offered_cant_be_learned_from(person: TestClient, finished_run: Run) -> None:
    first = person.post("/studies/tiny/runs", data={"prior": finished_run.id}).headers["location"]
    for run in ("../elsewhere", first.removeprefix("/runs/")):  # the second one's search hasn't begun
        answer = person.post("/studies/tiny/runs", data={"prior": run})
        assert answer.status_code == 422
        assert "There is no run" in answer.text


def test_an_earlier_run_is_neither_offered_nor_taken_where_the_strategy_would_ignore_it(
    person: TestClient, service: State, finished_run: Run
) -> None:
    earlier = "strict-00000002"
    (service.settings.runs / earlier).symlink_to(service.settings.runs / FINISHED)
    service.store.add_run(Run(earlier, "strict", {}, 6, "cpu", "nobody", "finished", 1.0))
    assert 'name="prior"' not in person.get("/studies/strict").text
    answer = person.post("/studies/strict/runs", data={"prior": earlier})
    assert answer.status_code == 422
    assert "has a strategy that learns nothing from earlier runs: leave prior out" in answer.text
    assert len(service.store.runs(before=None, limit=5)) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"evaluations": "many"}, "Evaluations is &#39;many&#39;: a whole number in digits is expected."),
        ({"evaluations": "0"}, "Evaluations is not valid"),
        ({"objectives": "beauty"}, "has no objective"),
        ({"device": "moon"}, "There is no device"),
        ({"limit.macs": "1e999"}, "MACs is &#39;1e999&#39;: a number that is not so large is expected."),
    ],
)
def test_what_can_not_be_is_said_and_what_was_typed_is_kept(
    person: TestClient, service: State, fields: dict[str, str], said: str
) -> None:
    form = {"objectives": "num_params", "seed": "77", **fields}
    answer = person.post("/studies/tiny/runs", data=form)
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="77"' in answer.text
    assert service.store.runs(before=None, limit=1) == []


def test_nothing_is_started_or_stopped_by_a_form_of_another_site(
    person: TestClient, service: State, finished_run: Run
) -> None:
    for path in ("/studies/tiny/runs", f"/runs/{FINISHED}/cancel", "/logout"):
        for foreign in ({"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}):
            answer = person.post(path, headers=foreign)
            assert answer.status_code == 403
            assert "comes from another site" in answer.text
    assert len(service.store.runs(before=None, limit=5)) == 1


def test_who_may_only_read_gets_no_buttons_and_no_way(onlooker: TestClient, finished_run: Run) -> None:
    assert "/studies/tiny" not in onlooker.get("/studies").text
    answer = onlooker.post("/studies/tiny/runs")
    assert answer.status_code == 403
    assert "has the role read" in answer.text


def test_a_run_is_paused_and_resumed_from_its_page(person: TestClient, service: State) -> None:
    there = person.post("/studies/tiny/runs").headers["location"]
    assert f'action="{there}/pause"' in person.get(there).text
    assert person.post(f"{there}/pause").headers["location"] == there
    page = person.get(there).text
    assert f'action="{there}/resume"' in page
    assert person.post(f"{there}/resume").status_code == 303
    assert person.post(f"{there}/resume").status_code == 409


def test_a_run_that_is_one_too_many_for_its_token_is_not_resumed_from_its_page(
    person: TestClient, service: State
) -> None:
    there = person.post("/studies/tiny/runs").headers["location"]
    run = there.removeprefix("/runs/")
    service.store.change_run(run, state="failed")
    for _ in range(service.settings.max_unfinished):
        assert person.post("/studies/tiny/runs").status_code == 303
    assert person.post(f"{there}/resume").status_code == 429
    failed = service.store.run(run)
    assert failed is not None
    assert failed.state == "failed"


def test_the_reference_is_for_whoever_was_signed_in_too(person: TestClient) -> None:
    assert 'action="/logout"' in person.get("/docs").text
    kept = dict(person.cookies)
    person.post("/logout")
    person.cookies.update(kept)
    answer = person.get("/docs")
    assert answer.status_code == 200
    assert 'action="/logout"' not in answer.text


def test_the_list_of_runs_is_paged(person: TestClient, service: State) -> None:
    for number in range(23):
        service.store.add_run(Run(f"tiny-{number:08x}", "tiny", {}, 6, "cpu", "nobody", "cancelled", 1.0))
    first = person.get("/runs").text
    assert first.count('<th scope="row">') == 20
    older = re.search(r'href="(/runs\?cursor=\d+)"', first)
    assert older is not None
    assert person.get(older[1]).text.count('<th scope="row">') == 3


def test_a_finished_run_shows_its_front_winners_and_log(
    person: TestClient, service: State, finished_run: Run
) -> None:
    page = person.get(f"/runs/{FINISHED}").text
    snapshot = service.runs.view(finished_run).snapshot()
    for row in snapshot.front_rows:
        assert row.architecture in page
    for winner in snapshot.winners:
        assert f"/runs/{FINISHED}/winners/{winner.id}" in page
    assert "last line" in page
    parts = person.get(f"/runs/{FINISHED}/parts").text
    assert set(re.findall(r'id="(part-\w+)"', parts)) == set(re.findall(r'id="(part-\w+)"', page))


def test_the_original_network_stands_beside_the_winners(
    person: TestClient, service: State, finished_run: Run
) -> None:
    report = service.supervisor.directory(FINISHED) / "report.json"
    results = Results.read(report)
    variants = tuple(dataclasses.replace(v, on_front=False) for v in results.winners[0].variants)
    original = Original(AS_GIVEN, "original", 1234, 56, variants)
    dataclasses.replace(results, original=(original,)).save(report)
    page = person.get(f"/runs/{FINISHED}").text
    assert "original network, as given" in page
    assert "dominated by a winner" in page
    answer = person.get(f"/api/v1/runs/{FINISHED}/winners").json()["original"]
    assert [(o["state"], o["macs"], len(o["variants"])) for o in answer] == [(AS_GIVEN, 1234, len(variants))]


def test_the_scripts_of_a_run_get_columns_and_answers(
    person: TestClient, service: State, finished_run: Run
) -> None:
    snapshot = service.runs.view(finished_run).snapshot()
    points = person.get(f"/runs/{FINISHED}/points").json()
    assert points["number"] == [row.number for row in snapshot.rows]
    assert len(points["genes"][0]) == len(points["choices"])
    assert person.get(f"/runs/{FINISHED}/points?after={len(snapshot.rows)}").json()["total"] == len(
        snapshot.rows
    )
    asked = {"goal": "accuracy", "x": "num_params", "y": "accuracy"}
    free = person.get(f"/runs/{FINISHED}/explore", params=asked).json()
    best = max(snapshot.rows, key=lambda row: row.values["accuracy"].value)
    assert free["within"] == free["of"] == len(snapshot.rows)
    found = next(row for row in snapshot.rows if row.number == free["best"])
    assert found.values["accuracy"] == best.values["accuracy"]
    none = person.get(f"/runs/{FINISHED}/explore", params={**asked, "limit": "num_params:1"}).json()
    assert (none["best"], none["within"]) == (None, 0)
    assert none["steps"][0]["text"].endswith("parameters lets one in")


@pytest.mark.parametrize(
    "changed", [{"goal": "beauty"}, {"x": "beauty"}, {"limit": "macs"}, {"limit": "accuracy:nan"}]
)
def test_a_question_that_makes_no_sense_is_refused(
    person: TestClient, finished_run: Run, changed: dict[str, str]
) -> None:
    asked = {"goal": "accuracy", "x": "num_params", "y": "accuracy", **changed}
    answer = person.get(f"/runs/{FINISHED}/explore", params=asked, headers={"accept": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_two_architectures_stand_side_by_side(person: TestClient, service: State, finished_run: Run) -> None:
    first, second = service.runs.view(finished_run).snapshot().rows[:2]
    page = person.get(f"/runs/{FINISHED}/compare?a={first.number}&b={second.number}").text
    assert first.architecture in page
    assert second.architecture in page
    differing = sum(first.choices[name] != second.choices[name] for name in first.choices)
    assert page.count('class="differs"') >= differing > 0
    assert person.get(f"/runs/{FINISHED}/compare?a=99999&b=1").status_code == 404
    assert "Pick two" in person.get(f"/runs/{FINISHED}/compare").text


def test_two_fronts_are_compared(person: TestClient, service: State, finished_run: Run) -> None:
    other = "tiny-00000002"
    (service.settings.runs / other).symlink_to(service.settings.runs / FINISHED)
    service.store.add_run(
        Run(other, "tiny", {}, 6, "cpu", "nobody", "finished", 1.0, started=2.0, finished=3.0)
    )
    page = person.get(f"/compare?a={FINISHED}&b={other}").text
    assert "Both fronts are worth the same" in page
    assert page.count("100 %") == 2
    assert "choose two" in person.get(f"/compare?a={FINISHED}&b={FINISHED}").text
    assert person.get("/compare?a=../../etc&b=x").status_code == 404


def test_a_model_card_is_a_page_with_its_picture(
    person: TestClient, service: State, finished_run: Run
) -> None:
    winner = winner_of(service, finished_run)
    page = person.get(f"/runs/{FINISHED}/winners/{winner}").text
    assert "<h2>Intended use</h2>" in page
    address = f"/api/v1/runs/{FINISHED}/winners/{winner}/files/front.png"
    assert f'src="{address}"' in page
    picture = person.get(address)
    assert picture.headers["content-type"] == "image/png"
    assert person.get(f"/runs/{FINISHED}/winners/..%2f..%2fx").status_code == 404


def test_a_page_that_is_not_there_says_so_as_a_page(person: TestClient) -> None:
    answer = person.get("/runs/tiny-ffffffff")
    assert answer.status_code == 404
    assert "Unknown run" in answer.text


def test_no_page_needs_what_the_policy_forbids(person: TestClient, service: State, finished_run: Run) -> None:
    paths = [
        "/login",
        "/studies",
        "/studies/tiny",
        "/runs",
        f"/runs/{FINISHED}",
        "/compare",
        "/runs/tiny-ffffffff",
    ]
    paths += [f"/runs/{FINISHED}/winners/{winner_of(service, finished_run)}"]
    for path in paths:
        answer = person.get(path)
        assert "script-src 'self';" in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]* src=)", answer.text), path
        assert not re.search(r"\s(style|on[a-z]+)\s*=", re.sub(r">[^<]*<", "><", answer.text)), path


def test_the_theme_is_the_servers_to_apply_and_can_not_be_anything(person: TestClient) -> None:
    person.cookies.set("theme", "dark")
    assert '<html lang="en" data-theme="dark">' in person.get("/studies").text
    person.cookies.set("theme", 'x"onload=1')
    assert "onload" not in person.get("/studies").text


def test_static_files_are_kept_by_browsers_until_they_change(anyone: TestClient) -> None:
    path = address(PLOTLY)
    answer = anyone.get(path)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert "plotly.js v" in answer.text[:200]
    plain = anyone.get(path, headers={"accept-encoding": "identity"})
    assert plain.content == answer.content
    loose = anyone.get("/static/run.js")
    assert loose.headers["cache-control"] == "no-cache"
    again = anyone.get("/static/run.js", headers={"if-none-match": loose.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["..%2fpages.py", "nothing.js", "%2e%2e/app.py", "page.css%00"])
def test_no_other_file_is_static(anyone: TestClient, name: str) -> None:
    assert anyone.get(f"/static/{name}").status_code == 404


def test_the_style_elements_that_plotly_would_add_are_known() -> None:
    assert plotly_styles()


def test_what_a_finished_run_lacks_is_said_in_the_past(
    person: TestClient, service: State, finished_run: Run
) -> None:
    (service.settings.runs / FINISHED / "log.txt").unlink()
    page = person.get(f"/runs/{FINISHED}").text
    assert "This run left no log." in page
    assert "There were fewer than ten evaluations." in page
    service.store.change_run(FINISHED, state="paused")
    page = person.get(f"/runs/{FINISHED}").text
    assert "Nothing is logged yet." in page
    assert "From the tenth evaluation on." in page
