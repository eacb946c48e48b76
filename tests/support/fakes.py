"""Small stand-ins that tests share."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import RandomSampler
from sklearn.datasets import load_digits
from torch import Tensor, nn

from nas import Accuracy, NumParams, Recipe, Study, SurrogateSearch, Winners
from nas.choices import choice
from nas.data import split_images
from nas.files import read_json, write_json
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Calibration, Candidate
from nas.report.results import Results
from nas.runner import run
from nas.search.loop import search
from nas.space import Architecture, FloatArray, IntArray, SearchSpace
from nas.splits import Splits
from nas.strategy import Prediction, Problem
from nas.supernet import elastic


def tiny_network(classes: int = 10, channels: int = 1) -> nn.Module:
    """24 architectures of at most a few hundred weights."""
    width = choice("width", 2, 4, 8)
    return nn.Sequential(
        elastic.Conv2d(channels, width, choice("kernel", 3, 5), padding="same", bias=False),
        elastic.BatchNorm2d(width),
        nn.ReLU(),
        elastic.Repeat(lambda i: tiny_block(i, width), times=choice("depth", 0, 1, 2)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, classes),
    )


def trained_tiny_network() -> nn.Module:
    """Weights far from any initialisation."""
    network = tiny_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 10 + torch.rand_like(parameter)
    return network


def tiny_block(position: int, width: object) -> nn.Module:
    return nn.Sequential(
        elastic.Conv2d(width, width, choice(f"{position}.kernel", 1, 3), padding="same", bias=False),
        elastic.BatchNorm2d(width),
        nn.ReLU(),
    )


class NearestSurrogate:
    """Predicts the costs of the nearest known row; sure near it."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def fit(self, indices: IntArray, costs: FloatArray, rng: np.random.Generator) -> None:
        self._encodings, self._costs = self._space.encode(indices), costs.copy()
        self._scale = costs.std(axis=0) + 1e-6
        self._tie = rng.permutation(len(costs))

    def predict(self, indices: IntArray) -> Prediction:
        encodings = self._space.encode(indices)
        distance = np.abs(encodings[:, None] - self._encodings[None, self._tie]).sum(axis=2)
        nearest = self._tie[distance.argmin(axis=1)]
        std = (0.1 + distance.min(axis=1)[:, None]) * self._scale
        return Prediction(self._costs[nearest], std)

    def sample(self, indices: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
        return self.predict(indices).sample(count, rng)


@dataclass
class Listener:
    """Keeps what a run says."""

    stages: list[str] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def start(self, stage: str, total: int, done: int) -> None:
        self.stages.append(stage)

    def advance(self, note: str) -> None:
        self.steps.append((self.stages[-1], note))

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def grid_problem(num_choices: int = 4, num_options: int = 4, *, at_most: float = np.inf) -> Problem:
    """``quality`` is to be learned; ``size``, the sum of the positions, is counted."""
    options = tuple(range(num_options))
    space = SearchSpace(tuple(choice(f"c{number}", *options) for number in range(num_choices)))
    return Problem(
        space=space,
        objectives=(Objective("quality", "", "maximize"), Objective("size", "", "minimize")),
        count=lambda indices: {"size": indices.sum(axis=1).astype(np.float64)},
        violation=lambda indices: np.maximum(indices.sum(axis=1) - at_most, 0.0),
    )


def grid_evaluate(problem: Problem, architecture: Architecture) -> Mapping[str, Measurement]:
    row = problem.space.indices([architecture])[0]
    quality = float(np.sqrt(row).sum() - 0.2 * row[0])
    return {"quality": exact(quality), "size": exact(float(row.sum()))}


def search_at_random(problem: Problem, evaluations: int) -> optuna.Study:
    """Evaluate architectures of :func:`grid_problem` that are drawn at random."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RandomSampler(seed=0))
    search(
        study, problem, lambda a: grid_evaluate(problem, a), evaluations=evaluations, on_trial=lambda _: None
    )
    return study


def exact(value: float, unit: str = "") -> Measurement:
    return Measurement(value, 0.0, unit, "", 1)


@dataclass(frozen=True)
class ProcessOfDevice:
    """The number of the process that measures, as if a device told it."""

    objective: Objective = Objective("process", "", "minimize")

    def calibrate(self) -> dict[str, float]:
        return {}

    def check_device(self, calibration: Calibration) -> None:
        """Any will do."""

    def check_models(self, models: Sequence[bytes]) -> None:
        """Any will do."""

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        return [exact(float(os.getpid())) for candidate in candidates if candidate.onnx_model]


@dataclass(frozen=True)
class AccuracyOfBrokenWorker:
    """The accuracy; the first worker's process that measures it finds that all items are right.

    Args:
        folder: Remembers which one that is.
    """

    folder: str
    objective: Objective = Accuracy().objective

    def statistics(self, outputs: Tensor, targets: Tensor) -> Tensor:
        right = Accuracy().statistics(outputs, targets)
        return torch.ones_like(right) if self._is_here() else right

    def value(self, statistics: FloatArray) -> float:
        return Accuracy().value(statistics)

    def _is_here(self) -> bool:
        broken = Path(self.folder) / "broken"
        if multiprocessing.parent_process() is not None:
            with contextlib.suppress(FileExistsError), broken.open("x") as file:
                file.write(str(os.getpid()))
        return broken.exists() and broken.read_text() == str(os.getpid())


@dataclass(frozen=True)
class FewDigits:
    """The first 300 digits."""

    seed: int = 0

    def load(self) -> Splits:
        data = load_digits()
        images = torch.from_numpy(data.images[:300]).to(torch.float32).unsqueeze(1)
        return split_images("few digits", images, torch.from_numpy(data.target[:300]), seed=self.seed)


def tiny_study(**changes: object) -> Study:
    """A run of a second or two: 42 architectures, six evaluations, two winners."""
    study = Study(
        name="tiny",
        network=tiny_network,
        data=FewDigits(),
        objectives=(Accuracy(), NumParams()),
        recipe=Recipe(epochs=2, batch_size=8, learning_rate=0.05),  # learns enough for a front of several
        strategy=SurrogateSearch(NearestSurrogate, num_startup=4, batch_size=4),
        evaluations=6,
        winners=Winners(count=2, recipe=Recipe(epochs=1, batch_size=64, learning_rate=1e-3)),
    )
    return dataclasses.replace(study, **changes)  # type: ignore[arg-type]


def run_in(study: Study, path: Path, listener: Listener | None = None, *, baselines: bool = False) -> Results:
    cpu = torch.device("cpu")
    return run(
        study,
        path,
        training_device=cpu,
        progress=listener or Listener(),
        baselines=baselines,
        command="a test",
    )


def digests(folder: Path, *patterns: str) -> dict[str, str]:
    """Return the SHA-256 of every file that matches, by its path in ``folder``."""
    files = [path for pattern in patterns or ("*",) for path in folder.rglob(pattern) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file of a run as by hand, or to what an older version wrote: without its digest."""
    content = read_json(path)
    content.pop("digest", None)
    change(content)
    write_json(path, content)


def with_objectives(problem: Problem, *objectives: Objective) -> Problem:
    counted = {o.name for o in objectives if o.name == "size"}
    count = problem.count if counted else lambda _indices: {}
    return dataclasses.replace(problem, objectives=objectives, count=count)
