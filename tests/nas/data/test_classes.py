from __future__ import annotations

import numpy as np
import torch

from nas.data.classes import class_shares
from nas.tasks.segmentation import IGNORED


def test_class_shares_leave_out_what_is_ignored() -> None:
    targets = torch.tensor([[0, 1, 1, 1], [IGNORED, IGNORED, 1, 3]], dtype=torch.uint8)
    np.testing.assert_allclose(class_shares(targets, 4), [1 / 6, 4 / 6, 0, 1 / 6])
