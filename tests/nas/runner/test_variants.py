"""Compression passes on winners, and the variants that come of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import onnx
import pytest
from fakes import run_in, tiny_study
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from nas import (
    Accuracy,
    Constraint,
    Study,
)
from nas.choices import Option
from nas.cli import app
from nas.compression import CompressionPass, Lab, Model
from nas.errors import (
    ExportError,
)
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.service.downloads import files_of
from nas.space import SearchSpace


@dataclasses.dataclass(frozen=True)
class Copy:
    """A pass that copies a file, or raises."""

    broken: bool = False
    name: str = "copy"
    works_on: Literal["module", "file"] = "file"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        if self.broken:
            raise ValueError("no such operator")
        return dataclasses.replace(model, applied=(*model.applied, "copied"))


def with_passes(*passes: CompressionPass) -> Study:
    return tiny_study(winners=dataclasses.replace(tiny_study().winners, passes=passes))


def test_a_pass_added_later_keeps_the_winners_weights(tiny_copy: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.rglob("*.safetensors")}
    results = run_in(with_passes(Copy()), tiny_copy)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for winner in results.winners:
        assert [v.name for v in winner.variants] == ["fp32", "copy"]
        assert winner.variants[0].values["accuracy"] == winner.variants[1].values["accuracy"]
        assert [v.on_front for v in winner.variants] in ([True, False], [False, False])


@dataclasses.dataclass(frozen=True)
class OnnxBytes:
    """Size of the exported file, as a measured objective."""

    objective: Objective = Objective("onnx_bytes", "B", "minimize")

    def calibrate(self) -> dict[str, float]:
        return {"zero": 0.0}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        return [Measurement(float(len(c.onnx_model)), 0.0, "B", "", 1) for c in candidates]


@dataclasses.dataclass(frozen=True)
class Padded:
    """A pass that adds a comment of 100 kB."""

    name: str = "padded"
    works_on: Literal["module", "file"] = "file"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        padded = onnx.load_model_from_string(model.onnx)
        padded.doc_string = "x" * 100_000
        return dataclasses.replace(model, onnx=padded.SerializeToString(), applied=(*model.applied, "padded"))


@pytest.mark.parametrize(("at_most", "exceeding"), [(50_000, {"padded"}), (1, {"fp32", "padded"})])
def test_what_exceeds_a_soft_limit_is_not_on_the_final_front(
    tmp_path: Path, at_most: float, exceeding: set[str]
) -> None:
    study = dataclasses.replace(
        with_passes(Padded()),
        objectives=(Accuracy(), OnnxBytes()),
        constraints=(Constraint(OnnxBytes(), at_most=at_most),),
    )
    results = run_in(study, tmp_path)
    variants = [v for w in results.winners for v in w.variants]
    assert {v.name for v in variants if v.exceeds} == exceeding
    assert {v.name for v in variants if v.on_front} == {"fp32"}
    assert "no; exceeds onnx_bytes" in (tmp_path / "report.md").read_text()
    assert Results.read(tmp_path / "report.json").winners == results.winners


def test_a_variant_that_is_worse_in_every_column_is_told_and_not_shipped(tiny_copy: Path) -> None:
    results = run_in(with_passes(Padded(), Copy()), tiny_copy)
    for winner in results.winners:
        assert [variant.shipped for variant in winner.variants] == [True, False, True]
        folder = tiny_copy / "winners" / winner.id
        files = {path.name for path in files_of(RunDirectory(tiny_copy), winner)}
        assert "model.copy.onnx" in files
        assert not {"model.padded.onnx", "model.padded.json"} & files
        card = (folder / "README.md").read_text()
        assert "not shipped, worse than fp32 in every column" in card
        named = {result.metric_name for result in ModelCard(card).data.eval_results}
        assert {"accuracy (fp32)", "accuracy (copy)"} <= named
        assert not any("padded" in name for name in named)
    assert "not shipped, worse than fp32 in every column" in (tiny_copy / "report.md").read_text()
    shipped = tiny_copy.parent / "shipped"
    assert CliRunner().invoke(app, ["export", str(tiny_copy), "--to", str(shipped), "--all"]).exit_code == 0
    assert list(shipped.glob("*/model.copy.onnx"))
    assert not list(shipped.glob("*/model.padded*"))


def test_a_pass_that_fails_is_one_sentence_and_can_be_mended(tiny_copy: Path) -> None:
    with pytest.raises(ExportError, match="no such operator") as caught:
        run_in(with_passes(Copy(broken=True)), tiny_copy)
    assert "\n" not in str(caught.value)
    assert len(run_in(with_passes(Copy()), tiny_copy).winners[0].variants) == 2


def test_a_pass_that_can_not_do_it_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no such operator"):
        run_in(with_passes(Copy(broken=True)), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
