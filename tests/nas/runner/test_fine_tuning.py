from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import optuna
import torch
from fakes import tiny_study
from torch import Tensor, nn

from nas import Accuracy, Recipe, Winners
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement
from nas.runner.exporting import on_cpu
from nas.runner.fine_tuning import finish_network
from nas.runner.measuring import Known
from nas.runner.preparation import Prepared, prepare
from nas.runner.weights import EvaluationBasis
from nas.space import Architecture
from nas.tasks import Classification
from nas.training import make_supervised_step, train

CLASSES = Classification(10)


class Given:
    """Weights of one student and its teacher."""

    digest = "given"

    def __init__(self, student: nn.Module, teacher: nn.Module | None) -> None:
        self._student, self._teacher = student, teacher

    def find_basis(self, record: optuna.Study) -> EvaluationBasis:
        raise NotImplementedError

    def evaluate(
        self, prepared: Prepared, architecture: Architecture, known: Known, basis: EvaluationBasis
    ) -> Mapping[str, Measurement]:
        raise NotImplementedError

    def module(self, architecture: Architecture) -> nn.Module:
        return copy.deepcopy(self._student)

    def teacher(self) -> nn.Module | None:
        return self._teacher


def test_the_largest_subnet_teaches_only_who_is_worse(tmp_path: Path) -> None:
    study = tiny_study(winners=Winners(recipe=Recipe(epochs=1, batch_size=64)))
    prepared = prepare(study, torch.device("cpu"))
    largest = prepared.problem.space.largest()
    knowing = fresh_network(study.network, 0).extract(largest)
    recipe, split = Recipe(epochs=4, batch_size=8, learning_rate=0.05), prepared.splits.train
    train(
        knowing,
        make_supervised_step(knowing, CLASSES, recipe),
        split,
        recipe,
        seed=0,
        device=prepared.training_device,
    )
    knowing.eval()
    ignorant = copy.deepcopy(knowing)
    nn.init.zeros_(list(ignorant.parameters())[-2])
    known = {"accuracy": MeasuredQuality(Accuracy()).calibrate()}

    def tuned(student: nn.Module, teacher: nn.Module | None, name: str) -> Tensor:
        made = finish_network(prepared, largest, Given(student, teacher), known, tmp_path / name)
        module = on_cpu(made.module)
        return nn.utils.parameters_to_vector(module.parameters())

    by_labels = tuned(knowing, None, "labels")
    assert torch.equal(tuned(knowing, ignorant, "a worse one"), by_labels)
    assert torch.equal(tuned(knowing, copy.deepcopy(knowing), "an equal one"), by_labels)
    by_labels = tuned(ignorant, None, "labels for the ignorant")
    assert not torch.equal(tuned(ignorant, knowing, "a better one"), by_labels)
