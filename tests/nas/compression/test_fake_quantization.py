from __future__ import annotations

import torch
from torch import nn

from nas.compression.fake_quantization import simulate_int8, stop_simulation


def test_what_is_simulated_is_undone() -> None:
    layers = [nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3)]
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(216, 4)).eval()
    names, images = set(module.state_dict()), torch.randn(64, 1, 6, 6)
    before = module(images)
    assert simulate_int8(module, largest=127) == 3
    module.train()(images)
    rounded = module.eval()(images)
    assert not torch.equal(before, rounded)
    stop_simulation(module)
    assert set(module.state_dict()) == names
