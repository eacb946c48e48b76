"""The contract of a supernet training recipe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.choices import choice
from nas.evaluation.from_scratch import fresh_network
from nas.supernet import elastic
from nas.tasks import Classification
from nas.training import Recipe, Step
from nas.training.phases import SupernetTraining


def check_supernet_training(training: SupernetTraining) -> None:
    """Check that a recipe trains what it is given, in steps that depend on the generator alone.

    The weights may change by the gradients of its losses and in no other way.
    """
    assert isinstance(training, SupernetTraining), f"{training!r} has no phases()"
    assert " at 0x" not in repr(training), "repr must tell the settings: make it a frozen dataclass"
    recipe = Recipe(epochs=8, batch_size=4)
    supernet = fresh_network(_elastic_network, 0)
    before = {name: value.clone() for name, value in supernet.named_parameters()}
    phases = training.phases(supernet, recipe, Classification(3))
    assert sum(phase.recipe.epochs for phase in phases) in (0, recipe.epochs), (
        "phases must share out the epochs"
    )
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(4, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 0])
    for phase in phases:
        step = phase.step()
        runs = [_losses(step, images, labels), _losses(step, images, labels)]
        assert runs[0], f"the step of phase {phase.name!r} yields no loss"
        assert runs[0] == runs[1], f"phase {phase.name!r} draws from something else than the generator"
        assert supernet.architecture == supernet.space.largest(), (
            "a step must leave the active subnet as it was"
        )
    for name, value in supernet.named_parameters():
        assert torch.equal(value, before[name]), f"a step changed {name} itself: the training loop does that"


def _elastic_network() -> nn.Module:
    width = choice("width", 2, 4)
    return nn.Sequential(
        elastic.Conv2d(1, width, choice("kernel", 1, 3), padding="same"),
        elastic.BatchNorm2d(width),
        elastic.Repeat(lambda _: elastic.Conv2d(width, width, 1), times=choice("depth", 0, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, 3),
    )


def _losses(step: Step, images: Tensor, labels: Tensor) -> list[float]:
    losses = []
    for loss in step(images, labels, torch.Generator().manual_seed(2)):
        assert loss.ndim == 0, "a step must yield scalars"
        assert bool(loss.isfinite()), "a step must yield finite losses"
        loss.backward()
        losses.append(loss.item())
    return losses
