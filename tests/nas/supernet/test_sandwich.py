from __future__ import annotations

import pytest
import torch
from fakes import tiny_network

from nas import SandwichRule
from nas.errors import StudyError
from nas.space import Architecture
from nas.supernet import Supernet
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.testing import check_supernet_training
from nas.training import Losses, Recipe

CLASSES = Classification(10)


def backward(losses: Losses) -> None:
    for loss in losses:
        loss.backward()


def trained_architectures(supernet: Supernet, num_random: int) -> list[Architecture]:
    """Run one step and return the architectures that were run, in order."""
    run: list[Architecture] = []
    handle = supernet.register_forward_pre_hook(lambda *_: run.append(supernet.architecture))
    step = sandwich_step(supernet, CLASSES, Recipe(epochs=1), num_random=num_random)
    backward(step(torch.randn(8, 1, 8, 8), torch.arange(8), torch.Generator().manual_seed(0)))
    handle.remove()
    return run


def test_a_step_trains_largest_smallest_and_random_ones() -> None:
    supernet = Supernet(tiny_network())
    run = trained_architectures(supernet, num_random=3)
    assert len(run) == 5
    assert run[0] == supernet.space.largest()
    assert run[-1] == supernet.space.smallest()
    assert supernet.architecture == supernet.space.largest()


def test_random_ones_come_from_the_generator() -> None:
    supernet = Supernet(tiny_network())
    torch.manual_seed(1)
    first = trained_architectures(supernet, num_random=4)
    torch.manual_seed(2)
    assert trained_architectures(supernet, num_random=4) == first


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    supernet = Supernet(tiny_network())
    trained_architectures(supernet, num_random=0)
    for name, parameter in supernet.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_gradients_of_the_subnets_add_up() -> None:
    torch.manual_seed(0)
    supernet = Supernet(tiny_network())
    images, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    step = sandwich_step(supernet, CLASSES, Recipe(epochs=1, label_smoothing=0.0), num_random=0)
    backward(step(images, labels, torch.Generator()))
    ours = [p.grad.clone() for p in supernet.parameters()]  # type: ignore[union-attr]
    supernet.zero_grad()
    with supernet.active(supernet.space.largest()):
        logits = supernet(images)
        torch.nn.functional.cross_entropy(logits, labels).backward()
    with supernet.active(supernet.space.smallest()):
        torch.nn.functional.cross_entropy(supernet(images), logits.detach().softmax(1)).backward()
    theirs = [p.grad for p in supernet.parameters()]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("num_random", [0, 2])
def test_the_contract_is_kept(num_random: int) -> None:
    check_supernet_training(SandwichRule(num_random))


def test_a_negative_number_of_random_ones_is_refused() -> None:
    with pytest.raises(StudyError, match="num_random="):
        SandwichRule(num_random=-1)
