"""A process that is killed in the middle of an evaluation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from fakes import digests, run_in
from optuna.trial import TrialState

from nas.catalog import find_study

STUDY = Path(__file__).parents[2] / "support" / "killed_study.py"


def trials(path: Path) -> list[tuple[int, TrialState, dict, list[float] | None]]:
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{path / 'study.db'}")
    return [(t.number, t.state, t.params, t.values) for t in study.trials]


def test_after_kill_9_no_trial_is_lost_or_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    environment = {**os.environ, "NAS_TEST_KILL": str(tmp_path / "marker"), "PYTHONPATH": str(STUDY.parent)}
    command = [sys.executable, "-m", "nas", "run", str(STUDY), "--out", str(killed)]
    process = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    before = trials(killed)
    assert [state for _, state, _, _ in before] == [TrialState.COMPLETE] * 4 + [TrialState.RUNNING]
    assert not list((killed / "supernet").glob("checkpoint*"))

    monkeypatch.delenv("NAS_TEST_KILL", raising=False)
    study = find_study(str(STUDY))
    run_in(study, killed)
    run_in(study, whole)
    after = trials(killed)
    assert after[:4] == before[:4]
    assert after == trials(whole)
    assert [state for _, state, _, _ in after] == [TrialState.COMPLETE] * 6
    assert digests(killed, "*.safetensors", "*.onnx") == digests(whole, "*.safetensors", "*.onnx")
