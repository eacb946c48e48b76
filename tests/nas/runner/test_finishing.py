"""The fine-tuning of a winner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import edit_json, run_in, tiny_network, tiny_study
from run_folders import copy_run

import nas
from nas import Recipe, Trust, Winners
from nas.export.folder import load_weights
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.weights import SupernetWeights

RUINOUS = tiny_study(
    recipe=Recipe(epochs=6, batch_size=8, learning_rate=0.05),
    winners=Winners(count=2, recipe=Recipe(epochs=1, batch_size=64, learning_rate=30.0)),
    trust=Trust(count=0),
)


@pytest.fixture(scope="module")
def ruined_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose fine-tuning ruins both winners. Not to be changed: copy it."""
    path = tmp_path_factory.mktemp("runs") / "ruined"
    run_in(RUINOUS, path)
    return path


def test_a_winner_that_fine_tuning_ruins_keeps_its_weights(ruined_run: Path) -> None:
    prepared = prepare(RUINOUS, torch.device("cpu"))
    load_weights(ruined_run / "supernet" / "weights.safetensors", prepared.supernet)
    weights = SupernetWeights(prepared, RunDirectory(ruined_run))
    results = Results.read(ruined_run / "report.json")
    for winner in results.winners:
        assert winner.kept is not None
        assert winner.exported == winner.kept
        assert winner.kept.value == winner.searched["accuracy"].value > winner.fine_tuned.value
        subnet = weights.module(prepared.problem.space.architecture(winner.choices)).state_dict()
        exported = nas.load(ruined_run / "winners" / winner.id, network=tiny_network).state_dict()
        assert all(torch.equal(value, subnet[name]) for name, value in exported.items())
    assert results.trust is not None
    assert [row.alone for row in results.trust.rows] == [w.fine_tuned.value for w in results.winners]


def test_kept_weights_are_told_everywhere_and_again(
    ruined_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = copy_run(ruined_run, tmp_path / "run")
    winners = run_in(RUINOUS, path).winners
    assert winners == Results.read(ruined_run / "report.json").winners
    for winner in winners:
        assert winner.kept is not None
        said = f"worse ({winner.fine_tuned.value:.2%} after {winner.kept.value:.2%} on the search split)"
        card = (path / "winners" / winner.id / "README.md").read_text()
        for text in (caplog.text, (path / "report.md").read_text(), card):
            assert said in text.replace("\n", " ").replace(" %", "%")
        assert "then fine-tuned" not in card


def test_a_winner_that_was_finished_before_this_was_compared_stays(tiny_copy: Path) -> None:
    for record in (tiny_copy / "winners").glob("*/finished.json"):
        edit_json(record, lambda content: content["result"].pop("kept"))
    assert [winner.kept for winner in run_in(tiny_study(), tiny_copy).winners] == [None, None]
    edit_json(tiny_copy / "report.json", lambda report: [winner.pop("kept") for winner in report["winners"]])
    assert [winner.kept for winner in Results.read(tiny_copy / "report.json").winners] == [None, None]
