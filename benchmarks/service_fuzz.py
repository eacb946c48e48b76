"""Requests that nobody would think of, made by schemathesis from the OpenAPI description.

    python -m benchmarks.service_fuzz --examples 60

Every operation gets that many valid-looking and that many broken requests, once with a token and once without. Counted
are answers with a status that the description doesn't name or that says 5xx, and bodies that don't fit their schema.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from fastapi import FastAPI
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nas.service.app import create_app
from nas.service.settings import Settings
from nas.service.supervisor import Supervisor

_PATIENCE_S = 120
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


class _Standing:
    """A run's process that does nothing until it is told to stop."""

    def __init__(self, command: list[str], directory: Path, storage: str | None) -> None:
        self._alive = True

    def is_alive(self) -> bool:
        """Whether nobody stopped it."""
        return self._alive

    def exit_code(self) -> int:
        """Return that of a run that was stopped."""
        return 143

    def stop(self) -> None:
        """End."""
        self._alive = False

    kill = stop

    def last_words(self) -> str:
        """Return nothing."""
        return ""


def fuzz(app: FastAPI, headers: Mapping[str, str], examples: int, names: Mapping[str, str]) -> dict[str, Any]:
    """Send requests to every operation and return what was found.

    Args:
        app: The application.
        headers: Headers of every request.
        examples: Per operation and way of making them.
        names: Names of a run and a study that exist; half of the requests use them, so that they get somewhere.
    """
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    found = _Found()
    for result in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            for known in ({}, names):
                cases = result.ok().as_strategy(generation_mode=mode)
                found.send(cases, headers, known, max(1, examples // 2))
    return {
        "cases": sum(found.statuses.values()),
        "statuses": dict(sorted(found.statuses.items())),
        "failures": found.failures,
    }


class _Found:
    """What the answers were."""

    def __init__(self) -> None:
        self.statuses: collections.Counter[int] = collections.Counter()
        self.failures: list[str] = []

    def send(self, cases: Any, headers: Mapping[str, str], names: Mapping[str, str], examples: int) -> None:
        """Send some of the cases."""

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=cases)
        def send_one(case: Any) -> None:
            self._send_one(case, headers, names)

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # no parameters, so none can be broken
            send_one()

    def _send_one(self, case: Any, headers: Mapping[str, str], names: Mapping[str, str]) -> None:
        if case.path_parameters:
            case.path_parameters = {k: names.get(k, v) for k, v in case.path_parameters.items()}
        if isinstance(case.body, dict) and isinstance(case.body.get("study"), str):
            case.body = {**case.body, "study": names.get("study", case.body["study"])}
        answer = case.call(headers=dict(headers), timeout=_PATIENCE_S)
        self.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except Exception as failure:
            self.failures.append(f"{case.method} {case.path}: {failure}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=60)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    settings = {"folder": folder, "login_attempts": 10**6, "keep_alive_s": 0.05, "max_unfinished": 10**6}
    app = create_app(Settings(**settings))
    service = app.state.service
    service.supervisor = Supervisor(service.store, service.settings, start=_Standing, find=lambda _: None)
    service.studies.all()
    tokens = service.tokens
    told = []
    try:
        for who, headers in (
            ("with a token", {"Authorization": f"Bearer {tokens.create('fuzz', 'run')[1]}"}),
            ("without", {}),
        ):
            run = service.supervisor.submit("digits", {}, evaluations=1, device="cpu", token_id="x")
            service.store.change_run(run.id, state="finished")
            found = fuzz(app, headers, arguments.examples, {"run": run.id, "study": "digits"})
            told.append(found)
            print(
                f"{who}: {found['cases']} cases, statuses {found['statuses']}, {len(found['failures'])} failures"
            )
            for failure in found["failures"][:10]:
                print(f"  {failure}")
    finally:
        service.supervisor.end()
        service.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{sum(f['cases'] for f in told)} cases, {sum(len(f['failures']) for f in told)} failures")


if __name__ == "__main__":
    main()
