"""The contract of a compression pass."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.evaluation import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.protocols import (
    CompressionPass,
    Split,
)
from nas.testing.small_network import small_network


def check_compression_pass(
    compression: CompressionPass,
    folder: Path,
    *,
    image_shape: tuple[int, int, int] = (3, 16, 16),
    num_classes: int = 10,
) -> None:
    """Check a compression pass.

    It writes the target and nothing beside it, leaves the source as it is, and ONNX Runtime runs the
    result on any batch size with finite outputs of the same shape.

    Args:
        compression: To check.
        folder: An empty directory to write to.
        image_shape: Of the images.
        num_classes: Size of the output.

    Raises:
        AssertionError: a promise is broken.
        ExportError: ONNX Runtime refuses the result.
    """
    plain_name = compression.name and not set(compression.name) & set("/\\. ")
    assert plain_name, f"{compression.name!r} can't be a part of a file name"
    source, target = folder / "model.onnx", folder / f"model.{compression.name}.onnx"
    content = export_onnx(small_network(image_shape[0], 8, num_classes), image_shape)
    source.write_bytes(content)
    images = torch.randn(70, *image_shape, generator=torch.Generator().manual_seed(0))
    compression.apply(source, target, Split(images, torch.arange(70) % num_classes))
    assert target.is_file(), f"{compression.name} wrote no {target.name}"
    assert source.read_bytes() == content, f"{compression.name} changes its source"
    beside = {path.name for path in folder.iterdir()} - {source.name, target.name}
    assert not beside, f"{compression.name} leaves {sorted(beside)} behind"
    before, after = OnnxCandidate(source), OnnxCandidate(target)
    for count in (1, 5, 70):
        expected, got = before.predict(images[:count]), after.predict(images[:count])
        assert got.shape == expected.shape, f"the output has shape {tuple(got.shape)} for {count} images"
        assert bool(got.isfinite().all()), "an output is not finite"
