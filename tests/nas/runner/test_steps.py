from __future__ import annotations

from pathlib import Path

from nas.runner.steps import store_result, stored_result


def test_a_steps_result_holds_for_its_inputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    assert stored_result(path, ["a"]) is None
    store_result(path, ["a"], {"loss": 1.5})
    assert stored_result(path, ["a"]) == {"loss": 1.5}
    assert stored_result(path, ["b"]) is None
