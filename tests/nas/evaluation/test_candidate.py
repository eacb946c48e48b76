from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.devices.local import raise_memory_error
from nas.errors import ExportError, NasError, OutOfMemoryError
from nas.evaluation import OnnxCandidate, SubnetCandidate
from nas.inputs import InputSpec


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("count", [1, 256, 600])
def test_a_subnet_and_its_exported_file_agree(tmp_path: Path, count: int) -> None:
    subnet = SubnetCandidate(network(), (2, 4, 4))
    images = torch.randn(count, 2, 4, 4)
    by_torch = subnet.predict(images)
    (tmp_path / "model.onnx").write_bytes(subnet.onnx_model)
    exported = OnnxCandidate(tmp_path / "model.onnx")
    assert exported.inputs == subnet.inputs == InputSpec.of_one((2, 4, 4))
    assert by_torch.shape == (count, 3)
    assert torch.allclose(by_torch, exported.predict(images), atol=1e-5)


@pytest.mark.parametrize("exported_before", [False, True])
@pytest.mark.parametrize("runs_exported", [False, True])
def test_one_engine_answers_whatever_ran_before(runs_exported: bool, exported_before: bool) -> None:
    module, calls = network(), []
    images = torch.randn(8, 2, 4, 4)
    by_torch = SubnetCandidate(module, (2, 4, 4)).predict(images)
    subnet = SubnetCandidate(module, (2, 4, 4), runs_exported=runs_exported)
    if exported_before:
        assert subnet.onnx_model
    assert torch.allclose(subnet.predict(images), by_torch, atol=1e-5)
    module.register_forward_hook(lambda *_: calls.append(1))
    assert torch.allclose(subnet.predict(images), by_torch, atol=1e-5)
    assert bool(calls) != runs_exported


def test_an_export_that_fails_does_not_change_the_engine() -> None:
    class Unexportable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, images: Tensor) -> Tensor:
            scale = 1.0 if bool(images.sum() > 0) else 2.0  # neither exporter follows a value
            return scale * self.inner(images)  # type: ignore[no-any-return]

    for _ in range(2):
        with pytest.raises(ExportError):
            SubnetCandidate(Unexportable(), (2, 4, 4), runs_exported=True).predict(torch.randn(2, 2, 4, 4))


def test_a_module_is_judged_in_evaluation_mode() -> None:
    subnet = SubnetCandidate(network().train(), (2, 4, 4))
    images = torch.randn(8, 2, 4, 4)
    assert torch.equal(subnet.predict(images), subnet.predict(images))
    assert torch.allclose(subnet.predict(images)[:1], subnet.predict(images[:1]), atol=1e-6)


def test_a_file_that_is_no_onnx_model_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError) as caught:
        OnnxCandidate(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value).strip()


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NasError):
        OnnxCandidate(tmp_path / "missing.onnx")


class Small(nn.Module):
    """A network on a device that holds so many images."""

    def __init__(self, fit: int) -> None:
        super().__init__()
        self.inner, self.fit = network(), fit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        logits: Tensor = self.inner(images)
        return logits


def test_fewer_images_are_judged_at_a_time_where_memory_runs_out() -> None:
    images = torch.randn(300, 2, 4, 4)
    expected = SubnetCandidate(network(), (2, 4, 4)).predict(images)
    assert torch.allclose(SubnetCandidate(Small(60), (2, 4, 4)).predict(images), expected, atol=1e-6)
    with pytest.raises(OutOfMemoryError, match="single image"):
        SubnetCandidate(Small(0), (2, 4, 4)).predict(images)


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (
            "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 1099511627776",
            MemoryError,
        ),
        ("std::bad_alloc", MemoryError),
        ("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : no kernel for GridSample", ValueError),
    ],
)
def test_memory_that_runs_out_in_onnx_runtime_has_a_kind_of_its_own(says: str, kind: type[Exception]) -> None:
    with pytest.raises(kind), raise_memory_error():
        raise ValueError(says)  # stands for onnxruntime's own kinds, which share no public base
