from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nas.tasks.clouds import cloud_png, project_points


@pytest.mark.draws
@pytest.mark.parametrize("count", [1, 50_000])
def test_a_cloud_of_any_size_is_a_picture(count: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(count, 5))
    truth = rng.integers(0, 3, count)
    truth[0] = 255
    content = cloud_png(points, truth, np.zeros(count, dtype=int), ("ground", "tree", "house"))
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    assert min(image.size) > 500
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 3


def test_what_is_near_covers_what_is_behind() -> None:
    """Seen from the east, a point in the east is nearer, one in the north to the right, one above higher."""
    east, north, above = np.eye(3)
    across, up, depth = project_points(np.array([east, north, above]), 0.0)
    assert depth.argmax() == 0
    assert across.argmax() == 1
    assert up.argmax() == 2
