from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lessons import CLASSES, RECIPE, items, linears
from short_training import CPU, StopError, blobs, equal, fresh, stop_after, weights
from torch import Tensor, nn

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
    train,
)

METHODS = [Hinton(), Hinton(4.0, 0.9), BalancedDistillation(2.0), CurriculumDistillation(2.0)]


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
