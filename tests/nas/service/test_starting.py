from __future__ import annotations

from pathlib import Path

import pytest

from nas.service.problems import Problem
from nas.service.settings import Settings
from nas.service.starting import check_quota
from nas.service.store import Run, Store


@pytest.mark.parametrize(
    ("evaluations", "token", "what"),
    [(10, "ann", None), (11, "ann", "evaluations"), (100, "bob", None), (101, "bob", "evaluations")],
)
def test_evaluations_of_unfinished_runs_count_for_their_token_alone(
    store: Store, tmp_path: Path, evaluations: int, token: str, what: str | None
) -> None:
    settings = Settings(folder=tmp_path, max_evaluations=100)
    for number, state in enumerate(("queued", "running", "paused", "finished")):
        store.add_run(Run(f"tiny-{number:08x}", "tiny", {}, 30, "cpu", "ann", state, 1.0))  # type: ignore[arg-type]
    if what is None:
        check_quota(store, settings, token, evaluations)
        return
    with pytest.raises(Problem) as problem:
        check_quota(store, settings, token, evaluations)
    assert problem.value.more == {"limit": 100, "used": 90 if token == "ann" else 0, "what": what}


def test_a_token_has_so_many_unfinished_runs(store: Store, tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, max_unfinished=1)
    check_quota(store, settings, "ann", 1)
    store.add_run(Run("tiny-00000000", "tiny", {}, 1, "cpu", "ann", "paused", 1.0))
    with pytest.raises(Problem, match="may have 1"):
        check_quota(store, settings, "ann", 1)
