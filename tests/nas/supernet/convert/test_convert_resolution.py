from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from nas.errors import ConversionError
from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_params
from nas.evaluation.onnx_export import export_onnx
from nas.supernet import Supernet
from nas.supernet.resized import Resized

IMAGES = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def residual() -> nn.Module:
    network = models.resnet18()
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5)]
    return nn.Sequential(network.conv1, network.bn1, network.relu, network.layer1, *tail).eval()


class Named(nn.Module):
    """Takes its images by name, beside other arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

    def forward(self, scale: Tensor, pixel_values: Tensor) -> Tensor:
        return self.last(self.first(pixel_values * scale).relu().mean((2, 3)))


def test_smaller_images_are_a_choice_and_extracted_exactly() -> None:
    model = residual()
    supernet = Supernet.from_module(model, IMAGES, resolutions=(16, 20), kernels=(3,))
    assert supernet.space["resolution"].options == (16, 20, 24)
    assert supernet.report[""].choices == ("resolution",)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        torch.testing.assert_close(supernet(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)
        assert type(supernet.extract(supernet.space.largest())) is nn.Sequential
        for architecture in [supernet.space.smallest(), *(supernet.space.sample(rng) for _ in range(8))]:
            plain = supernet.extract(architecture)
            with supernet.active(architecture):
                torch.testing.assert_close(supernet(IMAGES), plain(IMAGES), rtol=0, atol=0)


def test_what_is_extracted_holds_a_network_for_images_of_that_size() -> None:
    supernet = Supernet.from_module(residual(), IMAGES, resolutions=(16,))
    plain = supernet.extract({**supernet.space.largest(), "resolution": 16})
    assert isinstance(plain, Resized)
    smaller = F.interpolate(IMAGES, (16, 16), mode="bilinear", antialias=True)
    assert torch.equal(plain(IMAGES), plain.module(smaller))


def test_costs_of_resolutions_are_tabulated_exactly() -> None:
    supernet = Supernet.from_module(residual(), IMAGES, resolutions=(16, 20), kernels=(3,)).eval()
    counter = NetworkCounter(supernet, (3, 24, 24))
    assert counter.tables is not None
    rows = supernet.space.sample_indices(12, np.random.default_rng(0))
    counts = counter.counts(rows)
    for row, architecture in enumerate(supernet.space.from_indices(rows)):
        plain = supernet.extract(architecture)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            plain(IMAGES[:1])
        assert counts.macs[row] == flops.get_total_flops() // 2
        assert counts.num_params[row] == count_params(plain)


def test_smaller_images_are_exported_quickly(caplog: pytest.LogCaptureFixture) -> None:
    supernet = Supernet.from_module(residual(), IMAGES, resolutions=(16,))
    plain = supernet.extract(supernet.space.smallest()).eval()
    caplog.clear()  # of what the conversion said
    session = onnxruntime.InferenceSession(
        export_onnx(plain, (3, 24, 24)), providers=["CPUExecutionProvider"]
    )
    assert not caplog.records
    (found,) = session.run(None, {"images": IMAGES.numpy()})
    np.testing.assert_allclose(found, plain(IMAGES).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_smaller_images_can_be_quantized(tmp_path: Path) -> None:
    supernet = Supernet.from_module(residual(), IMAGES, resolutions=(16,))
    plain = supernet.extract(supernet.space.smallest())
    (tmp_path / "model.onnx").write_bytes(export_onnx(plain, (3, 24, 24)))
    quant_pre_process(tmp_path / "model.onnx", tmp_path / "prepared.onnx")
    assert (tmp_path / "prepared.onnx").exists()


def test_images_may_have_a_name() -> None:
    example = {"scale": torch.tensor(2.0), "pixel_values": IMAGES}
    supernet = Supernet.from_module(Named(), example, resolutions=(16,))
    plain = supernet.extract(supernet.space.smallest())
    with supernet.active(supernet.space.smallest()):
        assert torch.equal(supernet(**example), plain(**example))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 5, 3)), "changes the shape"),
        (
            nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 22 * 22, 5)),
            "resolution fixed: a smaller one doesn't run",
        ),
    ],
)
def test_a_network_of_one_resolution_keeps_it_and_says_why(model: nn.Module, said: str) -> None:
    supernet = Supernet.from_module(model, IMAGES, resolutions=(16,))
    assert "resolution" not in supernet.space.largest()
    assert said in str(supernet.report[""])


@pytest.mark.parametrize(
    ("example", "resolutions", "said"),
    [
        (IMAGES, (0,), "resolutions is \\(0,\\)"),
        (IMAGES, (16, 32), "the example's images have a side of 24"),
        (IMAGES, (24,), "give smaller ones"),
        (IMAGES[..., :16], (16,), "images of the sizes \\[\\(24, 16\\)\\]"),
        ((IMAGES, IMAGES[..., :8, :8]), (4,), "of one size"),
    ],
)
def test_resolutions_that_can_not_be_are_refused(example: object, resolutions: object, said: str) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

        def forward(self, images: Tensor, others: Tensor | None = None) -> Tensor:
            return self.last(self.first(images if others is None else others).relu().mean((2, 3)))

    with pytest.raises(ConversionError, match=said):
        Supernet.from_module(Both(), example, resolutions=resolutions)  # type: ignore[arg-type]
