"""What a compression pass may and may not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import onnx
import pytest
import torch
from labs import lab_of
from torch import nn

from nas.choices import Option
from nas.compression import Lab, Model
from nas.compression.applying import apply_pass, export
from nas.errors import ExportError
from nas.inputs import InputSpec
from nas.space import SearchSpace
from nas.splits import Split

IMAGES = Split(torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))


def network(size: int = 2, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes)).eval()


def given(size: int = 2, classes: int = 3) -> Model:
    return Model(InputSpec.of_one((1, size, size)), network(size, classes))


def file_of(size: int = 2, classes: int = 3) -> bytes:
    onnx = export(given(size, classes)).onnx
    assert onnx is not None
    return onnx


def with_renamed_input(model: bytes) -> bytes:
    renamed = onnx.load_model_from_string(model)
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "x"
    return bytes(renamed.SerializeToString())


def ending(_model: Model) -> Model:
    raise SystemExit


def dividing(model: Model) -> Model:
    module = network()
    nn.init.constant_(module[1].bias, float("nan"))  # type: ignore[index]
    return replace(model, module=module)


@dataclass(frozen=True)
class Pass:
    made: Callable[[Model], object]
    works_on: Literal["module", "file"]
    name: str = "own"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        return self.made(model)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("works_on", "made", "message"),
    [
        ("file", lambda _model: None, "gave None: a nas.compression.Model is expected"),
        ("module", lambda _model: b"", "gave a value of type bytes"),
        ("file", lambda model: replace(model, onnx=None), "gave none: serialised ONNX"),
        ("module", lambda model: replace(model, module=None), "a module alone is expected"),
        ("module", lambda model: replace(model, onnx=file_of()), "a module alone is expected"),
        ("file", lambda model: replace(model, onnx=b""), "can't be opened"),
        ("file", lambda model: replace(model, onnx=b"rubbish"), "can't be opened"),
        (
            "file",
            lambda model: replace(model, onnx=with_renamed_input(model.onnx)),
            "with the inputs .*'x'.*'images'.* are expected",
        ),
        ("file", lambda model: replace(model, onnx=file_of(size=3)), "can't be run"),
        ("file", lambda model: replace(model, onnx=file_of(classes=5)), r"outputs of shape \(2, 5\)"),
        ("module", lambda model: replace(model, module=network(size=3)), "can't be run"),
        ("module", lambda model: replace(model, module=network(classes=5)), r"outputs of shape \(2, 5\)"),
        ("module", dividing, "NaN or infinite"),
        ("file", ending, r"failed \(SystemExit\)"),
        ("module", ending, r"failed \(SystemExit\)"),
    ],
)
def test_what_can_not_serve_is_a_sentence(
    works_on: Literal["module", "file"], made: Callable[[Model], object], message: str
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        apply_pass(Pass(made, works_on), given(), {}, lab_of(IMAGES))
    assert "\n" not in str(caught.value)
    assert "the pass 'own'" in str(caught.value)


def test_a_pass_that_changes_nothing_gives_the_model_itself() -> None:
    model = given()
    assert apply_pass(Pass(lambda one: one, "file"), model, {}, lab_of(IMAGES)) is model
