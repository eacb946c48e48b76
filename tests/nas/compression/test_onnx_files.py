from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nas.compression.onnx_files import (
    Packed,
    RoundingPass,
    check_bits,
    onnx_of,
    pack_nibbles,
    pack_weights,
    with_file,
)
from nas.compression.pipeline import Model
from nas.errors import ExportError, SpaceError, StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import as_spec

SPEC = as_spec((4,))


def test_a_file_is_taken_as_it_is_and_exported_where_there_is_none() -> None:
    assert onnx_of(Model(SPEC, None, b"file")) == b"file"
    assert onnx_of(Model(SPEC, nn.Linear(4, 2).eval())).startswith(b"\x08")
    with pytest.raises(ExportError, match="neither a module nor an ONNX file"):
        onnx_of(Model(SPEC))


def test_what_was_done_is_told_in_order_and_no_module_is_left() -> None:
    made = with_file(Model(SPEC, nn.Linear(4, 2), None, ("first",)), b"file", "second")
    assert made == Model(SPEC, None, b"file", ("first", "second"))


@pytest.mark.parametrize("bits", [4, 32, (4, 32), (4, 8, 32)])
def test_bits_that_a_pass_knows(bits: Any) -> None:
    check_bits("Pass", bits, (4, 8, 32))


@pytest.mark.parametrize(
    "bits", [3, (), (4, 8), (32, 4), (4, 4, 32), True, (True, 32), "4", None, 4.5, (4, "32")]
)
def test_other_bits_are_a_sentence(bits: Any) -> None:
    with pytest.raises(StudyError, match="Pass has bits="):
        check_bits("Pass", bits, (4, 8, 32))


@dataclass(frozen=True)
class Rounding(RoundingPass):
    bits: int | tuple[int, ...]
    name: str = "pass"


def test_options_of_others_are_a_sentence() -> None:
    assert Rounding(8).choose_bits({}) == 8
    assert Rounding((8, 32)).choose_bits({"pass.bits": 32}) == 32
    assert Rounding(8).choices().choices == ()
    for bits, options in (
        (8, {"pass.bits": 8}),
        ((8, 32), {}),
        ((8, 32), {"pass.bits": 4}),
        (8, {"other": 1}),
    ):
        with pytest.raises(SpaceError):
            Rounding(bits).choose_bits(options)


def test_two_numbers_share_a_byte_as_onnx_has_them() -> None:
    numbers = np.array([1, 15, 7], np.uint8)
    tensor = helper.make_tensor("t", TensorProto.UINT4, [3], pack_nibbles(numbers), raw=True)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(int), numbers)


def test_weights_are_packed_in_place_and_others_stay() -> None:
    model = onnx.load_model_from_string(
        export_onnx(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval(), SPEC)
    )

    def pack(name: str, values: np.ndarray) -> Packed | None:
        if values.shape != (4, 4):
            return None
        node = helper.make_node("Identity", [f"{name}.stored"], [name])
        return Packed([numpy_helper.from_array(values, f"{name}.stored")], [node])

    assert pack_weights(model.graph, pack) == 1
    onnx.checker.check_model(model)
    assert model.graph.node[0].op_type == "Identity"
    assert sum(tensor.name.endswith(".stored") for tensor in model.graph.initializer) == 1
