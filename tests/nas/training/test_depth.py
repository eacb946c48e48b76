from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from short_training import CPU, StopError, blobs, equal, stop_after, weights
from torch import Tensor, nn

from nas import choice
from nas.errors import StudyError, TrainingError
from nas.supernet import Supernet, elastic
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.training import Recipe, make_supervised_step, train
from nas.training.depth import StochasticDepth, mark_row

TASK = Classification(2)


class Counting(nn.Module):
    """Adds a learned multiple of its input, and counts how often it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))
        self.runs = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.runs += 1
        return inputs + self.share * inputs


def network(times: int | object = 3) -> nn.Sequential:
    torch.manual_seed(0)
    rows = [elastic.Repeat(lambda _: Counting(), times=times) for _ in range(2)]  # type: ignore[arg-type]
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), *rows, nn.Linear(4, 2))


def blocks(model: nn.Module) -> list[Counting]:
    return [module for module in model.modules() if isinstance(module, Counting)]


def supernet() -> Supernet:
    return Supernet(network(choice("depth", 1, 2, 3)))


def trained(model: nn.Module, recipe: Recipe, **settings: object) -> None:
    step = make_supervised_step(model, TASK, recipe)
    train(model, step, blobs(), recipe, seed=0, device=CPU, **settings)  # type: ignore[arg-type]


def plain() -> nn.Module:
    made = supernet()
    return made.extract(made.space.largest())


@pytest.mark.parametrize("make", [network, supernet, plain])
def test_later_blocks_survive_less_often_and_the_expected_depth_is_the_papers(
    make: Callable[[], nn.Module],
) -> None:
    model, rate, steps = make().train(), 0.5, 1500
    depth, inputs = StochasticDepth(model, rate), torch.ones(2, 36)
    depth.seed(torch.Generator().manual_seed(0))
    with depth.apply(), torch.no_grad():
        for _ in range(steps):
            model(inputs)
    shares = torch.tensor([block.runs / steps for block in blocks(model)])
    expected = 1 - torch.arange(1, 7) / 6 * rate
    assert (shares - expected).abs().max() < 0.04  # three standard errors
    assert shares.sum().item() == pytest.approx(6 - 7 / 2 * rate, abs=0.1)  # (3 L - 1) / 4 at a rate of 1/2


def test_the_expected_output_is_the_networks_own() -> None:
    model = network()[2]
    depth, inputs = StochasticDepth(model, 0.6), torch.ones(1, 4)
    depth.seed(torch.Generator().manual_seed(0))
    with depth.apply(), torch.no_grad():
        drawn = torch.stack([model.train()(inputs) for _ in range(4000)])
        assert torch.equal(model.eval()(inputs), torch.full((1, 4), 1.5**3))
    assert len(drawn[:, 0, 0].unique()) == 2**3
    assert drawn.mean(0) == pytest.approx(1.5**3, rel=0.03)


def test_a_subnets_last_active_block_is_its_most_dropped_one() -> None:
    model = supernet()
    depth = StochasticDepth(model, 0.4)
    first, second = (module for module in model.modules() if isinstance(module, elastic.Repeat))
    with model.active({"depth": 1}):
        assert depth.survival(second, 0) == pytest.approx(0.6)
    with model.active({"depth": 3}):
        assert depth.survival(first, 0) == pytest.approx(1 - 0.4 / 6)
        assert depth.survival(second, 0) == pytest.approx(1 - 0.4 * 4 / 6)


def test_each_subnet_of_a_batch_draws_its_own_blocks() -> None:
    model, recipe = supernet(), Recipe(1, batch_size=50, stochastic_depth=0.9)
    train(model, sandwich_step(model, TASK, recipe), blobs(), recipe, seed=0, device=CPU)
    runs = [block.runs for block in blocks(model)]
    assert 0 < sum(runs) < 3 * 6 + 2


@pytest.mark.parametrize("parts", [1, 3])
def test_all_parts_of_a_batch_go_through_the_same_blocks(parts: int) -> None:
    models = [network(), network()]
    for model, count in zip(models, (1, parts), strict=True):
        trained(model, Recipe(5, batch_size=50, stochastic_depth=0.5, accumulate=count))
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert [b.runs * parts for b in blocks(models[0])] == [b.runs for b in blocks(models[1])]


def test_a_killed_training_goes_on_with_the_same_blocks(tmp_path: Path) -> None:
    recipe = Recipe(6, batch_size=10, stochastic_depth=0.5)
    whole, stopped = network(), network()
    trained(whole, recipe)
    with pytest.raises(StopError):
        trained(stopped, recipe, checkpoint=tmp_path / "c.pt", on_epoch=stop_after(3))
    resumed = network()
    trained(resumed, recipe, checkpoint=tmp_path / "c.pt")
    assert equal(weights(whole), weights(resumed))


def test_after_the_training_a_network_is_what_it_was() -> None:
    model = plain()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    trained(model, Recipe(1, stochastic_depth=0.5))
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def test_a_network_without_rows_is_refused() -> None:
    with pytest.raises(StudyError, match=r"no row of blocks .* elastic\.Repeat"):
        trained(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), Recipe(1, stochastic_depth=0.5))


def test_blocks_that_change_the_shape_are_refused() -> None:
    row = mark_row(nn.Sequential(nn.Linear(36, 4)))
    with pytest.raises(TrainingError, match=r"makes \(50, 4\) of \(50, 36\)"):
        trained(nn.Sequential(nn.Flatten(), row, nn.Linear(4, 2)), Recipe(1, stochastic_depth=1e-9))


@pytest.mark.parametrize("rate", [1, -0.1, float("nan"), "half", True])
def test_the_rate_is_a_probability_below_one(rate: object) -> None:
    with pytest.raises(StudyError, match="stochastic_depth"):
        Recipe(1, stochastic_depth=rate)  # type: ignore[arg-type]


def test_runs_from_before_it_know_their_recipe() -> None:
    assert "stochastic" not in repr(Recipe(1))
    assert repr(Recipe(1)).startswith(
        "Recipe(epochs=1, batch_size=64, learning_rate=0.005, weight_decay=0.01,"
    )
    assert Recipe(1, stochastic_depth=0.5).fingerprint.endswith("halve_on_oom=False, stochastic_depth=0.5)")
