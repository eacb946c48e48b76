from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import two_ranks
from thread_ranks import in_threads
from torch import Tensor, nn

from nas import Recipe
from nas.errors import StudyError, TrainingError
from nas.tasks import Classification
from nas.training import ALONE, Ranks, make_supervised_step, train
from nas.training.kardam import within_lipschitz

BEGUN = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
Break = Callable[[Tensor], Tensor]
BROKEN: dict[str, Break] = {
    "random": lambda gradient: 10 * torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0)),
    "negated": lambda gradient: -100 * gradient,
    "not numbers": lambda gradient: gradient * math.nan,
    "overflowed": lambda gradient: gradient * math.inf,
}


@pytest.mark.parametrize(
    ("distances", "faulty", "accepted"),
    [
        ([1, 2, 3, 9], 1, [1, 1, 1, 0]),
        ([9, 2, 3, 1], 1, [0, 1, 1, 1]),
        ([1, math.nan, 3, 2], 1, [1, 0, 1, 1]),
        ([1, math.nan, math.inf, 2], 1, [1, 0, 0, 1]),
        ([2, 2, 2, 2], 1, [1, 1, 1, 1]),
        ([math.inf] * 4, 1, [1, 1, 1, 1]),
        ([5, 4, 3, 2, 1, 0, 6], 2, [0, 1, 1, 1, 1, 1, 0]),
    ],
)
def test_those_that_stray_most_are_left_out(distances: list[float], faulty: int, accepted: list[int]) -> None:
    assert within_lipschitz(torch.tensor(distances, dtype=torch.float32), faulty).int().tolist() == accepted


DATA = two_ranks.images_and_labels().subset(torch.arange(48))


def loss_of(weights: dict[str, Tensor]) -> float:
    """Return the loss on all items: that of a training leaves out those of whom it leaves out."""
    model = copy.deepcopy(BEGUN)
    model.load_state_dict(weights)
    return nn.functional.cross_entropy(model(DATA.inputs), DATA.targets).item()


def trained(
    ranks: Ranks,
    *,
    faulty_ranks: int = 1,
    breaks: Break | None = None,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
) -> tuple[list[float], dict[str, Tensor]]:
    """Train for six epochs of two batches; the gradients of rank 2 are broken."""
    model = copy.deepcopy(BEGUN)
    if breaks is not None and ranks.rank == 2:
        for parameter in model.parameters():
            parameter.register_hook(breaks)

    def on_epoch(epoch: int, _loss: float) -> None:
        if epoch == stop_after:
            raise KeyboardInterrupt

    recipe = Recipe(epochs=6, batch_size=24, faulty_ranks=faulty_ranks, learning_rate=0.02)
    losses = train(
        model,
        make_supervised_step(model, Classification(2), recipe),
        DATA,
        recipe,
        seed=3,
        device=torch.device("cpu"),
        ranks=ranks,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    return losses, dict(model.state_dict())


@pytest.mark.parametrize("how", BROKEN)
def test_a_process_that_computes_nonsense_does_no_harm(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = loss_of(in_threads(4, trained, monkeypatch)[0][1])
    results = in_threads(4, partial(trained, breaks=BROKEN[how]), monkeypatch)
    assert loss_of(results[0][1]) == pytest.approx(sound, abs=0.03)
    for losses, weights in results:
        assert losses == results[0][0]
        torch.testing.assert_close(weights, results[0][1], rtol=0, atol=0)


@pytest.mark.parametrize("how", ["random", "negated"])
def test_without_the_filter_it_does(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = in_threads(4, partial(trained, faulty_ranks=0), monkeypatch)[0][1]
    broken = in_threads(4, partial(trained, faulty_ranks=0, breaks=BROKEN[how]), monkeypatch)[0][1]
    assert loss_of(broken) > loss_of(sound) + 0.1


def test_without_the_filter_what_are_no_numbers_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="gradient became nan"):
        in_threads(4, partial(trained, faulty_ranks=0, breaks=BROKEN["not numbers"]), monkeypatch)


def test_where_all_compute_nonsense_the_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x @ self.weight.T * math.nan)
    with pytest.raises(TrainingError, match="became nan"):
        in_threads(4, trained, monkeypatch)


def test_a_resumed_training_ends_as_one_that_was_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint, broken = tmp_path / "checkpoint.pt", BROKEN["negated"]
    with pytest.raises(KeyboardInterrupt):
        in_threads(4, partial(trained, breaks=broken, checkpoint=checkpoint, stop_after=2), monkeypatch)
    resumed = in_threads(4, partial(trained, breaks=broken, checkpoint=checkpoint), monkeypatch)
    whole = in_threads(4, partial(trained, breaks=broken), monkeypatch)
    torch.testing.assert_close(resumed[0][1], whole[0][1], rtol=0, atol=0)


def test_a_process_alone_is_not_filtered() -> None:
    filtered, plain = trained(ALONE), trained(ALONE, faulty_ranks=0)
    assert filtered[0] == plain[0]
    torch.testing.assert_close(filtered[1], plain[1], rtol=0, atol=0)


def test_who_is_left_out_of_nearly_every_batch_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nas.training.kardam._FEWEST_BATCHES", 2)
    with caplog.at_level(logging.WARNING):
        in_threads(4, partial(trained, breaks=BROKEN["random"]), monkeypatch)
    assert "the gradients of process 2 were left out of 2 of 2 batches" in caplog.text
    caplog.clear()
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING):
        in_threads(4, trained, monkeypatch)
    assert "left out" not in caplog.text


def test_too_few_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        StudyError, match="faulty_ranks=1 and 3 processes train together: at least 4 are needed"
    ):
        in_threads(3, trained, monkeypatch)
