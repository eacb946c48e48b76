"""What a compression pass may and may not do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from nas.errors import ExportError
from nas.evaluation.onnx_export import export_onnx
from nas.protocols import Split
from nas.runner.compressing import compress

IMAGES = Split(torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))


def model(size: int = 2, classes: int = 3) -> bytes:
    return export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes)), (1, size, size))


def with_renamed_input(source: Path, target: Path) -> None:
    renamed = onnx.load(source)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "x"
    onnx.save(renamed, target)


def ending(_source: Path, _target: Path) -> None:
    raise SystemExit


@dataclass(frozen=True)
class Pass:
    made: Callable[[Path, Path], object]
    name: str = "own"

    def apply(self, source: Path, target: Path, calibration: Split) -> None:
        self.made(source, target)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(model())
    return tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda _source, _target: None, "wrote no file"),
        (lambda _source, target: target.mkdir(), "wrote no file"),
        (lambda _source, target: target.symlink_to("/nowhere"), "wrote no file"),
        (lambda _source, target: target.write_bytes(b""), "can't run"),
        (lambda _source, target: target.write_bytes(b"rubbish"), "can't run"),
        (with_renamed_input, "with the inputs .*'x'.*'images'.* are expected"),
        (lambda _source, target: target.write_bytes(model(size=3)), "can't be run"),
        (lambda _source, target: target.write_bytes(model(classes=5)), r"outputs of shape \(2, 5\)"),
        (ending, r"failed on .* \(SystemExit\)"),
        (lambda source, _target: source.unlink() or source.read_bytes(), "FileNotFoundError"),
    ],
)
def test_a_variant_that_can_not_serve_is_a_sentence_and_no_file(
    source: Path, made: Callable[[Path, Path], object], message: str
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        compress(Pass(made), source, source.with_name("model.own.onnx"), IMAGES)
    assert "\n" not in str(caught.value)
    assert [path.name for path in source.parent.iterdir()] == ["model.onnx"]


def test_a_pass_that_takes_the_original_apart_leaves_the_winners(source: Path) -> None:
    target, before = source.with_name("model.own.onnx"), source.read_bytes()
    compress(Pass(lambda copied, made: shutil.move(copied, made)), source, target, IMAGES)
    assert source.read_bytes() == target.read_bytes() == before
