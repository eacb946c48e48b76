from __future__ import annotations

import functools
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from fake_data import write_camvid, write_cifar10, write_fashion_mnist, write_lidar, write_texts

from nas.catalog import describe_study, find_study, study_names
from nas.evaluation.modelled_gap8 import model_cycles
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.onnx_static import static_graph
from nas.runner.preparation import Prepared, prepare
from nas.runner.profile import profile
from nas.study import network_reference
from nas.supernet import Supernet
from studies import fmas_camvid


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small stand-ins for what the studies need, in the formats that they read."""
    root = tmp_path_factory.mktemp("data")
    write_fashion_mnist(root)
    write_cifar10(root)
    write_texts(root)
    write_camvid(root)
    write_lidar(root)
    return root


@pytest.fixture(autouse=True)
def _data_is_there(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DATA", str(data))
    monkeypatch.setenv("NAS_CACHE", str(data / "cache"))
    for name in ("resnet18_pretrained", "fmas_camvid"):
        monkeypatch.setattr(f"studies.{name}.train", lambda *_, **__: [])  # random weights will do
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)


@functools.cache
def prepared_once(name: str) -> Prepared:
    """Return a study as the first of several tests prepared it."""
    return prepare(find_study(name), torch.device("cpu"))


@pytest.mark.parametrize("name", study_names())
def test_every_study_is_named_as_its_file_and_can_be_prepared(name: str) -> None:
    study = find_study(name)
    assert study.name == name
    prepared = prepared_once(name)
    assert prepared.problem.space.cardinality() > study.evaluations
    assert prepared.counter.tables is not None


def test_listing_and_profiling_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> NoReturn:
        raise AssertionError("trained")

    for name in ("resnet18_pretrained", "fmas_camvid"):
        monkeypatch.setattr(f"studies.{name}._train_network", train)
    assert [describe_study(name)["error"] for name in study_names()] == [None] * len(study_names())
    assert profile(find_study("resnet18_pretrained"), 10).num_samples == 10


@pytest.mark.parametrize("name", study_names())
def test_a_winner_of_every_study_can_be_loaded_by_itself(name: str) -> None:
    factory = str(network_reference(find_study(name).network)["factory"])
    assert factory.startswith("search_spaces.")
    assert "<" not in factory


@pytest.mark.parametrize("name", study_names())
def test_a_study_is_the_same_each_time_it_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared_once(name)
    # Nothing of what a network's architectures cost is told of a study, and counting them takes most of the time.
    monkeypatch.setattr("nas.runner.preparation._check_network", lambda *_: first.counter)
    again = prepare(find_study(name), torch.device("cpu"))
    assert again.description() == first.description()


def test_fmas_has_a_second_front_over_a_modelled_device() -> None:
    second = fmas_camvid.study(gap8=True)
    assert [objective.objective.name for objective in second.objectives] == ["mean_iou", "modelled_gap8_ms"]
    supernet = Supernet(second.network())
    latency = [
        model_cycles(static_graph(export_onnx(supernet.extract(architecture).eval(), (3, 120, 160))))
        for architecture in (supernet.space.smallest(), supernet.space.largest())
    ]
    assert 0 < 2 * latency[0] < latency[1]
