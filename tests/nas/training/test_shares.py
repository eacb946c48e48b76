from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import two_ranks
from thread_ranks import in_threads
from torch import Tensor, nn

from nas import Recipe
from nas.errors import StudyError
from nas.inputs import Inputs
from nas.tasks import Classification
from nas.training import ALONE, Losses, Ranks, make_supervised_step, train
from nas.training.shares import SpeedShares, apportion

BEGUN = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
SPEEDS = (1.0, 1.0, 2.0, 4.0)


@dataclass
class Processor:
    """Computes so many items per second, by its own clock."""

    speed: float
    seconds_per_batch: float = 0.0
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def compute(self, items: int) -> None:
        self.now += items / self.speed + self.seconds_per_batch


@pytest.mark.parametrize(
    ("count", "speeds", "expected"),
    [
        (64, (1, 1, 2, 4), [8, 8, 16, 32]),
        (64, (1, 1, 1, 1), [16, 16, 16, 16]),
        (10, (1, 1, 1), [4, 3, 3]),
        (8, (1, 1, 1, 1000), [2, 2, 2, 2]),
        (16, (1, 1, 1, 1e9), [2, 2, 2, 10]),
        (9, (3e-9, 1e-9), [7, 2]),
    ],
)
def test_items_are_shared_in_proportion_to_speeds_and_nobody_has_less_than_two(
    count: int, speeds: Sequence[float], expected: list[int]
) -> None:
    assert apportion(count, np.array(speeds, dtype=float)) == expected


@pytest.mark.parametrize("seconds_per_batch", [0.0, 20.0])
def test_shares_settle_where_all_take_equally_long(seconds_per_batch: float) -> None:
    shares, processors = SpeedShares(4), [Processor(speed, seconds_per_batch) for speed in SPEEDS]
    assert shares.divide(640) is None
    items = [160] * 4
    took: list[float] = []
    for _ in range(100):
        took = [seconds_per_batch + n / p.speed for n, p in zip(items, processors, strict=True)]
        shares.note(items, took)
        items = shares.divide(640) or []
    assert sum(items) == 640
    assert max(took) / min(took) < 1.06


def test_batches_with_too_few_items_are_shared_equally() -> None:
    shares = SpeedShares(4)
    shares.note([2, 2, 2, 2], [1, 1, 1, 4])
    assert shares.divide(7) is None
    assert shares.divide(8) == [2, 2, 2, 2]


def test_what_is_known_is_restored_for_as_many_processes() -> None:
    known = SpeedShares(2)
    known.note([4, 4], [1, 3])
    same, more = SpeedShares(2), SpeedShares(3)
    same.restore(known.to_plain())
    more.restore(known.to_plain())
    assert same.divide(8) == known.divide(8) == [6, 2]
    assert more.divide(8) is None


def trained(
    ranks: Ranks, *, checkpoint: Path | None = None, stop_after: int | None = None
) -> dict[str, object]:
    """Train at the rank's speed for three epochs of 48 items; return weights, losses, and the items of each batch."""
    model = copy.deepcopy(BEGUN)
    recipe = Recipe(epochs=3, batch_size=24, share_by_speed=True)
    inner, processor, items = (
        make_supervised_step(model, Classification(2), recipe),
        Processor(SPEEDS[ranks.rank]),
        [],
    )

    def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
        yield from inner(inputs, targets, generator)
        processor.compute(len(targets))
        items.append(len(targets))

    def on_epoch(epoch: int, _loss: float) -> None:
        if epoch == stop_after:
            raise KeyboardInterrupt

    losses = train(
        model,
        step,
        two_ranks.images_and_labels().subset(torch.arange(48)),
        recipe,
        seed=3,
        device=torch.device("cpu"),
        ranks=ranks,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        clock=processor,
    )
    return {"weights": dict(model.state_dict()), "losses": losses, "items": items}


def assert_alike(found: dict[str, object], expected: dict[str, object]) -> None:
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-5)
    torch.testing.assert_close(found["weights"], expected["weights"], rtol=1e-4, atol=1e-5)


def test_fast_processes_take_more_of_a_batch_and_the_result_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = in_threads(4, trained, monkeypatch)
    assert [result["items"][0] for result in results] == [6, 6, 6, 6]  # type: ignore[index]
    assert [result["items"][1:] for result in results] == [[3] * 5, [3] * 5, [6] * 5, [12] * 5]  # type: ignore[index]
    for result in results:
        assert_alike(result, trained(ALONE))


def test_a_resumed_training_begins_with_the_shares_that_it_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        in_threads(4, partial(trained, checkpoint=checkpoint, stop_after=1), monkeypatch)
    resumed = in_threads(4, partial(trained, checkpoint=checkpoint), monkeypatch)
    assert [result["items"] for result in resumed] == [[3] * 4, [3] * 4, [6] * 4, [12] * 4]
    assert_alike(resumed[0], trained(ALONE))


def test_a_run_goes_on_when_shares_change_and_not_when_the_filter_does() -> None:
    plain = Recipe(epochs=3)
    assert Recipe(epochs=3, share_by_speed=True).fingerprint == plain.fingerprint
    assert "share_by_speed" not in plain.fingerprint
    assert "faulty_ranks" not in plain.fingerprint
    assert Recipe(epochs=3, faulty_ranks=1).fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("share_by_speed", "faulty_ranks", "message"),
    [
        (True, 1, "a slow process's small share strays most"),
        (1, 0, "share_by_speed"),
        (False, -1, "faulty_ranks is -1"),
        (False, 0.5, "faulty_ranks"),
    ],
)
def test_settings_without_sense_are_refused(share_by_speed: bool, faulty_ranks: int, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Recipe(epochs=3, share_by_speed=share_by_speed, faulty_ranks=faulty_ranks)
