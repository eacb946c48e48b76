from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_network
from short_training import CPU, StopError, blobs, equal, fresh, plain, rates, stop_after, trained, weights
from torch import Tensor, nn
from torchvision.transforms import v2

from nas.errors import StudyError, TrainingError
from nas.splits import Split
from nas.supernet import Supernet
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.training import ALONE, Losses, Ranks, Recipe, Step, make_supervised_step, train
from nas.training.loop import _Loop
from nas.training.optimization import average_model

CLASSES = Classification(10)

SHAKE = v2.RandomAffine(degrees=10, translate=(0.1, 0.1))


def byte_blobs() -> Split:
    """The same as bytes, to be normalised per batch."""
    data = blobs()
    return Split((data.inputs * 25 + 100).clamp(0, 255).to(torch.uint8), data.targets, (125.0,), (35.0,))


OPTIONS = [
    {},
    {"accumulate": 3},
    {"precision": "bfloat16"},
    {"ema_decay": 0.8},
    {"accumulate": 2, "precision": "bfloat16", "ema_decay": 0.9},
]


@pytest.mark.parametrize("supernet", [False, True])
@pytest.mark.parametrize("stops", [[1], [1, 2, 3]])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, supernet: bool, stops: list[int], options: dict[str, Any]
) -> None:
    recipe = Recipe(epochs=4, batch_size=16, augment=SHAKE, **options)
    expected = trained(recipe, supernet=supernet)
    checkpoint = tmp_path / "checkpoint.pt"
    for epoch in stops:
        torch.manual_seed(epoch)  # the global generator must not matter
        with pytest.raises(StopError):
            trained(recipe, supernet=supernet, checkpoint=checkpoint, on_epoch=stop_after(epoch))
    resumed = trained(recipe, supernet=supernet, checkpoint=checkpoint)
    assert equal(resumed[0], expected[0])
    assert resumed[1] == expected[1]


def test_augmented_bytes_resume_bit_for_bit(tmp_path: Path) -> None:
    colours = v2.Compose([SHAKE, v2.ColorJitter(brightness=0.3, contrast=0.3)])
    recipe, checkpoint = Recipe(epochs=2, batch_size=16, augment=colours), tmp_path / "checkpoint.pt"
    expected = trained(recipe, data=byte_blobs())
    with pytest.raises(StopError):
        trained(recipe, data=byte_blobs(), checkpoint=checkpoint, on_epoch=stop_after(1))
    assert equal(trained(recipe, data=byte_blobs(), checkpoint=checkpoint)[0], expected[0])


def test_bytes_are_augmented_before_they_are_normalised() -> None:
    unchanged = v2.ColorJitter(brightness=(1.0, 1.0001))
    weights_of = []
    for augment in (None, unchanged):
        model, recipe = fresh(), Recipe(epochs=1, batch_size=16, augment=augment)
        train(model, make_supervised_step(model, CLASSES, recipe), byte_blobs(), recipe, seed=0, device=CPU)
        weights_of.append(weights(model))
    assert equal(*weights_of)


def test_a_step_that_dies_in_the_middle_of_an_epoch_loses_that_epoch_alone(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=16)
    expected = trained(recipe)
    model, checkpoint, calls = fresh(dropout=True), tmp_path / "checkpoint.pt", 0
    inner = make_supervised_step(model, CLASSES, recipe)

    def dying(images: Tensor, labels: Tensor, generator: torch.Generator) -> Losses:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise StopError
        yield from inner(images, labels, generator)

    with pytest.raises(TrainingError, match="training on 16 inputs failed"):
        train(model, dying, blobs(), recipe, seed=1, device=CPU, checkpoint=checkpoint)
    resumed = trained(recipe, checkpoint=checkpoint)
    assert equal(resumed[0], expected[0])


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    recipe, checkpoint = Recipe(epochs=2, batch_size=16), tmp_path / "checkpoint.pt"
    first = trained(recipe, checkpoint=checkpoint)
    epochs: list[int] = []
    again = trained(recipe, checkpoint=checkpoint, on_epoch=lambda epoch, _: epochs.append(epoch))
    assert equal(first[0], again[0])
    assert first[1] == again[1]
    assert epochs == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    recipe = Recipe(epochs=2, batch_size=16, augment=SHAKE)
    torch.manual_seed(5)
    first = trained(recipe)[0]
    assert equal(first, trained(recipe)[0])
    assert not equal(first, trained(recipe, seed=2)[0])


def test_training_leaves_the_global_generator_alone() -> None:
    model, recipe = fresh(dropout=True), Recipe(epochs=1, augment=SHAKE)
    torch.manual_seed(42)
    expected = torch.rand(3)
    torch.manual_seed(42)
    train(model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)
    assert torch.equal(torch.rand(3), expected)


def test_training_learns_and_ends_in_evaluation_mode() -> None:
    model, recipe, data = fresh(), Recipe(epochs=10, batch_size=16), blobs()
    losses = train(model, make_supervised_step(model, CLASSES, recipe), data, recipe, seed=0, device=CPU)
    assert len(losses) == 10
    assert losses[-1] < losses[0] / 2
    assert not model.training
    assert (model(data.inputs).argmax(1) == data.targets).float().mean() > 0.95


def test_a_supernet_learns_in_all_its_subnets() -> None:
    torch.manual_seed(0)
    supernet, recipe, data = Supernet(tiny_network(classes=2)), Recipe(epochs=12, batch_size=10), blobs()
    train(supernet, sandwich_step(supernet, CLASSES, recipe), data, recipe, seed=0, device=CPU)
    for architecture in (supernet.space.smallest(), supernet.space.largest()):
        with supernet.active(architecture):
            supernet.train()
            assert (supernet(data.inputs).argmax(1) == data.targets).float().mean() > 0.9


def test_a_nan_loss_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    recipe, checkpoint = Recipe(epochs=4, batch_size=25), tmp_path / "checkpoint.pt"
    model = fresh()
    inner, calls = make_supervised_step(model, CLASSES, recipe), 0

    def diverging(images: Tensor, labels: Tensor, generator: torch.Generator) -> Losses:
        nonlocal calls
        calls += 1
        for loss in inner(images, labels, generator):
            yield loss * math.nan if calls == 5 else loss

    with pytest.raises(TrainingError, match=r"loss became nan in epoch 3 of 4.*learning_rate") as caught:
        train(model, diverging, blobs(), recipe, seed=0, device=CPU, checkpoint=checkpoint)
    assert "\n" not in str(caught.value)
    saved = torch.load(checkpoint, weights_only=True)
    assert len(saved["losses"]) == 2
    assert all(value.isfinite().all() for value in saved["model"].values())


@pytest.mark.parametrize("max_grad_norm", [2.0, math.inf])
def test_a_later_loss_that_is_nan_stops_before_it_reaches_the_weights(
    tmp_path: Path, max_grad_norm: float
) -> None:
    recipe = Recipe(epochs=4, batch_size=25, max_grad_norm=max_grad_norm)
    model, checkpoint, calls = fresh(), tmp_path / "checkpoint.pt", 0

    def diverging(images: Tensor, labels: Tensor, _generator: torch.Generator) -> Losses:
        nonlocal calls
        calls += 1
        yield nn.functional.cross_entropy(model(images), labels)
        yield model(images).sum() * (math.nan if calls == 6 else 0.0)

    with pytest.raises(TrainingError, match=r"gradient became nan in epoch 3 of 4.*learning_rate"):
        train(model, diverging, blobs(), recipe, seed=0, device=CPU, checkpoint=checkpoint)
    assert len(torch.load(checkpoint, weights_only=True)["losses"]) == 2
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_gradients_that_overflow_are_scaled_by_less_until_that_does_not_help() -> None:
    """The loop's own answer to half precision; the device alone is pretended."""
    model, data = plain(), blobs(16)

    def step(images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        yield model(images).mean()
        yield model(images).mean() * math.nan

    loop = _Loop(model, step, Recipe(epochs=1), 16, CPU, ALONE)
    loop.optimization._scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before, generator = weights(model), torch.Generator().manual_seed(0)
    taken = [loop.batch(data, torch.arange(16), generator) for _ in range(3)]
    assert all(math.isfinite(one.loss) for one in taken)
    assert [one.gradient_norm for one in taken[:2]] == [None, None]
    assert [one.fault for one in taken] == [None, None, "the norm of the training loss's gradient became nan"]
    assert equal(weights(model), before)


def test_a_truly_diverging_training_is_told(tmp_path: Path) -> None:
    data = Split(torch.full((8, 1, 6, 6), math.nan), torch.zeros(8, dtype=torch.int64))
    model, recipe = fresh(), Recipe(epochs=1)
    with pytest.raises(TrainingError):
        train(model, make_supervised_step(model, CLASSES, recipe), data, recipe, seed=0, device=CPU)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 33])
def test_no_batch_of_one_image_unless_there_is_but_one(count: int) -> None:
    sizes: list[int] = []

    model = fresh()

    def step(images: Tensor, labels: Tensor, _generator: torch.Generator) -> Losses:
        sizes.append(len(images))
        assert len(images) == len(labels)
        yield 0 * model[0].weight.sum()  # type: ignore[operator]

    data = blobs(count)
    train(model, step, data, Recipe(epochs=1, batch_size=16), seed=0, device=CPU)
    assert sum(sizes) == count
    assert count == 1 or 1 not in sizes


def test_a_single_step_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    (rate,) = rates(monkeypatch, 16, 1)
    assert rate > Recipe(epochs=1).learning_rate / 10


def test_every_epoch_sees_every_image_once_in_another_order() -> None:
    seen: list[list[float]] = []

    model = fresh()

    def step(images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        seen.append(images[:, 0, 0, 0].tolist())
        yield 0 * model[0].weight.sum()  # type: ignore[operator]

    data = Split(torch.arange(20.0).reshape(20, 1, 1, 1).expand(20, 1, 6, 6).clone(), torch.zeros(20).long())
    train(model, step, data, Recipe(epochs=2, batch_size=20), seed=0, device=CPU)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(20))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("accumulate", [2, 3, 7])
def test_parts_of_a_batch_add_up_to_the_batch(accumulate: int) -> None:
    results = []
    for parts in (1, accumulate):
        model, recipe = plain(), Recipe(epochs=2, batch_size=16, accumulate=parts)
        losses = train(
            model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=1, device=CPU
        )
        results.append((weights(model), losses))
    (whole, losses), (in_parts, same_losses) = results
    assert losses == pytest.approx(same_losses, rel=1e-4)
    assert all(torch.allclose(whole[name], in_parts[name], atol=1e-4) for name in whole)


def test_every_part_of_a_batch_goes_through_the_same_subnets() -> None:
    draws: list[int] = []
    model = plain()

    def step(images: Tensor, _labels: Tensor, generator: torch.Generator) -> Losses:
        draws.append(int(torch.randint(10**9, (), generator=generator)))
        yield model(images).sum()

    train(model, step, blobs(32), Recipe(epochs=1, batch_size=16, accumulate=2), seed=0, device=CPU)
    assert draws[0] == draws[1]
    assert draws[2] == draws[3]
    assert draws[0] != draws[2]


def test_a_step_is_asked_for_a_loss_only_when_the_last_ones_gradients_are_taken() -> None:
    model = plain()
    seen: list[bool] = []

    def step(images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        yield model(images).sum()
        seen.append(model[0].weight.grad is not None)  # type: ignore[union-attr]
        yield model(images).sum()

    train(model, step, blobs(16), Recipe(epochs=1, batch_size=16), seed=0, device=CPU)
    assert seen == [True]


def test_the_average_is_what_remains_and_differs_from_the_last_weights() -> None:
    results = {}
    for decay in (None, 0.0, 0.9):
        model, recipe = fresh(), Recipe(epochs=2, batch_size=16, ema_decay=decay)
        train(model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=1, device=CPU)
        results[decay] = weights(model)
    floats = [name for name, value in results[None].items() if value.is_floating_point()]
    assert all(torch.allclose(results[None][name], results[0.0][name]) for name in floats)
    assert not torch.allclose(results[None]["0.weight"], results[0.9]["0.weight"])


def test_the_average_of_a_short_training_forgets_the_first_weights() -> None:
    model, recipe, data = fresh(), Recipe(epochs=10, batch_size=16, ema_decay=0.999), blobs()
    train(model, make_supervised_step(model, CLASSES, recipe), data, recipe, seed=0, device=CPU)
    assert (model(data.inputs).argmax(1) == data.targets).float().mean() > 0.95


def test_the_decay_grows_to_the_recipes() -> None:
    model = nn.Linear(1, 1, bias=False)
    average, expected = average_model(model, 0.25), 0.0
    for step, decay in enumerate((0.0, 2 / 11, 0.25, 0.25)):
        nn.init.constant_(model.weight, float(step))
        average.update_parameters(model)
        expected = decay * expected + (1 - decay) * step
        assert average.module.weight.item() == pytest.approx(expected)


def test_lower_precision_is_used_forwards_and_weights_stay_float32() -> None:
    model, recipe = plain(), Recipe(epochs=1, batch_size=16, precision="bfloat16")
    dtypes: set[torch.dtype] = set()
    model[0].register_forward_hook(lambda _m, _i, output: dtypes.add(output.dtype))  # type: ignore[operator]
    train(model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_half_precision_on_a_cpu_is_refused() -> None:
    model, recipe = plain(), Recipe(epochs=1, precision="float16")
    with pytest.raises(StudyError, match="use precision='bfloat16'"):
        train(model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)


def test_a_resumed_training_takes_the_recipes_parts_or_what_halving_made_of_them(tmp_path: Path) -> None:
    sizes: list[int] = []
    model, checkpoint = plain(), tmp_path / "checkpoint.pt"
    inner = make_supervised_step(model, CLASSES, Recipe(epochs=2))

    def step(images: Tensor, labels: Tensor, generator: torch.Generator) -> Losses:
        sizes.append(len(images))
        yield from inner(images, labels, generator)

    recipe = Recipe(epochs=3, batch_size=16, accumulate=2)
    for parts, epoch in ((2, 1), (4, 2), (1, 3)):
        changed = dataclasses.replace(recipe, accumulate=parts)
        with pytest.raises(StopError):
            train(
                model,
                step,
                blobs(16),
                changed,
                seed=0,
                device=CPU,
                checkpoint=checkpoint,
                on_epoch=stop_after(epoch),
            )
    assert sizes == [8, 8, 4, 4, 4, 4, 16]

    halving = dataclasses.replace(recipe, accumulate=1, halve_on_oom=True)
    loops = [_Loop(model, step, halving, 16, CPU, ALONE) for _ in range(2)]
    loops[0].division._accumulate = 4
    loops[0].save(checkpoint, torch.Generator(), [1.0])
    loops[1].division._may_halve = True  # the device alone is pretended
    loops[1].restore(checkpoint, torch.Generator())
    loops[1].batch(blobs(16), torch.arange(16), torch.Generator())
    assert sizes[7:] == [4] * 4


def test_the_averages_counter_is_not_shared_because_nccl_knows_no_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared: list[str] = []
    monkeypatch.setattr(
        Ranks, "share_buffers", lambda _, model: shared.extend(name for name, _ in model.named_buffers())
    )
    model, recipe = fresh(), Recipe(epochs=1, batch_size=16, ema_decay=0.9)
    train(
        model,
        make_supervised_step(model, CLASSES, recipe),
        blobs(),
        recipe,
        seed=0,
        device=torch.device("cpu"),
    )
    assert len(shared) == 2 * len(list(model.named_buffers()))
    assert "n_averaged" not in shared


def of(*losses: Callable[[Tensor], object]) -> Any:
    """Return what makes a step that yields losses of the outputs."""

    def made(model: nn.Module) -> Step:
        def step(images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
            for loss in losses:
                yield loss(model(images))  # type: ignore[misc]

        return step

    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (of(), "yielded no loss"),
        (of(lambda _outputs: 1.0), "yielded 1.0 as a loss"),
        (of(lambda outputs: outputs.sum(1)), "as a loss: a tensor of one float"),
        (of(lambda outputs: outputs.sum().long()), "as a loss: a tensor of one float"),
        (of(lambda outputs: outputs.sum().detach()), "doesn't depend on any parameter"),
        (
            of(lambda outputs: outputs.numpy()),
            r"training on 16 inputs failed \(RuntimeError: Can't call numpy",
        ),
        (of(lambda outputs: sys.exit(2)), r"failed \(SystemExit: 2\)"),
        (of(lambda outputs: next(iter(()))), "failed"),
        (lambda model: lambda images, labels, generator: model(images).sum(), "a generator of losses"),
        (lambda model: lambda images: None, r"failed \(TypeError"),
    ],
)
def test_a_step_that_gives_no_loss_is_a_sentence(made: Callable[[nn.Module], Step], message: str) -> None:
    model = fresh()
    with pytest.raises(TrainingError, match=message) as caught:
        train(
            model, made(model), blobs(), Recipe(epochs=1, batch_size=16), seed=0, device=torch.device("cpu")
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 8), (3, 1)])
def test_batch_norm_on_a_single_value_is_a_sentence(count: int, batch_size: int) -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 2))
    data = Split(torch.randn(count, 1, 4, 4), torch.zeros(count, dtype=torch.int64))
    recipe = Recipe(epochs=1, batch_size=batch_size)
    with pytest.raises(TrainingError, match="batch norm needs two values per channel"):
        train(
            model,
            make_supervised_step(model, CLASSES, recipe),
            data,
            recipe,
            seed=0,
            device=torch.device("cpu"),
        )


@pytest.mark.parametrize("count", [2, 3, 5, 9, 17])
def test_the_last_batch_of_an_epoch_is_never_a_single_input(count: int) -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 2))
    data = Split(torch.randn(count, 1, 4, 4), torch.zeros(count, dtype=torch.int64))
    recipe = Recipe(epochs=1, batch_size=4, accumulate=2)
    step = make_supervised_step(model, CLASSES, recipe)
    losses = train(model, step, data, recipe, seed=0, device=torch.device("cpu"))
    assert [math.isfinite(loss) for loss in losses] == [True]
