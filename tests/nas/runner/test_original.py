"""A study on a network that existed before: the row of the original, its weights, and what its files count."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from fakes import Listener, digests, run_in, tiny_study
from run_folders import copy_run
from torch import nn

import nas
from nas import Accuracy, FromScratch, Int8, Macs, Objective, Recipe, Trust, WeightBytes, Winners
from nas.evaluation.from_scratch import fresh_network
from nas.export.model_card import set_card
from nas.files import read_json
from nas.objectives import Counts
from nas.report.results import AS_GIVEN, FINISHED, Results
from nas.report.tables import winners_table
from nas.report.text import report_markdown
from nas.space import FloatArray
from nas.supernet import elastic_module


@dataclasses.dataclass(frozen=True)
class Energy:
    """A counted objective of a user's own, which doesn't look at files."""

    objective: Objective = Objective("energy", "J", "minimize")

    def count(self, counts: Counts) -> FloatArray:
        return 0.5 * counts.macs + counts.num_params


def existing_network() -> nn.Module:
    plain = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return elastic_module(plain, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


STUDY = tiny_study(
    network=existing_network,
    objectives=(Accuracy(), WeightBytes(), Macs(), Energy()),
    evaluations=4,
    recipe=Recipe(epochs=1, batch_size=16, learning_rate=0.01),
    winners=Winners(
        count=1, recipe=Recipe(epochs=1, batch_size=64, learning_rate=1e-3), passes=(Int8(num_images=32),)
    ),
    trust=Trust(count=0),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Not to be changed: copy it."""
    path = tmp_path_factory.mktemp("runs") / "converted"
    run_in(STUDY, path)
    return path


@pytest.fixture(scope="module")
def results(finished: Path) -> Results:
    return Results.read(finished / "report.json")


def test_the_original_is_measured_as_given_and_after_what_winners_go_through(
    finished: Path, results: Results
) -> None:
    assert [o.state for o in results.original] == [AS_GIVEN, FINISHED]
    given, after = results.original
    whole = fresh_network(existing_network, STUDY.seed)
    exported = nas.load(finished / given.folder, network=existing_network).state_dict()
    expected = whole.extract(whole.space.largest()).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in exported.items())
    changed = nas.load(finished / after.folder, network=existing_network).state_dict()
    assert any(not torch.equal(value, expected[name]) for name, value in changed.items())
    for original in results.original:
        assert [v.name for v in original.variants] == ["fp32", "int8"]
        assert all(v.values["accuracy"].repeats == 60 for v in original.variants)  # the test split
        assert original.variants[0].values["macs"].value == original.macs


def test_the_original_is_told_everywhere(finished: Path, results: Results) -> None:
    names = [o.name for o in results.original]
    assert names == ["original network, as given", "original network, finished"]
    table = winners_table(results)
    assert [row[0] for row in table.rows][-4:] == [name for name in names for _ in range(2)]
    cards = [path.read_text() for path in (finished / "winners").glob("*/README.md")]
    for text in (report_markdown(results), set_card(results), *cards):
        assert all(name in text for name in names)
    assert read_json(finished / "report.json")["original"][0]["state"] == AS_GIVEN


def test_the_originals_are_on_no_front_and_change_none(results: Results) -> None:
    objectives = [*results.objectives]
    costs = {
        (name, v.name): np.array(
            [o.cost(v.values[o.name].value) for o in objectives] + [v.values["file_bytes"].value]
        )
        for name, variants in [
            *((w.id, w.variants) for w in results.winners),
            *((o.state, o.variants) for o in results.original),
        ]
        for v in variants
    }
    of_winners = {key: row for key, row in costs.items() if key[0] not in (AS_GIVEN, FINISHED)}

    def is_dominated(key: tuple[str, str]) -> bool:
        rows = [row for other, row in of_winners.items() if other != key]
        return any((row <= costs[key]).all() and (row < costs[key]).any() for row in rows)

    for name, variants in [
        *((w.id, w.variants) for w in results.winners),
        *((o.state, o.variants) for o in results.original),
    ]:
        for variant in variants:
            assert variant.on_front != is_dominated((name, variant.name))


def test_the_same_command_makes_nothing_of_the_original_again(finished: Path, tmp_path: Path) -> None:
    path = copy_run(finished, tmp_path / "run")
    before = digests(path, "original/*", "winners/*/*.onnx", "winners/*/*.safetensors")
    stamps = {file: file.stat().st_mtime_ns for file in (path / "original").iterdir()}
    again = run_in(STUDY, path)
    assert again.original == Results.read(finished / "report.json").original
    assert digests(path, "original/*", "winners/*/*.onnx", "winners/*/*.safetensors") == before
    assert {file: file.stat().st_mtime_ns for file in (path / "original").iterdir()} == stamps


def test_damaged_files_of_the_original_are_made_again_and_said(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = copy_run(finished, tmp_path / "run")
    before = digests(path, "original/*")
    names = ("model.safetensors", "model.onnx", "architecture.json", "model.int8.onnx")
    hurt = [path / "original" / name for name in names]
    for file in hurt:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    run_in(STUDY, path)
    for file in hurt:
        assert f"{file} doesn't match its digest and is made again" in caplog.text
    assert digests(path, "original/*") == before


def test_a_network_that_was_not_converted_has_no_original_row(tiny_run: Path) -> None:
    assert Results.read(tiny_run / "report.json").original == ()
    assert not (tiny_run / "original").exists()
    assert "original" not in (tiny_run / "report.md").read_text()


@pytest.mark.draws
def test_candidates_trained_from_scratch_leave_the_original_as_given(tmp_path: Path) -> None:
    study = dataclasses.replace(
        STUDY, training=FromScratch(), evaluations=2, winners=dataclasses.replace(STUDY.winners, passes=())
    )
    assert [o.state for o in run_in(study, tmp_path, Listener()).original] == [AS_GIVEN]


def test_a_compressed_file_counts_as_it_is(finished: Path, results: Results) -> None:
    for folder, variants in [
        *((f"winners/{w.id}", w.variants) for w in results.winners),
        *((o.folder, o.variants) for o in results.original),
    ]:
        plain, packed = variants
        graph = onnx.load(finished / folder / packed.file).graph
        widths = [
            np.prod(t.dims) * onnx.helper.tensor_dtype_to_np_dtype(t.data_type).itemsize
            for t in graph.initializer
        ]
        assert packed.values["weight_bytes"].value == sum(widths)
        assert packed.values["weight_bytes"].value != plain.values["weight_bytes"].value
        for name in ("macs", "energy"):
            assert packed.values[name] == plain.values[name]
    for winner in results.winners:
        for name in ("weight_bytes", "macs", "energy"):
            assert winner.variants[0].values[name].value == winner.searched[name].value


def test_the_card_says_what_is_counted_on_what(finished: Path, results: Results) -> None:
    assert results.facts["counted"] == {
        "weight_bytes": "file",
        "macs": "architecture",
        "energy": "architecture",
    }
    for path in [finished / "report.md", *(finished / "winners").glob("*/README.md")]:
        text = path.read_text()
        assert "Counted on the architecture, and the same for all its files: macs, energy." in text
        assert "Counted on each file: weight_bytes; fp32 with 4 bytes for each parameter" in text


def test_weights_from_outside_are_told(finished: Path, results: Results) -> None:
    said = "what they had been trained on is not known here"
    assert said in results.facts["outside_weights"]
    for path in [finished / "report.md", *(finished / "winners").glob("*/README.md")]:
        assert said in path.read_text()
