from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from short_training import CPU, StopError, blobs, equal, fresh, stop_after, weights
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import StudyError, TrainingError
from nas.splits import Split
from nas.task import Probabilistic, Task
from nas.tasks import Classification, MultiLabel, Regression, SemanticSegmentation
from nas.testing import check_distillation
from nas.training import (
    BalancedDistillation,
    CurriculumDistillation,
    Distillation,
    Hinton,
    Mixup,
    Recipe,
    distillation_step,
    train,
)
from nas.training.distillation.curriculum import experts_by_difficulty

CLASSES = Classification(3)
RECIPE = Recipe(epochs=1, label_smoothing=0.0)
METHODS = [Hinton(), Hinton(4.0, 0.9), BalancedDistillation(2.0), CurriculumDistillation(2.0)]


def linears(count: int) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(4, 3).eval() for _ in range(count)]


def items(count: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 4), torch.arange(count) % 3


def losses_of(method: Distillation, student: nn.Module, teachers: Sequence[nn.Module]) -> list[Tensor]:
    return list(method.lesson(student, teachers, CLASSES, RECIPE).step(*items(), torch.Generator()))


def test_hinton_is_the_plain_step_by_default() -> None:
    student, small, large = linears(3)
    (loss,) = losses_of(Hinton(), student, [small, large])
    (plain,) = distillation_step(student, large, CLASSES, RECIPE)(*items(), torch.Generator())
    images, labels = items()
    outputs = student(images)
    halves = (
        F.cross_entropy(outputs, labels) + F.cross_entropy(outputs, large(images).softmax(1).detach())
    ) / 2
    assert torch.equal(loss, plain)
    assert torch.equal(loss, halves)  # bit for bit
    assert torch.equal(
        *(torch.autograd.grad(value, student.weight, retain_graph=True)[0] for value in (loss, halves))
    )


def test_a_temperature_softens_both_and_its_square_makes_up_for_it() -> None:
    student, teacher = linears(2)
    (loss,) = losses_of(Hinton(temperature=4.0, weight=0.9), student, [teacher])
    images, labels = items()
    outputs, taught = student(images), teacher(images)
    soft = F.cross_entropy(outputs / 4, (taught / 4).softmax(1)) * 16
    assert torch.allclose(loss, 0.1 * F.cross_entropy(outputs, labels) + 0.9 * soft)


def test_balanced_divergences_follow_who_is_more_certain() -> None:
    student, teacher = linears(2)
    loss, of_teacher = losses_of(BalancedDistillation(weight=1.0, balance=1.0), student, [teacher])
    p, q = (network(items()[0]).softmax(1) for network in (student, teacher))
    forward, reverse = (q * (q / p).log()).sum(1), (p * (p / q).log()).sum(1)
    too_certain = -(p * p.log()).sum(1) < -(q * q.log()).sum(1)
    assert 0 < too_certain.sum() < len(too_certain)
    assert torch.allclose(loss, torch.where(too_certain, forward, reverse).mean(), atol=1e-6)
    assert torch.allclose(of_teacher, reverse.mean(), atol=1e-6)


def test_each_of_two_that_learn_together_is_constant_to_the_other() -> None:
    student, teacher = linears(2)
    before = teacher.weight.detach().clone()
    lesson = BalancedDistillation().lesson(student, [teacher], CLASSES, RECIPE)
    own, copied = lesson.module.children()
    step = lesson.step(*items(), torch.Generator())
    next(step).backward()
    assert own.weight.grad is not None
    assert copied.weight.grad is None
    gradient = own.weight.grad.clone()
    next(step).backward()
    assert copied.weight.grad is not None
    assert torch.equal(own.weight.grad, gradient)
    train(lesson.module, lesson.step, Split(*items()), RECIPE, seed=0, device=CPU)
    assert own is student
    assert torch.equal(teacher.weight, before)
    assert not torch.equal(copied.weight, before)


def test_difficult_items_have_large_teachers() -> None:
    difficulty = torch.tensor([0.3, 0.1, 0.9, 0.5, 0.2, 0.4, 0.8])
    assert experts_by_difficulty(difficulty, 3).tolist() == [0, 0, 2, 1, 0, 1, 2]
    assert experts_by_difficulty(difficulty, 1).tolist() == [0] * 7
    assert experts_by_difficulty(difficulty[:2], 3).tolist() == [1, 0]


def test_each_item_learns_from_its_own_teacher() -> None:
    student, *teachers = linears(4)
    (loss,) = losses_of(CurriculumDistillation(temperature=2.0, weight=1.0), student, teachers)
    images, labels = items()
    outputs = student(images)
    ranks = F.cross_entropy(outputs, labels, reduction="none").argsort().argsort()
    taught = torch.stack([teachers[rank // 3](images[row]) for row, rank in enumerate(ranks.tolist())])
    expected = F.cross_entropy(outputs / 2, (taught / 2).softmax(1)) * 4
    assert torch.allclose(loss, expected)


TASKS: list[tuple[Task, Tensor, Tensor]] = [
    (Classification(4), torch.arange(6) % 4, torch.zeros(6, 4)),
    (MultiLabel(4), torch.ones(6, 4), torch.zeros(6, 4)),
    (Regression(2), torch.ones(6, 2), torch.zeros(6, 2)),
    (SemanticSegmentation(4), torch.arange(24).view(6, 2, 2) % 4, torch.zeros(6, 4, 2, 2)),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize(("task", "targets", "outputs"), TASKS, ids=[type(row[0]).__name__ for row in TASKS])
@pytest.mark.parametrize("mix", [None, Mixup()])
def test_methods_are_for_all_tasks_whose_outputs_they_understand(
    method: Distillation, task: Task, targets: Tensor, outputs: Tensor, mix: Mixup | None
) -> None:
    class Constant(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = nn.Parameter(outputs + value * torch.randn(outputs.shape))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.value[: len(inputs)]

    student, *teachers = (Constant(value).eval() for value in (1.0, 2.0, 3.0))
    recipe = Recipe(epochs=1, mix=mix)
    if isinstance(method, BalancedDistillation) and not isinstance(task, Probabilistic):
        with pytest.raises(StudyError, match=r"a value of type Regression has none: use Hinton\(\)"):
            method.lesson(student, teachers, task, recipe)
        return
    lesson = method.lesson(student, teachers, task, recipe)
    for loss in lesson.step(torch.randn(6, 3), targets, torch.Generator()):
        assert loss.isfinite()
        assert loss.ndim == 0
        loss.backward()
    assert student.value.grad is not None
    assert teachers[-1].value.grad is None


@pytest.mark.parametrize("task", [Classification(3), MultiLabel(3), SemanticSegmentation(3)], ids=str)
def test_divergences_of_the_same_are_0_and_of_others_positive(task: Any) -> None:
    assert isinstance(task, Probabilistic)
    shape = (5, 3, 2, 2) if isinstance(task, SemanticSegmentation) else (5, 3)
    outputs, others = torch.randn(shape), torch.randn(shape)
    assert torch.allclose(task.divergences(outputs, outputs), torch.zeros(5), atol=1e-6)
    assert (task.divergences(outputs, others) > 0).all()
    assert task.entropies(outputs).shape == (5,)
    # Imitation is the cross-entropy: the divergence, and what the teacher is uncertain of anyway.
    expected = (task.divergences(others, outputs) + task.entropies(others)).mean()
    assert torch.allclose(task.imitation(outputs, others), expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_teacher_of_another_task_is_told(method: Distillation) -> None:
    student, teacher = linears(1)[0], nn.Linear(4, 5).eval()
    lesson = method.lesson(student, [teacher], CLASSES, RECIPE)
    with pytest.raises(TrainingError, match=r"outputs of shape \(9, 5\).*a teacher of the same task"):
        train(lesson.module, lesson.step, Split(*items()), RECIPE, seed=0, device=CPU)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_distillation_resumes_bit_for_bit(tmp_path: Path, method: Distillation) -> None:
    recipe = Recipe(epochs=3, batch_size=16)

    def taught(checkpoint: Path | None = None, stop: int = 0) -> dict[str, Tensor]:
        student, small, large = fresh(dropout=True), fresh().eval(), fresh().eval()
        with torch.no_grad():
            large.get_submodule("5").weight.mul_(3)  # type: ignore[operator]
        lesson = method.lesson(student, [small, large], Classification(2), recipe)
        train(
            lesson.module,
            lesson.step,
            blobs(),
            recipe,
            seed=1,
            device=CPU,
            checkpoint=checkpoint,
            on_epoch=stop_after(stop),
        )
        assert not student.training
        return weights(lesson.module)

    expected = taught()
    with pytest.raises(StopError):
        taught(tmp_path / "checkpoint.pt", stop=2)
    assert equal(taught(tmp_path / "checkpoint.pt"), expected)


@pytest.mark.parametrize("kind", [Hinton, BalancedDistillation, CurriculumDistillation])
@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0}, {"temperature": float("nan")}, {"weight": 0}, {"weight": 1.1}, {"weight": "half"}],
    ids=str,
)
def test_settings_are_checked(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{kind.__name__} has .*{next(iter(settings))}="):
        kind(**settings)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_methods_keep_their_contract(method: Distillation) -> None:
    check_distillation(method)


def test_a_balance_is_for_the_larger_share() -> None:
    with pytest.raises(StudyError, match=r"balance=0.4: 0.5 to 1"):
        BalancedDistillation(balance=0.4)
