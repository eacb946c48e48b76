from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.choices import Choice
from nas.compression import selective
from nas.compression.onnx_int8 import Quantizer
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.compression.selective import SelectiveInt8, float_units
from nas.errors import StudyError
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.stored import count_stored_bytes
from nas.inputs import as_spec
from nas.splits import Split
from nas.tasks import Classification
from nas.testing import check_compression_pass
from nas.training import Recipe

SHAPE = (1, 8, 8)
IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 32), nn.Linear(32, 4)
    ).eval()


def model() -> Model:
    module = network()
    return Model(as_spec(SHAPE), module, export_onnx(module, SHAPE))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    with torch.no_grad():
        split = Split(IMAGES, network()(IMAGES).argmax(1))
    return Lab(split, Classification(4), Recipe(epochs=1), torch.device("cpu"), 0, tmp_path)


def timed(monkeypatch: pytest.MonkeyPatch, seconds: Any) -> None:
    """Let the clock say how long a file takes, given how many of its operators are in int8."""

    def times(_meter: object, contents: list[bytes], *, thorough: bool) -> list[float]:
        return [seconds(content.count(b"DequantizeLinear")) for content in contents]

    monkeypatch.setattr(selective._FileMeter, "times", times)


def test_it_is_a_pass_on_the_file_that_trains_nothing() -> None:
    assert isinstance(SelectiveInt8(), CompressionPass)
    assert (SelectiveInt8().works_on, SelectiveInt8().trains) == ("file", False)


def test_the_contract_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, lambda quantized: 1 / (1 + quantized))  # measured times are never the same twice
    check_compression_pass(SelectiveInt8(bits=(8, 32)), tmp_path)


def test_several_bits_are_a_choice_and_one_is_none() -> None:
    assert SelectiveInt8(bits=(8, 32)).choices().choices == (Choice("int8-selective.bits", (8, 32)),)
    assert SelectiveInt8().choices().choices == ()


def test_32_bits_change_nothing(lab: Lab) -> None:
    given = model()
    assert SelectiveInt8(bits=(8, 32)).apply(given, {"int8-selective.bits": 32}, lab) is given


def test_where_int8_is_fast_everything_is_int8(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, lambda quantized: 1 / (1 + quantized))
    given = model()
    made = SelectiveInt8(loss_share=1.0).apply(given, {}, lab)
    assert made.onnx is not None
    assert given.onnx is not None
    assert count_stored_bytes(made.onnx) < 0.35 * count_stored_bytes(given.onnx)
    assert made.module is None
    assert made.applied == ("int8-selective, in float: none",)


def test_where_int8_is_slow_the_model_stays_as_it_is_and_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, lambda quantized: 1 + quantized)
    given = model()
    made = SelectiveInt8().apply(given, {}, lab)
    assert (made.onnx, made.module) == (given.onnx, given.module)
    assert "left it as it is" in made.applied[-1]


def test_an_operator_that_loses_too_much_stays_float(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, lambda quantized: 1.0)
    given = model()
    last = float_units(Quantizer(given.onnx or b"", [IMAGES]).prepared)
    sensitive = next(name for name in last if "4" in name)

    def loss(file: selective._File) -> float:
        return 2.0 if file.units is not None and sensitive not in file.units else 1.0

    monkeypatch.setattr(selective._File, "loss", property(loss))
    assert SelectiveInt8().apply(given, {}, lab).applied == (f"int8-selective, in float: {sensitive}",)


def test_units_are_operators_with_their_activation_and_all_others_by_type() -> None:
    units = float_units(Quantizer(model().onnx or b"", [IMAGES]).prepared)
    assert list(units)[:3] == ["/0/Conv", "/3/Gemm", "/4/Gemm"]
    assert all(name.startswith("all ") for name in list(units)[3:])
    assert units["/0/Conv"] == ["/0/Conv", "/1/Relu"]


def test_of_many_operators_neighbours_are_taken_together() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(40))).eval()
    units = float_units(Quantizer(export_onnx(module, SHAPE), [IMAGES]).prepared)
    assert len(units) <= 16
    assert sum(name.endswith("Gemm") for nodes in units.values() for name in nodes) == 40


def test_real_times_give_a_valid_file(lab: Lab) -> None:
    made = SelectiveInt8(loss_share=10.0).apply(model(), {}, lab)
    assert made.onnx is not None


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"bits": 4}, "bits=4"),
        ({"bits": ()}, "bits="),
        ({"num_images": 0}, "num_images"),
        ({"loss_share": -0.1}, "loss_share"),
        ({"loss_share": float("nan")}, "loss_share"),
        ({"reduce_range": 7}, "reduce_range=7: True, False, or None"),
    ],
)
def test_settings_out_of_range_are_a_sentence(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(StudyError, match=match):
        SelectiveInt8(**settings)
