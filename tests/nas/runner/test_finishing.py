"""The fine-tuning of a winner."""

from __future__ import annotations

import copy
from pathlib import Path

import optuna
import torch
from fakes import tiny_study
from torch import nn

from nas import Accuracy, Recipe, Winners
from nas.evaluation.from_scratch import fresh_network
from nas.runner.finishing import fine_tuned
from nas.runner.measuring import Known
from nas.runner.preparation import Prepared, prepare
from nas.runner.weights import Judge
from nas.space import Architecture
from nas.training import cross_entropy_step, train


class Given:
    """Weights of one student and its teacher."""

    digest = "given"

    def __init__(self, student: nn.Module, teacher: nn.Module | None) -> None:
        self._student, self._teacher = student, teacher

    def judge(self, prepared: Prepared, record: optuna.Study, known: Known) -> Judge:
        raise NotImplementedError

    def module(self, architecture: Architecture) -> nn.Module:
        return copy.deepcopy(self._student)

    def teacher(self) -> nn.Module | None:
        return self._teacher


def test_the_largest_subnet_teaches_unless_it_is_worse_than_its_student(tmp_path: Path) -> None:
    study = tiny_study(winners=Winners(recipe=Recipe(epochs=1, batch_size=64)))
    prepared = prepare(study, torch.device("cpu"))
    largest = prepared.problem.space.largest()
    student = fresh_network(study.network, 0).extract(largest)
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=0.05)
    train(
        student,
        cross_entropy_step(student, recipe),
        prepared.splits.train,
        recipe,
        seed=0,
        device=prepared.device,
    )
    student.eval()
    knows_nothing = copy.deepcopy(student)
    nn.init.zeros_(list(knows_nothing.parameters())[-2])
    known = {"accuracy": Accuracy().calibrate()}

    def tuned(teacher: nn.Module | None, name: str) -> list[torch.Tensor]:
        module = fine_tuned(prepared, largest, Given(student, teacher), known, tmp_path / name)
        return list(module.parameters())

    by_labels = tuned(None, "labels")
    by_bad_teacher = tuned(knows_nothing, "bad")
    by_good_teacher = tuned(copy.deepcopy(student), "good")
    assert all(torch.equal(a, b) for a, b in zip(by_labels, by_bad_teacher, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(by_labels, by_good_teacher, strict=True))
