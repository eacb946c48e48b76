from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from short_training import CPU, StopError, blobs, equal, fresh, stop_after, weights
from torch import nn

from nas.errors import StudyError, TrainingError
from nas.inputs import Inputs
from nas.splits import Split
from nas.supernet import Supernet
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification, Regression, SemanticSegmentation
from nas.training import Batch, CutMix, Mix, Mixup, Recipe, make_supervised_step, prepare_batch, train
from nas.training.mixing import imitate

CLASSES = Classification(2)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_mixup_adds_items_and_their_losses_with_the_same_shares() -> None:
    images, labels = torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 1, 0, 1])
    batch = Mixup(1.0).mix(images, labels, rng())
    (share, own), (rest, others) = batch.targets
    assert share + rest == pytest.approx(1)
    assert torch.equal(own, labels)
    assert torch.equal(others, labels.roll(1))
    assert isinstance(batch.inputs, torch.Tensor)
    assert torch.allclose(batch.inputs, share * images + rest * images.roll(1, 0))
    outputs = torch.randn(5, 2)
    expected = share * CLASSES.loss(outputs, labels) + rest * CLASSES.loss(outputs, labels.roll(1))
    assert torch.allclose(batch.loss(CLASSES, outputs), expected)
    assert torch.allclose(batch.item_losses(CLASSES, outputs).mean(), expected)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_weighs_losses_by_the_area_that_was_pasted(seed: int) -> None:
    images = torch.arange(3.0)[:, None, None, None].expand(3, 1, 6, 8).clone()
    batch = CutMix().mix(images, torch.arange(3), np.random.default_rng(seed))
    (share, _), (rest, others) = batch.targets
    assert isinstance(batch.inputs, torch.Tensor)
    assert torch.equal(others, torch.tensor([2, 0, 1]))
    assert (batch.inputs[1] == 1).float().mean().item() == pytest.approx(share)
    assert (batch.inputs[1] == 0).float().mean().item() == pytest.approx(rest)


def test_cutmix_cuts_masks_with_their_images() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 8).clone()
    masks = images[:, 0].long()
    batch = CutMix().mix(images, masks, rng())
    ((weight, mixed),) = batch.targets
    assert weight == 1
    assert isinstance(batch.inputs, torch.Tensor)
    assert torch.equal(mixed, batch.inputs[:, 0].long())
    assert not torch.equal(mixed, masks)
    assert batch.loss(SemanticSegmentation(4), torch.randn(4, 4, 8, 8)).isfinite()


def test_mixup_is_for_every_task_and_for_several_inputs() -> None:
    inputs = (torch.randn(4, 3), torch.randn(4, 2))
    batch = Mixup().mix(inputs, torch.randn(4, 1), rng())
    assert [tensor.shape for tensor in batch.inputs] == [(4, 3), (4, 2)]
    assert batch.loss(Regression(), torch.randn(4, 1)).isfinite()


@pytest.mark.parametrize(
    ("mix", "inputs"),
    [
        (Mixup(), torch.ones(4, 7, dtype=torch.int64)),
        (Mixup(), (torch.ones(4, 7), torch.ones(4, 7, dtype=torch.int64))),
        (CutMix(), torch.ones(4, 7)),
        (CutMix(), torch.ones(4, 1, 7, 7, dtype=torch.int64)),
        (CutMix(), (torch.ones(4, 1, 7, 7), torch.ones(4, 1, 7, 7))),
    ],
    ids=str,
)
def test_what_cannot_be_blended_is_refused(mix: Mix, inputs: Inputs) -> None:
    with pytest.raises(StudyError, match=r"recipe's mix .* leave mix out"):
        mix.mix(inputs, torch.zeros(4), rng())


def test_ids_are_refused_by_the_training_in_one_sentence() -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Flatten())
    recipe = Recipe(epochs=1, mix=Mixup())
    data = Split(torch.ones(4, 1, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(StudyError, match="ids and no amounts"):
        train(model, make_supervised_step(model, CLASSES, recipe), data, recipe, seed=0, device=CPU)


@pytest.mark.parametrize("alpha", [0, -1.0, float("inf"), float("nan"), "much", None])
@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_alpha_is_a_positive_number(kind: Any, alpha: Any) -> None:
    with pytest.raises(StudyError, match="alpha"):
        kind(alpha)


@pytest.mark.parametrize("mix", [Mixup, 0.2, "mixup"])
def test_a_recipe_mixes_with_something_that_mixes(mix: Any) -> None:
    with pytest.raises(StudyError, match=r"Recipe has mix=.*Mixup\(0.2\)"):
        Recipe(epochs=1, mix=mix)


def test_without_mix_nothing_is_drawn_and_nothing_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    before, images, labels = generator.get_state(), torch.randn(4, 1), torch.zeros(4)
    batch = prepare_batch(images, labels, Recipe(epochs=1), generator)
    assert batch.inputs is images
    assert batch.targets[0][1] is labels
    assert torch.equal(generator.get_state(), before)


def test_what_is_drawn_does_not_depend_on_how_many_items_there_are() -> None:
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    shares = [
        prepare_batch(torch.randn(count, 2), torch.zeros(count), Recipe(1, mix=Mixup()), generator).targets[
            0
        ][0]
        for count, generator in zip((3, 8), generators, strict=True)
    ]
    assert shares[0] == shares[1]
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("mix", [Mixup(), CutMix()], ids=str)
def test_a_mixed_training_resumes_bit_for_bit(tmp_path: Path, mix: Mix) -> None:
    recipe = Recipe(epochs=3, batch_size=16, mix=mix)

    def trained(checkpoint: Path | None = None, stop: int = 0) -> dict[str, torch.Tensor]:
        model = fresh(dropout=True)
        step = make_supervised_step(model, CLASSES, recipe)
        train(
            model,
            step,
            blobs(),
            recipe,
            seed=1,
            device=CPU,
            checkpoint=checkpoint,
            on_epoch=stop_after(stop),
        )
        return weights(model)

    expected = trained()
    with pytest.raises(StopError):
        trained(tmp_path / "checkpoint.pt", stop=1)
    assert equal(trained(tmp_path / "checkpoint.pt"), expected)


def test_a_supernet_learns_from_mixed_batches() -> None:
    from fakes import tiny_network

    torch.manual_seed(0)
    supernet, seen = Supernet(tiny_network(classes=2)), []

    class Spy:
        def mix(self, inputs: Inputs, targets: torch.Tensor, rng: np.random.Generator) -> Batch:
            seen.append(len(targets))
            return Mixup().mix(inputs, targets, rng)

    recipe = Recipe(epochs=1, batch_size=25, mix=Spy())
    train(supernet, sandwich_step(supernet, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)
    assert seen == [25, 25]


class WithoutSmoothing:
    """A task whose loss takes no label smoothing, and whose imitation takes nothing."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.mean()

    def imitation(self) -> torch.Tensor:
        return torch.zeros(())


@pytest.mark.parametrize(
    ("outputs", "said"), [(torch.zeros(2, 3), r"shape \(2, 3\)"), ((1, 2), "a value of type tuple")]
)
def test_a_task_that_fails_in_training_is_named(outputs: Any, said: str) -> None:
    task: Any = WithoutSmoothing()
    with pytest.raises(TrainingError, match=rf"^loss\(\) of the task WithoutSmoothing .*{said}.*check_task"):
        Batch((), ((1.0, torch.zeros(2)),)).loss(task, outputs, 0.05)
    with pytest.raises(
        TrainingError, match=rf"^imitation\(\) of the task WithoutSmoothing .*{said}.*check_task"
    ):
        imitate(task, outputs, torch.zeros(2, 3))


def test_memory_that_runs_out_in_a_loss_is_no_fault_of_the_task() -> None:
    class Large(WithoutSmoothing):
        def loss(self, *_arguments: object) -> torch.Tensor:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Batch((), ((1.0, torch.zeros(2)),)).loss(Large(), torch.zeros(2, 3))  # type: ignore[arg-type]
