from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.errors import ExportError, NasError, OutOfMemoryError
from nas.evaluation import OnnxCandidate, SubnetCandidate


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
    assert exported.image_shape == subnet.image_shape == (2, 4, 4)
    assert by_torch.shape == (count, 3)
    assert torch.allclose(by_torch, exported.predict(images), atol=1e-5)


def test_once_exported_a_subnet_is_run_by_the_runtime_that_will_deploy_it() -> None:
    module, calls = network(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    subnet = SubnetCandidate(module, (2, 4, 4))
    images = torch.randn(8, 2, 4, 4)
    by_torch = subnet.predict(images)
    assert calls
    assert subnet.onnx_model
    calls.clear()
    assert torch.allclose(subnet.predict(images), by_torch, atol=1e-5)
    assert not calls


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
