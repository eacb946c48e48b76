from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import DamagedFileError
from nas.runner.steps import CachedStep, result_in


def test_a_steps_result_holds_for_its_inputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    step = CachedStep(path, ["a"])
    assert step.result(dict[str, float]) is None
    step.store({"loss": 1.5})
    assert step.result(dict[str, float]) == {"loss": 1.5}
    assert result_in(path, dict[str, float]) == {"loss": 1.5}
    assert CachedStep(path, ["b"]).result(dict[str, float]) is None


def test_a_result_of_another_kind_is_a_damaged_file(tmp_path: Path) -> None:
    step = CachedStep(tmp_path / "step.json", [])
    step.store({"loss": "low"})
    with pytest.raises(DamagedFileError, match=r"step\.json .*loss is 'low', a finite number is expected"):
        step.result(dict[str, float])


def test_a_step_knows_its_files(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"model")
    step = CachedStep(tmp_path / "step.json", ["a"], ("model",))
    assert step.faults() == {}
    step.store(None)
    assert step.faults() == {}
    model.write_bytes(b"nodel")
    assert step.faults() == {"model": "doesn't match its digest"}
    assert CachedStep(tmp_path / "step.json", ["b"], ("model",)).faults() == {}
    model.unlink()
    assert step.faults() == {"model": "is missing"}
    model.mkdir()
    assert step.faults() == {"model": "is no file"}
