"""What a finished run leaves behind."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from fakes import run_in, tiny_network, tiny_study
from huggingface_hub import ModelCard
from run_folders import winner_folders
from sklearn.metrics import confusion_matrix
from torch import nn

import nas
from nas import (
    Study,
    choice,
)
from nas.errors import (
    ExportError,
)
from nas.evaluation import OnnxCandidate
from nas.objective import Objective
from nas.report.results import Results
from nas.search.record.trials import predictions_of
from nas.splits import Splits
from nas.supernet import elastic, recalibrate


def test_every_promised_file_is_there_and_no_leftover(cli_run: Path) -> None:
    top = {path.name for path in cli_run.iterdir()} - {".lock", "study.db-wal", "study.db-shm"}
    assert top == {
        *("run.json", "status.json", "supernet", "study.db", "winners"),
        *("report.json", "report.md", "front.png", "hypervolume.png", "trust", "files.json", "adapted"),
    }
    assert {p.name for p in (cli_run / "supernet").iterdir()} == {"weights.safetensors", "training.json"}
    folders = winner_folders(cli_run)
    results = Results.read(cli_run / "report.json")
    # Measured latencies and a few steps of their own decide how many there are on the front to choose from.
    assert 1 <= len(folders) <= 2
    adapted = {path.stem for path in (cli_run / "adapted").iterdir()}
    assert {folder.name for folder in folders} <= adapted | {results.ids[row] for row in results.front}
    assert {folder.name for folder in folders} == {winner.id for winner in results.winners}
    for folder in folders:
        files = {path.name for path in folder.iterdir()}
        assert files >= {
            *("README.md", "front.png", "architecture.json"),
            *("model.safetensors", "model.onnx", "model.int8.onnx", "finished.json"),
        }
        assert not [name for name in files if "checkpoint" in name or name.endswith(".part")]
    beside = {p.name for p in (cli_run / "winners").iterdir() if p.is_file()}
    assert beside - {"measured_again.json"} == {
        "README.md",
        "measurements.json",
    }  # that one only where files tie


def test_a_loaded_winner_equals_its_onnx_file(cli_run: Path) -> None:
    for folder in winner_folders(cli_run):
        module = nas.load(folder)
        exported = OnnxCandidate(folder / "model.onnx")
        assert not module.training
        for count in (1, 33):
            images = torch.randn(count, 1, 8, 8)
            with torch.no_grad():
                assert torch.allclose(module(images), exported.predict(images), atol=1e-4)


def test_the_cards_numbers_are_those_of_the_exported_files(cli_run: Path, digits: Splits) -> None:
    results = Results.read(cli_run / "report.json")
    for winner in results.winners:
        folder = cli_run / "winners" / winner.id
        data = ModelCard.load(folder / "README.md").data
        by_name = {e.metric_name: e.metric_value for e in data.eval_results}
        for variant in winner.variants:
            logits = OnnxCandidate(folder / variant.file).predict(digits.test.inputs)
            accuracy = (logits.argmax(1) == digits.test.targets).double().mean().item()
            assert variant.values["accuracy"].value == accuracy
            assert by_name.get(f"accuracy ({variant.name})") == (accuracy if variant.shipped else None)
            assert variant.values["file_bytes"].value == (folder / variant.file).stat().st_size
            assert variant.values["latency_ms"].value > 0


def test_the_cards_pictures_and_links_exist(cli_run: Path) -> None:
    card = (cli_run / "winners" / "README.md").read_text()
    for folder in winner_folders(cli_run):
        text = (folder / "README.md").read_text()
        assert "](front.png)" in text
        assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
        if folder.name in card:
            assert f"]({folder.name}/README.md)" in card


def test_which_classes_are_taken_for_which_is_told_of_search_and_test(cli_run: Path, digits: Splits) -> None:
    winners = Results.read(cli_run / "report.json").winners
    for winner in winners:
        folder = cli_run / "winners" / winner.id
        for name, split in (("search", digits.search), ("test", digits.test)):
            answers = OnnxCandidate(folder / "model.onnx").predict(split.inputs).argmax(1)
            known = confusion_matrix(split.targets, answers, labels=range(10))
            assert np.array_equal(winner.confusions[name], known)
        text = (folder / "README.md").read_text()
        assert "](confusion.png)" in text
        for number, row in enumerate(winner.confusions["test"]):
            assert f"| {number} | {' | '.join(map(str, row))} | " in text
        assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")
    picture = re.search(r"!\[confusion\]\((.+)\)", (cli_run / "report.md").read_text())
    assert picture is not None
    assert (cli_run / picture[1]).exists()


def test_counts_in_the_report_are_those_of_the_loaded_modules(cli_run: Path) -> None:
    for winner in Results.read(cli_run / "report.json").winners:
        module = nas.load(cli_run / "winners" / winner.id)
        assert winner.num_params == sum(p.numel() for p in module.parameters())
        assert winner.variants[0].values["macs"].value == winner.macs


def test_a_winners_statistics_are_those_of_some_training_images(cli_run: Path, digits: Splits) -> None:
    for folder in winner_folders(cli_run):
        module = nas.load(folder)
        before = {name: value.clone() for name, value in module.named_buffers()}
        recalibrate(module, digits.train.sample(512).split(256))
        for name, value in module.named_buffers():
            assert torch.allclose(value, before[name], rtol=1e-3, atol=1e-5), name


def test_all_returned_points_were_evaluated_and_the_final_front_is_one(cli_run: Path) -> None:
    results = Results.read(cli_run / "report.json")
    assert len(results.values) == results.trials["complete"] == 12
    assert {w.trial for w in results.winners} <= set(results.trial_numbers)
    variants = [v for w in results.winners for v in w.variants]
    objectives = [*results.objectives, Objective("file_bytes", "B", "minimize")]
    costs = np.array([[o.cost(v.values[o.name].value) for o in objectives] for v in variants])
    for variant, cost in zip(variants, costs, strict=True):
        dominated = ((costs <= cost).all(axis=1) & (costs < cost).any(axis=1)).any()
        # Where the noise is larger than the difference, none of two dominates the other, and they are tied.
        assert variant.on_front == (not dominated or bool(variant.tied_with))


def test_winners_are_of_the_front_where_too_few_candidates_were_evaluated_to_adapt_any(
    tiny_run: Path,
) -> None:
    results = Results.read(tiny_run / "report.json")
    assert not (tiny_run / "adapted").exists()
    assert {w.trial for w in results.winners} <= {results.trial_numbers[row] for row in results.front}


def test_the_report_tells_what_the_search_predicted_and_what_became_of_it(cli_run: Path) -> None:
    report = (cli_run / "report.md").read_text()
    assert "Kendall's tau" in report
    assert "surrogate predicted" in report
    assert "Predictions made before their trials: surrogate, accuracy: tau" in report
    results = Results.read(cli_run / "report.json")
    trials = optuna.load_study(study_name="small", storage=f"sqlite:///{cli_run / 'study.db'}").trials
    told = [predictions_of(trials[w.trial]).get("accuracy") for w in results.winners]
    assert [w.predicted for w in results.winners] == [t and t[0] for t in told]  # none in the start-up
    assert predictions_of(trials[-1]), "what the surrogate proposes has its prediction"
    assert all(w.id in report for w in results.winners)


def test_a_network_with_an_argument_that_is_an_object_is_exported_and_loaded(tmp_path: Path) -> None:
    network = partial(activated_network, activation=nn.SiLU)
    results = run_in(tiny_study(network=network), tmp_path / "run")
    folder = tmp_path / "run" / "winners" / results.winners[0].id
    with pytest.raises(ExportError, match="network="):
        nas.load(folder)
    images = torch.randn(3, 1, 8, 8)
    expected = OnnxCandidate(folder / "model.onnx").predict(images)
    with torch.no_grad():
        assert torch.allclose(nas.load(folder, network=network)(images), expected, atol=1e-4)


def activated_network(activation: type[nn.Module]) -> nn.Module:
    width = choice("width", 2, 4, 8)
    return nn.Sequential(
        elastic.Conv2d(1, width, choice("kernel", 1, 3)),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        elastic.Linear(width, 10),
    )


def test_a_description_is_the_same_in_every_process(tiny_run: Path) -> None:
    described = json.loads((tiny_run / "run.json").read_text())
    assert "0x" not in json.dumps(described)


def test_a_study_of_a_lambda_can_be_run_again(tmp_path: Path) -> None:
    def study() -> Study:
        return tiny_study(network=lambda: tiny_network(), evaluations=4)

    run_in(study(), tmp_path / "run")
    run_in(study(), tmp_path / "run")
    folder = winner_folders(tmp_path / "run")[0]
    with pytest.raises(ExportError, match="network="):
        nas.load(folder)
