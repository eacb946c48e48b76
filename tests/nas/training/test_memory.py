from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from short_training import CPU, blobs, equal, plain, weights
from torch import Tensor

from nas.errors import TrainingError
from nas.splits import Split
from nas.tasks import Classification
from nas.training import ALONE, Losses, Recipe, Step, make_supervised_step, train
from nas.training.loop import _Loop
from nas.training.memory import out_of_memory

CLASSES = Classification(10)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=["cuda", "cpu", "python", "driver", "cublas", "cudnn"],
)
def test_out_of_memory_says_which_batch_size_to_try(error: Exception) -> None:
    def step(_images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        raise error
        yield

    recipe = Recipe(epochs=1, batch_size=32, halve_on_oom=True)  # which a CPU doesn't do
    with pytest.raises(
        TrainingError, match=r"32 images at a time: try accumulate=2.*batch_size=16"
    ) as caught:
        train(plain(), step, blobs(), recipe, seed=0, device=CPU)
    assert "\n" not in str(caught.value)
    assert "halve_on_oom" not in str(caught.value)


def test_halving_is_advised_where_it_can_be_done() -> None:
    assert "halve_on_oom=True" in str(out_of_memory(32, 32, 1, halves=True))
    assert "halve_on_oom" not in str(out_of_memory(32, 32, 1, halves=False))


@pytest.mark.parametrize(
    ("batch_size", "accumulate"), [(3, 2), (3, 1), (2, 2), (1, 1), (8, 8), (9, 3), (8, 2)]
)
def test_what_is_advised_when_memory_runs_out_can_be_done(batch_size: int, accumulate: int) -> None:
    recipe, seen = Recipe(epochs=1, batch_size=batch_size, accumulate=accumulate), 0

    def step(images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        nonlocal seen
        seen = len(images)
        raise MemoryError
        yield

    with pytest.raises(TrainingError) as caught:
        train(plain(), step, blobs(), recipe, seed=0, device=CPU)
    advised = re.search(r"accumulate=(\d+).*batch_size=(\d+)", str(caught.value))
    assert (advised is None) == (seen < 4)
    if advised is not None:
        dataclasses.replace(recipe, accumulate=int(advised[1]))
        dataclasses.replace(recipe, batch_size=int(advised[2]))


@pytest.mark.parametrize("place", ["nn.Module.to", "optim.AdamW.step", "optim.swa_utils.deepcopy"])
def test_out_of_memory_apart_from_the_images_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The weights, the optimizer's moments, the average."""

    def full(*_args: object, **_settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    model, recipe = plain(), Recipe(epochs=1, ema_decay=0.9)
    monkeypatch.setattr(f"torch.{place}", full)
    with pytest.raises(TrainingError, match="a smaller largest network, or another device") as caught:
        train(model, make_supervised_step(model, CLASSES, recipe), blobs(), recipe, seed=0, device=CPU)
    assert "\n" not in str(caught.value)


def test_images_that_do_not_fit_the_device_go_batch_by_batch() -> None:
    class Large(Split):
        def to(self, device: torch.device) -> Split:
            raise torch.OutOfMemoryError(f"too large for {device}")

    data, results = blobs(), []
    for split in (data, Large(data.inputs, data.targets)):
        model, recipe = plain(), Recipe(epochs=2, batch_size=16)
        train(model, make_supervised_step(model, CLASSES, recipe), split, recipe, seed=0, device=CPU)
        results.append(weights(model))
    assert equal(*results)


def test_other_runtime_errors_pass_through() -> None:
    def step(_images: Tensor, _labels: Tensor, _generator: torch.Generator) -> Losses:
        raise RuntimeError("shapes don't fit")
        yield

    with pytest.raises(RuntimeError, match="shapes don't fit"):
        train(plain(), step, blobs(), Recipe(epochs=1), seed=0, device=CPU)


def test_halving_takes_smaller_parts_until_they_fit_and_ends_as_those_would() -> None:
    """The loop's own answer to a GPU's error; the device alone is pretended."""
    results = []
    for accumulate, limit in ((4, 16), (1, 4)):
        model = plain()
        recipe = Recipe(epochs=2, batch_size=16, accumulate=accumulate, halve_on_oom=True)
        inner = make_supervised_step(model, CLASSES, recipe)

        def step(
            images: Tensor,
            labels: Tensor,
            generator: torch.Generator,
            limit: int = limit,
            inner: Step = inner,
        ) -> Losses:
            if len(images) > limit:
                raise torch.OutOfMemoryError("too many")
            yield from inner(images, labels, generator)

        loop = _Loop(model, step, recipe, 48, CPU, ALONE)
        loop.division._may_halve = True
        generator = torch.Generator().manual_seed(0)
        for rows in torch.arange(48).split(16):
            loop.batch(blobs(48), rows, generator)
        results.append(weights(model))
    assert equal(*results)
