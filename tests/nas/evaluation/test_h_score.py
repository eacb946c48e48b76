from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data import Digits
from nas.data.loading import load_splits
from nas.errors import DataError, StudyError
from nas.evaluation import h_score
from nas.evaluation.h_score import HScoreSubset, RandomSubset
from nas.evaluation.quality import BalancedAccuracy
from nas.splits import Split, Splits
from nas.tasks import Classification
from nas.testing import check_data_source
from nas.training import Mixup, Recipe

ITEMS, EPOCHS = 40, 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, learning_rate=1e-9)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclass(frozen=True)
class Numbered:
    """Items whose one input is their number; every second one is of class 1."""

    def load(self) -> Splits:
        numbers = torch.arange(float(ITEMS))[:, None]
        part = Split(numbers, torch.arange(ITEMS) % 2)
        return Splits("numbered", part, part, part, Classification(2), (), (), "of numbers", (), ("numbers",))


class Scripted(nn.Module):
    """Is right about an item in the epochs that its script says; a weight of no influence is trained."""

    def __init__(self, script: Tensor) -> None:
        super().__init__()
        self.script = nn.Buffer(script)  # (items, epochs)
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = np.zeros(ITEMS, dtype=np.int64)

    def forward(self, numbers: Tensor) -> Tensor:
        items = numbers[:, 0].long()
        right = self.script[items, self.seen[items.numpy()] % EPOCHS]
        if self.training:
            self.seen[items.numpy()] += 1
        said = torch.where(right, items % 2, 1 - items % 2)
        return nn.functional.one_hot(said, 2).float() + 0 * self.weight


@dataclass
class ScriptedRuns:
    """Makes the network of each training after the other, and counts them."""

    scripts: Sequence[Tensor]
    made: int = field(default=0, compare=False)

    def __call__(self) -> nn.Module:
        self.made += 1
        return Scripted(self.scripts[(self.made - 1) % len(self.scripts)])


def scripts(runs: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(ITEMS, 1, generator=generator).mul(1.6).sub(0.3)  # some never right, some always
    return [torch.rand(ITEMS, EPOCHS, generator=generator) < shares for _ in range(runs)]


def test_the_score_counts_the_trainings_that_are_right_in_every_epoch() -> None:
    found = scripts()
    source = HScoreSubset(Numbered(), ScriptedRuns(found), RECIPE)
    expected = sum(script.all(dim=1).long() for script in found)
    whole = load_splits(source.source)
    assert torch.is_tensor(expected)
    assert source.scores(whole).tolist() == expected.tolist()
    assert {0, 6} < set(expected.tolist())
    kept = [number for number, score in enumerate(expected.tolist()) if score not in (0, 6)]
    splits = load_splits(source)
    assert isinstance(splits.train.inputs, Tensor)
    assert splits.train.inputs[:, 0].tolist() == kept
    assert splits.train.targets.tolist() == [number % 2 for number in kept]
    assert torch.equal(splits.search.targets, whole.search.targets)
    assert torch.equal(splits.test.targets, whole.test.targets)
    assert splits.fingerprint != whole.fingerprint
    chosen = f"{len(kept)} of 40 to train, chosen by H-score"
    assert splits.name == f"numbered, {chosen}"
    assert splits.notes[-1].startswith(f"{chosen} ({len(kept) / 40:.1%}), without scores of 0 and 6")


def test_items_are_judged_by_the_outputs_before_the_step_on_them() -> None:
    def network() -> nn.Module:
        made = nn.Linear(1, 2)
        nn.init.zeros_(made.weight)
        made.bias.data = torch.tensor([1.0, 0.0])  # says class 0, until one step has turned that round
        return made

    recipe = Recipe(epochs=1, batch_size=ITEMS, learning_rate=100.0, max_grad_norm=1e9)
    source = HScoreSubset(Numbered(), network, recipe, runs=2, remove=(1,))
    assert source.scores(load_splits(source.source)).tolist() == [2, 0] * (ITEMS // 2)


def test_trainings_are_done_once_and_a_killed_scoring_goes_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HScoreSubset(
        Digits(),
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)),
        runs=4,
        remove=(4,),
    )
    whole, seeds = load_splits(source.source), []
    original = h_score.train

    def counted(*arguments: object, **settings: object) -> object:
        seeds.append(settings["seed"])
        if len(seeds) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(h_score, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        source.scores(whole)
    scores = source.scores(whole)
    assert seeds == [0, 1, 2, 2, 3]
    assert source.scores(whole).tolist() == scores.tolist()
    assert len(seeds) == 5
    some = sorted(cache.glob("h-score-*.json"))[0]
    some.write_text(some.read_text().replace("1", "0", 1))
    assert source.scores(whole).tolist() == scores.tolist()
    assert len(seeds) == 6
    dataclasses.replace(source, recipe=Recipe(epochs=1), runs=1, remove=(1,)).scores(whole)
    assert len(seeds) == 7
    assert 0 < scores.sum() < 4 * len(scores)


def test_the_control_has_as_many_items_of_each_class() -> None:
    pruned = HScoreSubset(Numbered(), ScriptedRuns(scripts()), RECIPE)
    check_data_source(pruned)
    check_data_source(RandomSubset(pruned))
    wanted, control, other = (
        load_splits(source) for source in (pruned, RandomSubset(pruned), RandomSubset(pruned, 1))
    )
    assert control.train.targets.bincount().tolist() == wanted.train.targets.bincount().tolist()
    assert len({wanted.fingerprint, control.fingerprint, other.fingerprint}) == 3
    assert load_splits(RandomSubset(pruned)).fingerprint == control.fingerprint


def test_a_class_that_would_be_lost_is_told() -> None:
    script = (torch.arange(ITEMS) % 2 == 0)[:, None].expand(ITEMS, EPOCHS)
    halves = [torch.ones(ITEMS, EPOCHS, dtype=torch.bool), script]
    source = HScoreSubset(Numbered(), ScriptedRuns(halves), RECIPE, runs=2, remove=(1,))
    with pytest.raises(DataError, match=r"20 of 40 .* none with the target 1 .*\[0, 20, 20\] times"):
        source.load()


def test_a_quality_that_knows_no_right_or_wrong_is_refused() -> None:
    source = HScoreSubset(Numbered(), ScriptedRuns(scripts()), RECIPE, quality=BalancedAccuracy())
    with pytest.raises(DataError, match="whose statistics are 0 or 1"):
        source.scores(load_splits(source.source))


@pytest.mark.parametrize(("make", "match"), [(lambda: 3, "result=3"), (lambda: 1 / 0, "ZeroDivisionError")])
def test_a_function_that_makes_no_network_is_told(make: Callable[[], object], match: str) -> None:
    with pytest.raises((StudyError, DataError), match=match):
        load_splits(HScoreSubset(Numbered(), make))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"runs": 0, "remove": (0,)}, "runs=0"),
        ({"remove": (0, 7)}, r"remove=\(0, 7\)"),
        ({"remove": ()}, r"remove=\(\)"),
        ({"remove": 6}, "remove=6"),
        ({"runs": 2.5}, "runs=2.5"),
        ({"recipe": Recipe(epochs=3, mix=Mixup())}, "leave mix out"),
        ({"recipe": 3}, "recipe=3"),
        ({"source": Digits}, "source=the class Digits"),
        ({"network": nn.Linear(1, 2).weight}, "network="),
        ({"quality": "accuracy"}, "quality='accuracy'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], match: str) -> None:
    with pytest.raises((StudyError, DataError), match=match):
        HScoreSubset(**{"source": Numbered(), "network": nn.Identity, **settings})  # type: ignore[arg-type]
