from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from runtimes import SHAPE, has_mnn, perceptron, quantized, ran

from nas.devices import Mnn
from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx


@has_mnn
def test_int8_that_mnn_cant_run_is_told_in_a_sentence() -> None:
    with pytest.raises(
        ExportError, match=r"^MNN can't run operator DequantizeLinear of the layer .* measure on another"
    ):
        ran(Mnn(), quantized(perceptron()))


@has_mnn
def test_mnn_prints_nothing_where_a_command_answers(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(export_onnx(perceptron().eval(), SHAPE))
    code = (
        "import pathlib; from nas.devices import Mnn\n"
        "with Mnn().open([pathlib.Path('model.onnx').read_bytes()], 1) as session: session.time([0], 1)\n"
        "print('done')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"
