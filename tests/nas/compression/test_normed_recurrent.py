from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.compression.normed_recurrent import NormedRecurrent, StepNorm, make_normed_layer
from nas.supernet import recalibrate

STEPS = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    "form",
    [{}, {"bidirectional": True, "num_layers": 2}, {"batch_first": False}, {"bias": False, "num_layers": 2}],
)
def test_without_batch_norm_it_is_torchs_layer(kind: Any, form: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = kind(3, 4, **{"batch_first": True, **form})
    made = make_normed_layer(layer, 0)
    (expected, state), (found, other) = layer(STEPS), made(STEPS)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(other, state)
    torch.testing.assert_close(made(STEPS, state)[0], layer(STEPS, state)[0])


def test_products_and_cells_are_normalised_with_each_steps_own_statistics() -> None:
    torch.manual_seed(0)
    layer = NormedRecurrent("lstm", 3, 4, batch_first=True, steps=5).train()
    (cell,) = layer.cells
    gain = 0.1
    hidden = state = torch.zeros(6, 4)
    outputs = []
    for step in range(5):
        products = norm(STEPS[:, step] @ cell.weight_ih.t()) * gain + norm(hidden @ cell.weight_hh.t()) * gain
        taken, kept, made, shown = products.chunk(4, 1)
        state = (kept + 1).sigmoid() * state + taken.sigmoid() * made.tanh()  # forget gates begin open
        hidden = shown.sigmoid() * (gain * norm(state)).tanh()
        outputs.append(hidden)
    expected = torch.stack(outputs, 1)
    torch.testing.assert_close(layer(STEPS)[0], expected)
    recalibrate(layer, [STEPS.repeat(100, 1, 1)])  # running variances are those of as many items less one
    found = layer.eval()(STEPS)[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def norm(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / (values.var(0, unbiased=False) + 1e-5).sqrt()


def test_steps_beyond_the_last_share_its_statistics() -> None:
    normed = StepNorm(3, steps=2).train()
    normed.momentum = None
    for step in range(5):
        normed(STEPS[:, step], step)
    torch.testing.assert_close(normed.running_mean[0], STEPS[:, 0].mean(0))
    torch.testing.assert_close(normed.running_mean[1], STEPS[:, 1:].mean((0, 1)))
    normed.eval()
    assert torch.equal(normed(STEPS[:, 0], 1), normed(STEPS[:, 0], 7))


def test_the_second_direction_reads_from_the_last_step() -> None:
    torch.manual_seed(0)
    layer = NormedRecurrent("gru", 3, 4, bidirectional=True, batch_first=True, steps=2).eval()
    forward, backward = layer(STEPS)[0].split(4, 2)
    layer.cells[0].load_state_dict(layer.cells[1].state_dict())
    torch.testing.assert_close(layer(STEPS.flip(1))[0][..., :4].flip(1), backward)
    assert not torch.allclose(forward, backward)
