from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.devices.onnx_runtime import open_session
from nas.errors import ExportError
from nas.evaluation import onnx_export
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec, as_spec
from nas.supernet import Supernet, recalibrate, resized
from search_spaces.convnet import convnet

SHAPE = (1, 8, 8)


def subnet(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    supernet = Supernet(convnet(classes=10, channels=1, resolution=8))
    module = supernet.extract(supernet.space.sample(np.random.default_rng(seed)))
    recalibrate(module, [torch.randn(32, *SHAPE)])
    return module.eval()


def run(model: bytes, images: Tensor) -> Tensor:
    return torch.from_numpy(open_session(model).run(None, {"images": images.numpy()})[0])


class Branching(nn.Module):
    """Its forward reads the values, which tracing would freeze."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.sum((1, 2, 3))[:, None]
        return total if total.mean() > 0 else -10 * total


@pytest.mark.parametrize("seed", range(3))
def test_the_exported_network_equals_torch_for_every_batch_size(seed: int) -> None:
    module = subnet(seed)
    model = export_onnx(module, SHAPE)
    for count in (1, 2, 7, 64):
        images = torch.randn(count, *SHAPE)
        with torch.no_grad():
            expected = module(images)
        assert torch.allclose(run(model, images), expected, atol=1e-4)


def test_both_exporters_give_the_same_network_and_the_second_steps_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = subnet(0)
    fast = export_onnx(module, SHAPE)
    assert not caplog.records

    def gone(_module: nn.Module, _spec: InputSpec) -> bytes:
        raise RuntimeError("this exporter is no more")

    monkeypatch.setattr(onnx_export, "_torchscript", gone)
    slow = export_onnx(module, SHAPE)
    assert "this exporter is no more" in caplog.text
    assert slow != fast
    for count in (1, 5):
        images = torch.randn(count, *SHAPE)
        assert torch.allclose(run(fast, images), run(slow, images), atol=1e-4)


def test_what_neither_exporter_can_do_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(reason: str, _module: nn.Module, _spec: InputSpec) -> bytes:
        raise ValueError(f"{reason}\nand a long explanation")

    monkeypatch.setattr(onnx_export, "_torchscript", partial(fails, "first"))
    monkeypatch.setattr(onnx_export, "_dynamo", partial(fails, "second"))
    with pytest.raises(
        ExportError, match="can't be exported to ONNX: first; the other exporter says 'second'"
    ) as caught:
        export_onnx(subnet(0), SHAPE)
    assert "\n" not in str(caught.value)


def test_a_forward_that_reads_values_is_not_frozen_silently() -> None:
    module = Branching()
    try:
        model = export_onnx(module, SHAPE)
    except ExportError:
        return  # refusing is as good
    for images in (torch.ones(3, *SHAPE), -torch.ones(3, *SHAPE)):
        assert torch.allclose(run(model, images), module(images), atol=1e-4)


def test_the_module_is_not_changed() -> None:
    module = subnet(1).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    export_onnx(module, SHAPE)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_same_module_gives_the_same_bytes() -> None:
    assert export_onnx(subnet(2), SHAPE) == export_onnx(subnet(2), SHAPE)


def test_the_model_is_valid_onnx_with_a_named_dynamic_batch() -> None:
    model = onnx.load_from_string(export_onnx(subnet(0), SHAPE))
    onnx.checker.check_model(model)
    for value, rest in ((model.graph.input[0], [1, 8, 8]), (model.graph.output[0], [10])):
        first, *others = value.type.tensor_type.shape.dim
        assert first.dim_param == "batch"
        assert [d.dim_value for d in others] == rest


@pytest.mark.parametrize("make", [lambda: nn.Hardswish(), lambda: nn.SiLU(), lambda: nn.GELU()])
def test_usual_activations_export(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), make(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(run(export_onnx(module, SHAPE), images), module(images), atol=1e-5)


@pytest.mark.parametrize(
    "pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((1, 1)), nn.AdaptiveMaxPool2d(1)]
)
def test_pooling_to_a_point_raises_no_doubt_about_the_export(
    pool: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(
        onnx_export, "_check_values_unread"
    )  # what a doubt is checked with; dearer than the export
    module = nn.Sequential(nn.Conv2d(1, 2, 3), pool, nn.Flatten()).eval()
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(
            run(onnx_export._torchscript(module, as_spec(SHAPE)), images), module(images), atol=1e-5
        )


class Attention(nn.Module):
    """Torch's attention over the columns of an image, fused by torch where it can be."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        encoded = self.encoder(images.squeeze(1))
        mixed: Tensor = self.attention(encoded, encoded, encoded)[0]
        return mixed.flatten(1)


class Resized(nn.Module):
    """Antialiased resizing to a size, or by a factor."""

    def __init__(self, mode: str, size: int | None = None, factor: float | None = None) -> None:
        super().__init__()
        self.mode, self.size, self.factor = mode, size, factor

    def forward(self, images: Tensor) -> Tensor:
        made = F.interpolate(images, self.size, self.factor, mode=self.mode, antialias=True)
        return made.flatten(1)


class ByBatch(nn.Module):
    """Its forward depends on how many images there are."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.shape[0] > 2 else -images.flatten(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten()),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.Flatten()),
        lambda: nn.Sequential(nn.Flatten(), nn.RMSNorm(64)),
        lambda: nn.Sequential(nn.RMSNorm((8, 8), eps=1e-3), nn.Flatten()),
        Attention,
        lambda: Resized("bilinear", 5),
        lambda: Resized("bicubic", 5),
        lambda: Resized("bilinear", factor=0.5),
        lambda: nn.Sequential(resized.Resized(nn.AdaptiveAvgPool2d(3), side=6, given=8), nn.Flatten()),
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten()),
        lambda: nn.Sequential(nn.AdaptiveMaxPool2d((3, 5)), nn.Flatten()),
        lambda: nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten()),
    ],
)
def test_what_people_build_with_takes_the_fast_exporter(
    make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    module = make().eval()
    model = export_onnx(module, SHAPE)
    assert not caplog.records
    for count in (1, 3, 8):
        images = torch.randn(count, *SHAPE)
        with torch.no_grad():
            assert torch.allclose(run(model, images), module(images), atol=1e-5)


def test_a_doubtful_trace_is_said_to_be_one_and_where(caplog: pytest.LogCaptureFixture) -> None:
    for module, words in ((Branching(), "reads the values"), (ByBatch(), "how many inputs")):
        caplog.clear()
        with contextlib.suppress(ExportError):
            export_onnx(module, SHAPE)
        assert words in caplog.text
        assert "test_onnx_export.py, line" in caplog.text


def test_what_onnx_runtime_computes_otherwise_is_refused() -> None:
    module = Resized("bilinear", 5)
    module.forward = lambda images: F.interpolate(  # type: ignore[method-assign]
        images, 5, mode="bilinear", antialias=True, align_corners=True
    ).flatten(1)
    with pytest.raises(ExportError, match="align_corners"):
        export_onnx(module, SHAPE)


def test_both_exporters_write_one_opset(monkeypatch: pytest.MonkeyPatch) -> None:
    module = subnet(0)
    fast = onnx.load_from_string(export_onnx(module, SHAPE))
    monkeypatch.setattr(onnx_export, "_torchscript", None)
    slow = onnx.load_from_string(export_onnx(module, SHAPE))
    assert fast.opset_import[0].version == slow.opset_import[0].version


class Decomposed(nn.Module):
    """An operator that ONNX doesn't have."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.svdvals(images.squeeze(1))


def test_an_operator_that_onnx_lacks_is_named_in_one_plain_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExportError, match="svd") as caught:
        export_onnx(Decomposed(), SHAPE)
    assert str(caught.value).isprintable()
    assert "graph(" not in "".join(capfd.readouterr())
