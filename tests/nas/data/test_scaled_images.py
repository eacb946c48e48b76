"""Images of another size."""

from __future__ import annotations

import pytest
import torch

from nas.data import Digits, FewLabels
from nas.data.scaled_images import ScaledImages
from nas.errors import StudyError


def test_images_grow_and_nothing_else_changes() -> None:
    own, scaled = Digits().load(), ScaledImages(Digits(), 1.5).load()
    for name in ("train", "search", "test"):
        before, after = getattr(own, name), getattr(scaled, name)
        assert after.inputs.shape == (len(before), 1, 12, 12)
        assert torch.equal(after.targets, before.targets)
        assert float(after.inputs.mean()) == pytest.approx(float(before.inputs.mean()), abs=0.02)
    assert (
        ScaledImages(FewLabels(Digits(), 100), 1.5).load().unlabelled is None
    )  # what is scaled isn't pre-trained
    assert scaled.fingerprint != own.fingerprint == Digits().load().fingerprint


def test_a_factor_of_nothing_is_told() -> None:
    with pytest.raises(StudyError, match="positive"):
        ScaledImages(Digits(), 0.0)
