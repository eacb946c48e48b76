from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pass_fakes import Stopping, lab_of, model_of, random_ids, random_split, residual_net
from torch import Tensor, nn

from nas.compression.pipeline import CompressionPass, Model, Pipeline
from nas.compression.prune import Prune
from nas.compression.saliency import SALIENCIES
from nas.compression.structure import apply_changes, describe_changes
from nas.errors import ExportError, SpaceError, StudyError
from nas.splits import Split
from nas.supernet import Supernet, recalibrate
from nas.testing import check_compression_pass
from nas.training import Recipe
from search_spaces.convnet import convnet
from search_spaces.text_transformer import text_transformer


def drawn(network: nn.Module) -> nn.Module:
    supernet = Supernet(network)
    return supernet.extract(supernet.space.sample(np.random.default_rng(1)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Split]] = {
    "residual": (residual_net, random_split(1, 8, 8)),
    "inverted": (lambda: drawn(convnet(3, 1, 8)), random_split(1, 8, 8)),
    "text": (lambda: drawn(text_transformer(3, 50, 6)), random_ids(6, 50)),
}


def made(name: str) -> tuple[Model, Split]:
    make, split = NETWORKS[name]
    torch.manual_seed(0)
    module = make()
    recalibrate(module, [split.inputs])
    return model_of(module, split), split


def plain(keep: float, **settings: Any) -> Prune:
    """Return a pass by which each layer keeps its share, by magnitude unless stated."""
    return Prune(keep, **{"saliency": "magnitude", "distribution": "uniform", "round_to": 1, **settings})


def num_params(module: nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("saliency", "distribution"), [("magnitude", "uniform"), ("taylor", "global"), ("hessian", "uniform")]
)
def test_a_pruned_network_is_smaller_keeps_its_output_and_comes_back(
    name: str, saliency: Any, distribution: Any, tmp_path: Path
) -> None:
    model, split = made(name)
    assert model.module is not None
    weights = {key: value.clone() for key, value in model.module.state_dict().items()}
    made_of = Prune(keep=0.5, saliency=saliency, distribution=distribution, round_to=1)
    random = torch.get_rng_state()
    pruned = made_of.apply(model, {}, lab_of(split, tmp_path))
    again = made_of.apply(model, {}, lab_of(split, tmp_path))
    assert torch.equal(torch.get_rng_state(), random)
    assert pruned.module is not None
    assert again.module is not None
    assert not pruned.module.training
    assert num_params(pruned.module) < 0.75 * num_params(model.module)
    outputs = pruned.module(split.inputs)
    assert outputs.shape == model.module(split.inputs).shape
    assert torch.equal(again.module(split.inputs), outputs)
    assert all(torch.equal(value, weights[key]) for key, value in model.module.state_dict().items())
    assert pruned.applied == (f"prune to 0.5 of the channels ({saliency}, {distribution})",)
    back = apply_changes(model.module, describe_changes(model.module, pruned.module))
    back.load_state_dict(pruned.module.state_dict())
    assert torch.equal(back(split.inputs), outputs)


@pytest.mark.parametrize(
    "made_of",
    [
        Prune(keep=(0.5, 1.0), saliency=("magnitude", "taylor")),
        Prune(keep=0.5, steps=2, distribution="global"),
    ],
    ids=["searched", "in steps"],
)
def test_the_contract_is_kept(made_of: Prune, tmp_path: Path) -> None:
    check_compression_pass(made_of, tmp_path)


def widths(module: nn.Module | None) -> list[int]:
    assert module is not None
    return [m.out_channels for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_layers_keep_their_share_or_compete_for_it(tmp_path: Path) -> None:
    model, split = made("residual")
    lab = lab_of(split, tmp_path)
    assert widths(plain(0.5).apply(model, {}, lab).module) == [4, 8, 4, 8, 4]
    assert widths(plain(0.75, round_to=4).apply(model, {}, lab).module) == [8, 12, 8, 12, 8]
    made_of = Prune(keep=0.5, round_to=1)
    free = widths(made_of.apply(model, {}, lab).module)
    assert free[0] + free[1] + free[3] == (8 + 16 + 16) // 2  # the skips tie the others to the first


def test_what_matters_to_the_loss_stays(tmp_path: Path) -> None:
    split = random_split(2, 4, 4)
    targets = (split.inputs.mean((1, 2, 3)) > 0).long()  # type: ignore[union-attr]
    split = Split(split.inputs, targets)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[9.0, -9], [0.4, 0.4], [9, -9], [-0.4, -0.4]])[..., None, None])
        network[0].bias.copy_(torch.tensor([1.0, 0.1, 1, 0.1]))
        network[4].weight.copy_(torch.tensor([[0.01, -1, 0.01, 1], [0, 1, 0, -1], [0, 0, 0, 0]]))
    model, lab = model_of(network, split), lab_of(split, tmp_path)
    kept = {}
    for saliency in SALIENCIES:
        module = plain(0.5, saliency=saliency).apply(model, {}, lab).module
        assert module is not None
        kept[saliency] = module[0].weight.abs().flatten().tolist()
    assert kept["magnitude"] == pytest.approx([9, 9, 9, 9])
    assert kept["taylor"] == kept["hessian"] == pytest.approx([0.4, 0.4, 0.4, 0.4])


def test_several_options_are_choices_and_the_largest_changes_nothing(tmp_path: Path) -> None:
    model, split = made("residual")
    made_of = Prune(keep=(0.5, 1), saliency=("magnitude", "taylor"), distribution="uniform")
    space = Pipeline(made_of).space
    assert space.cardinality() == 3
    whole = space.architecture({"prune.keep": 1.0, "prune.saliency": "taylor"})
    assert dict(whole) == {"prune.keep": 1.0, "prune.saliency": "magnitude"}
    assert made_of.apply(model, space.largest(), lab_of(split, tmp_path)) is model
    half = made_of.apply(model, space.smallest(), lab_of(split, tmp_path))
    assert half.applied == ("prune to 0.5 of the channels (magnitude, uniform)",)
    assert isinstance(made_of, CompressionPass)
    assert Prune(keep=0.5).choices().choices == ()
    assert not made_of.trains


@pytest.mark.parametrize(
    "options", [{}, {"prune.keep": 0.6}, {"prune.keep": 0.5, "depth": 3}], ids=["none", "unknown", "others"]
)
def test_other_options_are_refused(options: dict[str, float], tmp_path: Path) -> None:
    model, split = made("residual")
    with pytest.raises(SpaceError, match=r"prune\.keep|depth"):
        Prune(keep=(0.5, 1.0)).apply(model, options, lab_of(split, tmp_path))


class Plus(nn.Module):
    """Adds its input, of a fixed number of channels, to what layers make of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Conv2d(2, width, 1), nn.ReLU(), nn.Conv2d(width, 2, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.layers(inputs)


class Viewed(nn.Module):
    """Has a size in its code, which no graph tells."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return self.third(self.second(self.first(rows)).relu().view(-1, 8))


def test_channels_that_something_else_needs_stay(tmp_path: Path) -> None:
    split = random_split(2, 4, 4)
    network = nn.Sequential(Plus(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    module = plain(0.5).apply(model_of(network, split), {}, lab_of(split, tmp_path)).module
    assert widths(module) == [4, 2]
    split = random_split(4)
    module = plain(0.5).apply(model_of(Viewed(), split), {}, lab_of(split, tmp_path)).module
    assert module is not None
    assert [module.first.out_features, module.second.out_features] == [4, 8]


def test_layers_that_share_a_weight_still_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = (
        nn.Linear(4, 8),
        nn.Linear(8, 8),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.Linear(8, 16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )
    network = nn.Sequential(*rows)
    network[3].weight = network[1].weight
    split = random_split(4)
    model = model_of(network, split)
    module = plain(0.5).apply(model, {}, lab_of(split, tmp_path)).module
    assert module is not None
    assert model.module is not None
    assert module[3].weight is module[1].weight
    assert module[4].out_features == 8
    assert num_params(module) < num_params(network)
    describe_changes(model.module, module)


@pytest.mark.parametrize(
    ("network", "keep", "said"),
    [
        (nn.Sequential(nn.Linear(4, 3)), 0.5, "prune finds nothing in Sequential"),
        (
            nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)),
            0.05,
            "none of the 8 channels or heads of layer '0'",
        ),
        (
            nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3)),
            0.5,
            "prune can't follow the channels of Sequential",
        ),
        (None, 0.5, "'prune' works on a module"),
    ],
)
def test_what_cannot_be_pruned_is_said_in_a_sentence(
    network: nn.Module | None, keep: float, said: str, tmp_path: Path
) -> None:
    split = random_split(4)
    model = model_of(network or nn.Identity(), split)
    model = Model(model.inputs, None) if network is None else model
    with pytest.raises(ExportError) as raised:
        plain(keep).apply(model, {}, lab_of(split, tmp_path))
    assert said in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    "settings",
    [
        {"keep": 0},
        {"keep": 1.5},
        {"keep": True},
        {"keep": "half"},
        {"keep": (0.5, 0.75)},
        {"keep": (1.0, 0.5)},
        {"keep": ()},
        {"saliency": "weight"},
        {"keep": 0.5, "saliency": ("magnitude", "taylor")},
        {"saliency": ()},
        {"saliency": ("taylor", "taylor")},
        {"distribution": "local"},
        {"round_to": 0},
        {"round_to": 2.0},
        {"steps": 0},
        {"recipe": 3},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match="Prune"):
        Prune(**settings)


def test_a_schedule_trains_between_its_steps_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    model, split = made("residual")
    made_of = plain(0.25, steps=3, recipe=Recipe(epochs=2, batch_size=16))
    assert made_of.trains
    whole = made_of.apply(model, {}, lab_of(split, tmp_path / "whole"))
    assert widths(whole.module) == [2, 4, 2, 4, 2]
    epoch = 48 // 16  # batches
    with pytest.raises(KeyboardInterrupt):
        made_of.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(3 * epoch + 1)))
    resumed = made_of.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(epoch)))
    assert whole.module is not None
    assert resumed.module is not None
    assert torch.equal(resumed.module(split.inputs), whole.module(split.inputs))


def test_a_teacher_is_listened_to_and_left_as_it_is(tmp_path: Path) -> None:
    model, split = made("residual")
    teacher = residual_net().eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    made_of = Prune(keep=0.5, steps=2)
    alone = made_of.apply(model, {}, lab_of(split, tmp_path / "alone")).module
    taught = made_of.apply(model, {}, lab_of(split, tmp_path / "taught", teacher)).module
    assert alone is not None
    assert taught is not None
    assert not torch.equal(alone(split.inputs), taught(split.inputs))
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
