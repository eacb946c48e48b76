from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pass_fakes import Stopping, lab_of, model_of, random_ids, random_split, residual_net
from torch import nn

from nas.compression.adapters import Adapter, FreezeAndReconfigure, Learners
from nas.compression.fine_tune import FineTune
from nas.compression.partial import PartialFineTune, adapt_layers, merge_layers
from nas.compression.pipeline import CompressionPass, Model
from nas.errors import ExportError, SpaceError, StudyError
from nas.splits import Split
from nas.supernet import Supernet
from nas.supernet.copying import copy_module
from nas.testing import check_compression_pass
from nas.training import Recipe
from search_spaces.text_transformer import text_transformer
from search_spaces.vision_transformer import vision_transformer

ADAPTERS = [FreezeAndReconfigure(0.25), Learners(2)]


def perceptron() -> nn.Module:
    """Return a network of three linear layers, of which the first two are adapted."""
    torch.manual_seed(0)
    layers = (nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))
    return nn.Sequential(*layers).eval()


def winner(name: str) -> tuple[nn.Module, Split]:
    """Return a small subnet of a Transformer, and items for it."""
    torch.manual_seed(0)
    if name == "text":
        supernet, split = Supernet(text_transformer(3, 50, 8)), random_ids(8, 50)
    else:
        supernet, split = Supernet(vision_transformer(3, 1, 8)), random_split(1, 8, 8)
    return supernet.extract(supernet.space.smallest()).eval(), split


def encoder() -> nn.Module:
    """Return torch's own encoder, which reads its layers' weights itself in evaluation."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@pytest.mark.parametrize("name", ["text", "vision", "torch"])
def test_a_winner_merged_equals_the_one_that_learned_in_part(name: str, adapter: Adapter) -> None:
    network, split = (encoder().eval(), random_split(4, 16)) if name == "torch" else winner(name)
    expected, form = network(split.inputs), model_of(network, split).inputs
    module = copy_module(network)
    adapt_layers(module, network, PartialFineTune(adapter), form.blank(2), 0)
    assert (module(split.inputs) - expected).abs().max() <= 1e-5
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    outputs = module(split.inputs)
    merge_layers(module)
    assert (outputs - expected).abs().max() > 0.1
    assert (module(split.inputs) - outputs).abs().max() <= 1e-5
    assert {key: type(part) for key, part in module.named_modules()} == {
        key: type(part) for key, part in network.named_modules()
    }


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_the_contract_is_kept(adapter: Adapter, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.GELU(), nn.Linear(16, 10))
    check_compression_pass(PartialFineTune(adapter), tmp_path, module=module, form=(3, 4, 4))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_what_is_frozen_stays_and_the_rest_learns(ema_decay: float | None, tmp_path: Path) -> None:
    network, split = winner("text")
    network.norm.weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    model = model_of(network, split)
    recipe = Recipe(epochs=8, batch_size=16, ema_decay=ema_decay)
    tune = PartialFineTune(FreezeAndReconfigure(0.25, nodes="random"), priming_epochs=0, recipe=recipe)
    assert isinstance(tune, CompressionPass)
    made = tune.apply(model, {}, lab_of(split, tmp_path)).module
    assert made is not None
    moved = {
        name: (after != network.get_parameter(name)).reshape(len(after), -1).any(1).sum().item()
        for name, after in made.named_parameters()
    }
    frozen = {"embedding.weight", "norm.weight", next(name for name in moved if name.startswith("positions"))}
    for name, count in moved.items():
        rows = len(network.get_parameter(name))
        weighted = network.get_parameter(name).ndim > 1 and name != "head.weight"
        assert count == (0 if name in frozen else rows // 4 if weighted else rows), name
    assert {n: p.requires_grad for n, p in made.named_parameters()} == {
        n: p.requires_grad for n, p in network.named_parameters()
    }


def test_named_modules_learn_as_a_whole(tmp_path: Path) -> None:
    network, split = perceptron(), random_split(8)
    tune = PartialFineTune(Learners(2), priming_epochs=0, whole=("0*",))
    made = tune.apply(model_of(network, split), {}, lab_of(split, tmp_path)).module
    assert made is not None
    changes = [made.get_parameter(name) - network.get_parameter(name) for name in ("0.weight", "2.weight")]
    assert [int(torch.linalg.matrix_rank(change, atol=1e-6)) for change in changes] == [8, 2]


def test_it_says_what_it_did_and_trains_all_before_it_chooses(tmp_path: Path) -> None:
    network, split = perceptron(), random_split(8)
    recipe = Recipe(epochs=2, batch_size=16)
    made = PartialFineTune(recipe=recipe, priming_epochs=3).apply(
        model_of(network, split), {}, lab_of(split, tmp_path / "part")
    )
    assert made.applied == (
        "fine-tuned for 2 epochs after 3 of everything, 37.5% of the parameters (20% of the nodes, those that changed "
        "most)",
    )
    primed = FineTune(Recipe(epochs=3, batch_size=16)).apply(
        model_of(network, split), {}, lab_of(split, tmp_path / "all")
    )
    assert made.module is not None
    assert primed.module is not None
    same = (made.module.get_parameter("2.weight") == primed.module.get_parameter("2.weight")).all(1)
    assert int(same.sum()) == 13
    gone = (primed.module.get_parameter("2.weight") - network.get_parameter("2.weight")).abs().sum(1)
    assert gone[~same].min() >= gone[same].max()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@pytest.mark.parametrize("killed_after", [1, 4])  # batches: while everything learns, and while a part does
def test_a_training_that_was_killed_goes_on(adapter: Adapter, killed_after: int, tmp_path: Path) -> None:
    model, split = model_of(perceptron(), random_split(8)), random_split(8)
    tune = PartialFineTune(adapter, recipe=Recipe(epochs=2, batch_size=24))
    whole = tune.apply(model, {}, lab_of(split, tmp_path / "whole")).module
    with pytest.raises(KeyboardInterrupt):
        tune.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(killed_after)))
    done = killed_after // 2 * 2  # of whole epochs
    resumed = tune.apply(model, {}, lab_of(split, tmp_path / "killed", task=Stopping(6 - done))).module
    assert whole is not None
    assert resumed is not None
    assert torch.equal(whole(split.inputs), resumed(split.inputs))


def test_wrong_use_is_said_in_a_sentence(tmp_path: Path) -> None:
    split = random_split(8)
    model, lab = model_of(perceptron(), split), lab_of(split, tmp_path)
    with pytest.raises(StudyError, match=r"PartialFineTune has adapter=0\.2"):
        PartialFineTune(0.2)  # type: ignore[arg-type]
    with pytest.raises(
        StudyError, match=r"priming_epochs=0: 1 or more is expected with FreezeAndReconfigure"
    ):
        PartialFineTune(priming_epochs=0)
    with pytest.raises(StudyError, match=r"priming_epochs=-1: 0 or more is expected with Learners"):
        PartialFineTune(Learners(), priming_epochs=-1)
    with pytest.raises(StudyError, match="whole='head'"):
        PartialFineTune(whole="head")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="'partial_fine_tune' works on a module"):
        PartialFineTune().apply(Model(model.inputs), {}, lab)
    with pytest.raises(SpaceError, match="rank"):
        PartialFineTune().apply(model, {"rank": 3}, lab)
    with pytest.raises(ExportError, match="no module of Sequential is named 'embeding'"):
        PartialFineTune(whole=("embeding",)).apply(model, {}, lab)
    images = random_split(1, 8, 8)
    with pytest.raises(ExportError, match=r"no linear layer .* besides the last .*: use FineTune\(\)"):
        PartialFineTune().apply(model_of(residual_net(), images), {}, lab_of(images, tmp_path / "images"))
