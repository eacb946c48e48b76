"""Each way to learn from teachers beside its control, on handwritten digits: accuracy and calibration.

    python -m benchmarks.distillation --seeds 5

A perceptron of one narrow layer and a convolutional network of two channels learn from larger ones of their family:
from the targets alone; as Hinton; from a network that learns beside them, by balanced divergences (BD-KD) and, as the
control, by the forward divergence alone; and with one of several teachers for each item, by difficulty (CES-KD) and,
as the control, at random. Then mixup and CutMix beside neither; and a deep, thin perceptron that imitates a wide one
layer by layer, beside the same trained from scratch and taught by outputs alone, for as many epochs.

Each seed has its own split: 60 % of the 1,797 images to train, the other 40 % to judge. All rows of a seed share the
split, the student's first weights and the teachers. Means over seeds with their standard deviation; the last column
counts the seeds in which a row is strictly better than its control. Five seeds take eight minutes of one core.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nas import Accuracy, Recipe
from nas.compression.imitate import WideThenNarrow
from nas.compression.pipeline import Lab, Model
from nas.data import Digits
from nas.evaluation.quality.classes import CalibrationError
from nas.inputs import Inputs, InputSpec, call_network
from nas.splits import Split
from nas.task import Probabilistic, Task
from nas.tasks import Classification
from nas.training import (
    BalancedDistillation,
    CurriculumDistillation,
    CutMix,
    Distillation,
    Hinton,
    Lesson,
    Losses,
    Mixup,
    make_supervised_step,
    train,
)
from nas.training.distillation.curriculum import imitation_of_experts
from search_spaces.digits_mlp import digits_mlp

CLASSES = Classification(10)
CPU = torch.device("cpu")
TEMPERATURE = 2.0
TEACHER_EPOCHS = 30
DEPTH, THIN, WIDE = 8, 16, 64
"""Of the deep, thin network and its teacher."""

Result = tuple[float, float]
"""Accuracy and calibration error."""


@dataclass(frozen=True)
class ForwardTogether:
    """Two networks that learn together, each by the forward divergence from the other: BD-KD's control."""

    temperature: float
    weight: float = 0.5

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return both networks and their step."""
        assert isinstance(task, Probabilistic)
        both = nn.ModuleList([student, copy.deepcopy(teachers[-1])])

        def step(inputs: Inputs, targets: Tensor, _generator: torch.Generator) -> Losses:
            outputs = [call_network(network, inputs) for network in both]
            for own, other in (outputs, outputs[::-1]):
                soft = task.divergences(other.detach() / self.temperature, own / self.temperature).mean()
                hard = task.loss(own, targets, recipe.label_smoothing)
                yield (1 - self.weight) * hard + self.weight * self.temperature**2 * soft

        return Lesson(both, step)


@dataclass(frozen=True)
class RandomExperts:
    """One of several teachers for each item, drawn at random: CES-KD's control."""

    temperature: float
    weight: float = 0.5

    def lesson(self, student: nn.Module, teachers: Sequence[nn.Module], task: Task, recipe: Recipe) -> Lesson:
        """Return the student and its step."""

        def step(inputs: Inputs, targets: Tensor, generator: torch.Generator) -> Losses:
            outputs = call_network(student, inputs)
            experts = torch.randperm(len(targets), generator=generator) * len(teachers) // len(targets)
            soft = imitation_of_experts(task, outputs, inputs, teachers, experts, self.temperature)
            yield (1 - self.weight) * task.loss(outputs, targets, recipe.label_smoothing) + self.weight * soft

        return Lesson(student, step)


def convnet(width: int) -> nn.Module:
    """Return three convolutions with batch norm for 8x8 images."""
    layers: list[nn.Module] = []
    for before, after, stride in ((1, width, 1), (width, width, 2), (width, 2 * width, 1)):
        layers += [
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * width * 16, 10))


def perceptron(*widths: int) -> nn.Module:
    """Return a perceptron for 8x8 images."""
    return nn.Sequential(nn.Flatten(), *digits_mlp(widths))


FAMILIES: dict[str, list[Callable[[], nn.Module]]] = {
    "perceptron": [
        lambda: perceptron(8),
        lambda: perceptron(24),
        lambda: perceptron(64),
        lambda: perceptron(256, 256),
    ],
    "convnet": [lambda: convnet(2), lambda: convnet(4), lambda: convnet(8), lambda: convnet(16)],
}
"""The student, then the teachers from small to large."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(epochs=arguments.epochs, label_smoothing=0.0)
    print(
        f"{arguments.epochs} epochs for students, {TEACHER_EPOCHS} for teachers, temperature {TEMPERATURE}, "
        f"{arguments.seeds} seeds, torch {torch.__version__}, one thread"
    )
    for family, makers in FAMILIES.items():
        report(family, arguments.seeds, lambda seed, m=makers: compare_teachers(m, recipe, seed))
    report(f"{DEPTH} layers of {THIN}", arguments.seeds, lambda seed: compare_imitation(recipe, seed))


def compare_teachers(
    makers: Sequence[Callable[[], nn.Module]], recipe: Recipe, seed: int
) -> dict[str, Result]:
    """Return each row of a family under one seed."""
    learn, judge = splits(seed)
    student = fresh(makers[0], seed)
    teachers = [fresh(make, seed + 1) for make in makers[1:]]
    untrained = copy.deepcopy(teachers[-1])
    for teacher in teachers:
        alone(teacher, learn, dataclasses.replace(recipe, epochs=TEACHER_EPOCHS), seed)
    rows = {"largest teacher": evaluate(teachers[-1], judge)}
    rows["targets alone"] = evaluate(alone(copy.deepcopy(student), learn, recipe, seed), judge)
    methods: dict[str, tuple[Distillation, Sequence[nn.Module]]] = {
        "Hinton, temperature 1": (Hinton(), teachers),
        "Hinton": (Hinton(TEMPERATURE), teachers),
        "CES-KD": (CurriculumDistillation(TEMPERATURE), teachers),
        "random experts": (RandomExperts(TEMPERATURE), teachers),
        "BD-KD": (BalancedDistillation(TEMPERATURE), [untrained]),
        "forward alone, together": (ForwardTogether(TEMPERATURE), [untrained]),
    }
    for name, (method, by) in methods.items():
        learning = copy.deepcopy(student)
        lesson = method.lesson(learning, by, CLASSES, recipe)
        train(lesson.module, lesson.step, learn, recipe, seed=seed, device=CPU)
        rows[name] = evaluate(learning, judge)
    for name, mix in {"mixup": Mixup(), "CutMix": CutMix()}.items():
        mixed = alone(copy.deepcopy(student), learn, dataclasses.replace(recipe, mix=mix), seed)
        rows[name] = evaluate(mixed, judge)
    return rows


def compare_imitation(recipe: Recipe, seed: int) -> dict[str, Result]:
    """Return the rows of layerwise imitation: as many epochs each, the wide network's not counted."""
    learn, judge = splits(seed)
    wide, thin = (fresh(lambda w=width: perceptron(*[w] * DEPTH), seed) for width in (WIDE, THIN))
    alone(wide, learn, recipe, seed)
    finish = dataclasses.replace(recipe, epochs=recipe.epochs // 2)
    whole = dataclasses.replace(recipe, epochs=2 * DEPTH + 2 * finish.epochs)
    rows = {"wide": evaluate(wide, judge)}
    rows["from scratch"] = evaluate(alone(copy.deepcopy(thin), learn, whole, seed), judge)
    by_outputs = copy.deepcopy(thin)
    lesson = Hinton(TEMPERATURE).lesson(by_outputs, [wide], CLASSES, whole)
    train(lesson.module, lesson.step, learn, whole, seed=seed, device=CPU)
    rows["Hinton"] = evaluate(by_outputs, judge)
    spec = InputSpec.of_one((1, 8, 8))
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(learn, CLASSES, finish, CPU, seed, Path(folder), teacher=wide)
        made = WideThenNarrow(layer_epochs=2).apply(Model(spec, thin), {}, lab).module
    assert made is not None
    rows["wide, then narrow"] = evaluate(alone(made, learn, finish, seed), judge)
    return rows


def splits(seed: int) -> tuple[Split, Split]:
    """Return what is learned from and what is judged on."""
    whole = Digits(seed).load()
    parts = (whole.search, whole.test)
    inputs = torch.cat([part.inputs for part in parts])  # type: ignore[misc] # one tensor each
    return whole.train, Split(inputs, torch.cat([part.targets for part in parts]))


def fresh(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a network with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def alone(network: nn.Module, data: Split, recipe: Recipe, seed: int) -> nn.Module:
    """Train a network in place with the targets alone, and return it."""
    train(network, make_supervised_step(network, CLASSES, recipe), data, recipe, seed=seed, device=CPU)
    return network


def evaluate(network: nn.Module, data: Split) -> Result:
    """Return accuracy and calibration error."""
    with torch.no_grad():
        outputs = call_network(network.eval(), data.inputs)
    accuracy, calibration = (
        quality.value(quality.statistics(outputs, data.targets).numpy())
        for quality in (Accuracy(), CalibrationError())
    )
    return accuracy, calibration


CONTROLS = {
    "Hinton, temperature 1": "targets alone",
    "Hinton": "targets alone",
    "CES-KD": "random experts",
    "random experts": "Hinton",
    "BD-KD": "forward alone, together",
    "forward alone, together": "targets alone",
    "mixup": "targets alone",
    "CutMix": "targets alone",
    "wide, then narrow": "from scratch",
}


def report(title: str, seeds: int, work: Callable[[int], dict[str, Result]]) -> None:
    """Print a table of means and deviations over seeds."""
    begin = time.perf_counter()
    found = [work(seed) for seed in range(seeds)]
    print(f"\n{title}: {time.perf_counter() - begin:.0f} s")
    print("| row | accuracy, % | calibration error, % | control | beats it: accuracy, calibration |")
    print("|---|---|---|---|---|")
    controls = {**CONTROLS, "Hinton": "from scratch"} if "from scratch" in found[0] else CONTROLS
    for name in found[0]:
        values = 100 * np.array([rows[name] for rows in found])
        means = " | ".join(f"{values[:, k].mean():.2f} ± {values[:, k].std(ddof=1):.2f}" for k in range(2))
        print(f"| {name} | {means} | {compare_with_control(found, name, controls.get(name))} |", flush=True)


def compare_with_control(found: Sequence[dict[str, Result]], name: str, control: str | None) -> str:
    """Return a row's control and in how many seeds the row is better."""
    if control is None:
        return " | "
    accurate = sum(rows[name][0] > rows[control][0] for rows in found)
    calibrated = sum(rows[name][1] < rows[control][1] for rows in found)
    return f"{control} | {accurate}, {calibrated} of {len(found)}"


if __name__ == "__main__":
    main()
