"""Networks with several inputs and other tasks, from tensors to winners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from fakes import run_in, tiny_study
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

import nas
from nas import LatencyMs, Macs, ProxySubset, choice
from nas.data.loading import load_splits
from nas.data.tensors import split_tensors
from nas.errors import DataError, StudyError
from nas.evaluation import F1, Accuracy, MeanIoU, RootMeanSquaredError
from nas.inputs import as_tuple
from nas.splits import Splits
from nas.supernet import elastic
from nas.task import Task
from nas.tasks import Classification, MultiLabel, Regression, SemanticSegmentation
from nas.testing import check_data_source


class Two(nn.Module):
    """Takes numbers and ids."""

    def __init__(self) -> None:
        super().__init__()
        width = choice("width", 4, 8, 16)
        self.numbers, self.sexes = elastic.Linear(9, width), nn.Embedding(2, 9)
        self.last = elastic.Linear(width, 1)

    def forward(self, numbers: Tensor, sex: Tensor) -> Tensor:
        return self.last(torch.relu(self.numbers(numbers + self.sexes(sex).mean(1))))


@dataclass(frozen=True)
class Diabetes:
    """Scikit-learn's diabetes data: ten numbers, of which one, the sex, goes in as an id; a number comes out."""

    def load(self) -> Splits:
        data = load_diabetes()
        values = torch.from_numpy(data.data).float() * 20
        sex = (values[:, [1]] > 0).long()
        numbers = torch.cat([values[:, :1], values[:, 2:]], dim=1)
        target = torch.from_numpy(data.target).float().unsqueeze(1) / 100
        names = ("numbers", "sex")
        return split_tensors("diabetes", (numbers, sex), target, Regression(1), input_names=names)


@dataclass(frozen=True)
class Digits:
    """Digits, with what is to be said of them."""

    task: Task

    def load(self) -> Splits:
        data = load_digits()
        images = torch.from_numpy(data.images[:200]).float().unsqueeze(1)
        numbers = torch.from_numpy(data.target[:200])
        targets = {
            MultiLabel: torch.stack([numbers % 2, numbers // 5], dim=1),
            SemanticSegmentation: torch.where(images[:, 0] > 4, 1, 0).to(torch.uint8),
        }[type(self.task)]  # type: ignore[index]
        return split_tensors("digits", images, targets, self.task)


def small(outputs: int, *, everywhere: bool) -> nn.Module:
    width = choice("width", 4, 8, 16)
    head: list[nn.Module] = [] if everywhere else [nn.AdaptiveAvgPool2d(1)]
    last = elastic.Conv2d(width, outputs, 1)
    layers = [elastic.Conv2d(1, width, 3, padding=1), elastic.BatchNorm2d(width), nn.ReLU(), *head, last]
    return nn.Sequential(*layers, *([] if everywhere else [nn.Flatten()]))


def study(**changes: Any) -> nas.Study:
    return replace(tiny_study(evaluations=3), winners=replace(tiny_study().winners, count=1), **changes)


def test_a_network_of_two_inputs_is_searched_for_regression(tmp_path: Path) -> None:
    check_data_source(Diabetes())
    quality = RootMeanSquaredError("hundreds")
    of_two = study(
        network=Two,
        data=Diabetes(),
        objectives=(quality, Macs(), LatencyMs(short_seconds=0.005, long_seconds=0.02)),
        proxy=ProxySubset(sizes=(0.5,)),
    )
    results = run_in(of_two, tmp_path)
    folder = tmp_path / "winners" / results.winners[0].id
    splits = Diabetes().load()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["numbers", "sex"]
    feed = {name: tensor.numpy() for name, tensor in zip(("numbers", "sex"), splits.test.inputs, strict=True)}
    (found,) = session.run(None, feed)
    module = nas.load(folder, network=Two)
    with torch.no_grad():
        assert np.allclose(module(*splits.test.inputs).numpy(), found, atol=1e-5)
    off = float(np.sqrt(np.mean((found - splits.test.targets.numpy()) ** 2)))
    assert results.winners[0].variants[0].values["rmse"].value == pytest.approx(off, rel=1e-4)
    card = (folder / "README.md").read_text()
    assert "Input `numbers`: float32 `(batch, 9)`; Input `sex`: int64 `(batch, 1)`" in card
    assert "pipeline_tag: tabular-regression" in card


def test_digits_have_several_labels(tmp_path: Path) -> None:
    task = MultiLabel(2, ("odd", "five or more"))
    data, objectives = Digits(task), (F1(), Macs())
    results = run_in(
        study(network=lambda: small(2, everywhere=False), data=data, objectives=objectives), tmp_path
    )
    assert len(results.winners[0].details) == 2
    report = (tmp_path / "report.md").read_text()
    assert "## By class" in report
    assert "| five or more |" in report


@pytest.mark.draws
def test_pixels_of_digits_are_segmented_and_drawn(tmp_path: Path) -> None:
    task = SemanticSegmentation(2, ("paper", "ink"))
    segmenting = study(
        network=lambda: small(2, everywhere=True), data=Digits(task), objectives=(MeanIoU(), Macs())
    )
    results = run_in(segmenting, tmp_path)
    folder = tmp_path / "winners" / results.winners[0].id
    picture = (folder / "examples.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    card = (folder / "README.md").read_text()
    assert "](examples.png)" in card
    assert "pipeline_tag: image-segmentation" in card
    assert "| ink |" in card
    (folder / "examples.png").write_bytes(b"")
    run_in(segmenting, tmp_path)
    assert (folder / "examples.png").read_bytes() == picture


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"objectives": (Accuracy(), Macs())},
            StudyError,
            "'accuracy' doesn't fit the task SemanticSegmentation",
        ),
        ({"network": lambda: small(3, everywhere=True)}, nas.NasError, r"\(1, 2, 8, 8\) is expected"),
        ({"network": lambda: small(2, everywhere=False)}, nas.NasError, r"\(1, 2, 8, 8\) is expected"),
    ],
)
def test_what_does_not_fit_a_task_is_told_before_anything_is_paid_for(
    changes: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    fitting = study(
        network=lambda: small(2, everywhere=True),
        data=Digits(SemanticSegmentation(2)),
        objectives=(MeanIoU(), Macs()),
    )
    with pytest.raises(error, match=said):
        run_in(replace(fitting, **changes), tmp_path)


@pytest.mark.parametrize(
    ("count", "targets", "task", "said"),
    [
        (10, torch.zeros(9, dtype=torch.int64), Classification(2), "lengths"),
        (2, torch.zeros(2, dtype=torch.int64), Classification(2), "too few"),
        (10, torch.full((10,), 3), Classification(2), "doesn't fit its task"),
    ],
)
def test_tensors_that_do_not_fit_are_told(count: int, targets: Tensor, task: Task, said: str) -> None:
    with pytest.raises(DataError, match=said):
        split_tensors("mine", torch.randn(count, 3), targets, task)


def test_bytes_of_images_are_normalised_and_nothing_else_is() -> None:
    images = torch.randint(0, 255, (50, 3, 4, 4), dtype=torch.uint8)

    @dataclass(frozen=True)
    class Images:
        def load(self) -> Splits:
            return split_tensors("images", images, torch.randn(50, 2), Regression(2))

    splits = load_splits(Images())
    assert splits.inputs.names == ("images",)
    (batch,) = as_tuple(splits.train.batch(slice(None)))
    assert abs(float(batch.mean())) < 1e-4
    assert sum(len(part) for part in (splits.train, splits.search, splits.test)) == 50
