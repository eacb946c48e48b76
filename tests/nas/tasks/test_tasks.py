from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.errors import DataError
from nas.inputs import Form, InputSpec
from nas.task import Task
from nas.tasks import Classification, MultiLabel, Regression, SemanticSegmentation, SequenceToSequence
from nas.tasks.sequences import END, SPECIAL
from nas.testing import check_task

TASKS: dict[str, tuple[Task, Tensor, Tensor]] = {
    "classes": (Classification(3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])),
    "labels": (MultiLabel(3), torch.randn(4, 3), torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])),
    "numbers": (Regression(2), torch.randn(4, 2), torch.randn(4, 2)),
    "pixels": (
        SemanticSegmentation(3),
        torch.randn(4, 3, 5, 6),
        torch.randint(0, 3, (4, 5, 6), dtype=torch.uint8),
    ),
    "points": (SemanticSegmentation(3), torch.randn(4, 3, 7), torch.randint(0, 3, (4, 7))),
    "sequences": (
        SequenceToSequence((*SPECIAL, "a", "b")),
        torch.randn(4, 7, 3),
        torch.tensor([[5, 6, END], [END, 0, 0], [6, END, 0], [5, 4, END]]),
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_teaches_what_its_targets_say_and_what_a_teacher_does(name: str) -> None:
    task, start, targets = TASKS[name]
    assert isinstance(task, Task)
    assert task.fault(targets) is None
    assert task.fault(targets, start) is None
    teacher = torch.randn_like(start)
    for loss_of in (lambda o: task.loss(o, targets), lambda o: task.imitation(o, teacher)):
        outputs = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([outputs], lr=0.3)
        first = loss_of(outputs).item()
        for _ in range(200):
            optimizer.zero_grad()
            loss_of(outputs).backward()
            optimizer.step()
        assert loss_of(outputs).item() < first
    if outputs.ndim > 2:
        assert torch.equal(outputs.argmax(1), teacher.argmax(1))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_keeps_the_contract(name: str) -> None:
    pairs = InputSpec(("source", "answer"), ((6,), (3,)), (torch.int64, torch.int64))
    forms: dict[str, Form] = {"pixels": (3, 5, 6), "points": (7, 4), "sequences": pairs}
    check_task(TASKS[name][0], forms.get(name, (8,)), *TASKS[name][1:])


@pytest.mark.parametrize("name", TASKS)
def test_outputs_of_another_shape_are_told(name: str) -> None:
    task, outputs, targets = TASKS[name]
    fault = task.fault(targets[:1], outputs[:1, :1] if name != "numbers" else outputs[:1, :0])
    assert fault is not None
    assert "is expected" in fault


@pytest.mark.parametrize(
    ("task", "targets", "said"),
    [
        (Classification(3), torch.tensor([0, 3]), "targets go from 0 to 3"),
        (MultiLabel(3), torch.tensor([0, 2]), "0 or 1 for each label"),
        (MultiLabel(2), torch.tensor([[0, 2]]), "hold other numbers"),
        (Regression(1), torch.tensor([[1]]), "torch.float32 of shape"),
        (Regression(1), torch.tensor([[float("nan")]]), "finite numbers"),
        (SemanticSegmentation(3), torch.tensor([0, 1]), "class of each position"),
        (SemanticSegmentation(3), torch.full((2, 4), 3), "hold the value 3"),
        (SemanticSegmentation(3), torch.full((2, 4, 4), 255), "is ignored"),
        (SemanticSegmentation(3), torch.zeros(2, 4, 4), "torch.uint8 or torch.int64"),
        (SequenceToSequence((*SPECIAL, "a")), torch.tensor([1, 2]), "of shape (n, length)"),
        (SequenceToSequence((*SPECIAL, "a")), torch.tensor([[6, 3]]), "from 0 to 5"),
        (SequenceToSequence((*SPECIAL, "a")), torch.tensor([[5, 3], [5, 5]]), "no end"),
    ],
    ids=str,
)
def test_targets_of_another_task_are_told(task: Task, targets: Tensor, said: str) -> None:
    assert said in str(task.fault(targets))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Classification(1), "num_classes=1"),
        (lambda: Classification(3, ("a", "b")), "3 strings"),
        (lambda: MultiLabel(True), "num_classes=True"),
        (lambda: Regression(0), "num_values=0"),
        (lambda: Regression(2, ("x",)), "a name for each"),
        (lambda: SemanticSegmentation(3, ignore_index=2), "ignore_index=2"),
        (lambda: SemanticSegmentation(3, class_weights=(1.0, 2.0)), "3 numbers of 0 or more"),
        (lambda: SemanticSegmentation(2, class_weights=(1.0, float("nan"))), "2 numbers of 0 or more"),
        (lambda: SemanticSegmentation(2, class_weights=(0.0, 0.0)), "not all 0"),
        (lambda: SequenceToSequence(("a", "b")), "begins with"),
        (lambda: SequenceToSequence(SPECIAL), "holds more"),
        (lambda: SequenceToSequence((*SPECIAL, "a", "a")), "twice"),
    ],
)
def test_a_task_that_can_not_be_is_refused(make: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        make()


@pytest.mark.parametrize(
    ("task", "shape", "dtype", "tag", "item"),
    [
        (Classification(3), (3, 8, 8), torch.float32, "image-classification", "image"),
        (Classification(3), (12,), torch.int64, "text-classification", "text"),
        (Classification(3), (12,), torch.float32, "tabular-classification", "item"),
        (MultiLabel(3), (3, 8, 8), torch.float32, "image-classification", "image"),
        (Regression(), (12,), torch.float32, "tabular-regression", "item"),
        (SemanticSegmentation(3), (3, 8, 8), torch.float32, "image-segmentation", "image"),
        (SemanticSegmentation(3), (64, 4), torch.float32, "other", "point cloud"),
    ],
    ids=str,
)
def test_cards_say_what_the_hub_calls_a_task(
    task: Task, shape: tuple[int, ...], dtype: torch.dtype, tag: str, item: str
) -> None:
    facts = task.facts(InputSpec.of_one(shape, dtype))
    assert (facts.pipeline_tag, facts.item) == (tag, item)
