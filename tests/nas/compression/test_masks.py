from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.compression.masks import WeightMasks
from nas.compression.schedules import RigL, StaticMask


def test_an_optimizer_forgets_what_is_held_at_0() -> None:
    layer = nn.Linear(4, 4)
    masks = WeightMasks({"weight": layer.weight}, [0.25], StaticMask(), num_steps=5, seed=0)
    optimizer = torch.optim.AdamW(layer.parameters(), weight_decay=0.1)
    for _ in range(3):
        layer(torch.randn(8, 4)).square().mean().backward()
        masks.before_update()
        optimizer.step()
        masks.after_update(optimizer)
    held = layer.weight == 0
    assert held.sum() == 12
    assert (optimizer.state[layer.weight]["exp_avg"][held] == 0).all()
    assert masks.kept == 0.25


def test_masks_know_what_is_kept_of_tensors_on_their_device() -> None:
    layer = nn.Linear(4, 4)
    masks = WeightMasks({"weight": layer.weight}, [0.5], RigL(), num_steps=5, seed=0)
    other = WeightMasks({"weight": layer.weight}, [0.5], RigL(begin_with="random"), num_steps=5, seed=3)
    other.load_state_dict(masks.state_dict())
    found: dict[str, Tensor] = other.state_dict()["masks"]
    assert torch.equal(found["weight"], masks.state_dict()["masks"]["weight"])
