from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import optuna
from fakes import run_in, tiny_study
from run_folders import copy_run

from nas import (
    ProxySubset,
    Recipe,
)


def read_measurements(path: Path, name: str = "tiny") -> list[tuple[dict[str, Any], Any]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}")
    return [(trial.params, trial.user_attrs.get("measurements")) for trial in study.trials]


def test_a_proxy_is_chosen_stored_used_and_shown(tmp_path: Path) -> None:
    study = tiny_study(
        recipe=Recipe(epochs=12, batch_size=32, learning_rate=0.02),
        proxy=ProxySubset(sizes=(0.4, 0.8), architectures=8, draws=5, min_tau=0.4),
    )
    results = run_in(study, tmp_path / "run")
    assert results.proxy is not None
    chosen = results.proxy["chosen"]
    assert [size["items"] for size in results.proxy["sizes"]] == [24, 48]
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"evaluated on {chosen['items']} items" in report
    for _, measured in read_measurements(tmp_path / "run"):
        assert measured["accuracy"]["repeats"] == chosen["items"]
    assert all(winner.fine_tuned.repeats == 60 for winner in results.winners)
    before = (tmp_path / "run" / "proxy.json").read_bytes()
    (tmp_path / "run" / "proxy.json").unlink()
    copy_run(tmp_path / "run", tmp_path / "again")
    run_in(dataclasses.replace(study, evaluations=7), tmp_path / "again")
    assert (tmp_path / "again" / "proxy.json").read_bytes() == before
