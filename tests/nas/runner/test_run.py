"""The whole job: on digits by the command line, and tiny ones for what can go wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import optuna
import pytest
import torch
from fakes import FewDigits, Listener, NearestSurrogate, digests, run_in, tiny_network, tiny_study
from filelock import FileLock
from huggingface_hub import ModelCard
from optuna.trial import TrialState
from sklearn.metrics import confusion_matrix
from torch import nn
from typer.testing import CliRunner

import nas
from nas import (
    Accuracy,
    Constraint,
    Macs,
    NumParams,
    OptunaSampler,
    Recipe,
    Study,
    SurrogateSearch,
    Trust,
    Winners,
    choice,
)
from nas.choices import Option
from nas.cli import app
from nas.compression import CompressionPass, Lab, Model
from nas.errors import (
    DamagedFileError,
    EvaluationError,
    ExportError,
    InfeasibleError,
    NasError,
    RunDirectoryError,
    StudyChangedError,
    StudyError,
)
from nas.evaluation import OnnxCandidate
from nas.objective import Measurement, Objective
from nas.objectives import Bench, Candidate
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.search.record.trials import predictions_of
from nas.service.downloads import files_of
from nas.space import SearchSpace
from nas.splits import Splits
from nas.supernet import elastic, recalibrate

PAID = (
    "*.safetensors",
    "*.onnx",
    "finished*.json",
    "measurements.json",
    "architecture.json",
)


def trials(path: Path, name: str = "tiny") -> list[tuple[int, TrialState, dict, list[float] | None]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}")
    return [(t.number, t.state, t.params, t.values) for t in study.trials]


def snapshot(path: Path) -> tuple[object, object]:
    """Return every file and every trial; SQLite may rearrange its own files."""
    files = {name: digest for name, digest in digests(path).items() if not name.startswith("study.db")}
    return files, trials(path)


def winner_folders(path: Path) -> list[Path]:
    return sorted(folder for folder in (path / "winners").iterdir() if folder.is_dir())


def comparable(results: Results) -> dict[str, object]:
    """Return the results without what time and place put in."""
    plain = dataclasses.asdict(results)
    plain["facts"] = {k: v for k, v in plain["facts"].items() if k not in ("seconds", "command", "machine")}
    return plain


# What a finished run leaves behind


def test_every_promised_file_is_there_and_no_leftover(cli_run: Path) -> None:
    top = {path.name for path in cli_run.iterdir()} - {".lock", "study.db-wal", "study.db-shm"}
    assert top == {
        *("run.json", "status.json", "supernet", "study.db", "winners"),
        *("report.json", "report.md", "front.png", "hypervolume.png", "trust", "files.json", "adapted"),
    }
    assert {p.name for p in (cli_run / "supernet").iterdir()} == {"weights.safetensors", "training.json"}
    folders = winner_folders(cli_run)
    results = Results.read(cli_run / "report.json")
    # A few steps of their own may bring up candidates beside the front, so a front of one may have two winners.
    assert min(2, len(results.front)) <= len(folders) <= 2
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
    assert {w.id for w in results.winners} <= {path.stem for path in (cli_run / "adapted").iterdir()}
    variants = [v for w in results.winners for v in w.variants]
    objectives = [*results.objectives, Objective("file_bytes", "B", "minimize")]
    costs = np.array([[o.cost(v.values[o.name].value) for o in objectives] for v in variants])
    for variant, cost in zip(variants, costs, strict=True):
        dominated = ((costs <= cost).all(axis=1) & (costs < cost).any(axis=1)).any()
        assert variant.on_front == (not dominated)


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


def test_results_survive_being_stored(cli_run: Path, tmp_path: Path) -> None:
    results = Results.read(cli_run / "report.json")
    results.save(tmp_path / "again.json")
    assert Results.read(tmp_path / "again.json") == results


# Running again


def test_running_again_pays_for_nothing(tiny_copy: Path) -> None:
    before, recorded = digests(tiny_copy, *PAID, "training.json"), trials(tiny_copy)
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.rglob("*.safetensors")}
    first = Results.read(tiny_copy / "report.json")
    listener = Listener()
    again = run_in(tiny_study(), tiny_copy, listener)
    assert digests(tiny_copy, *PAID, "training.json") == before
    assert trials(tiny_copy) == recorded
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert comparable(again) == comparable(first)
    assert not {"train supernet", "search"} & set(listener.stages)


def test_two_runs_of_one_seed_are_equal(tiny_run: Path, tmp_path: Path) -> None:
    run_in(tiny_study(), tmp_path / "other")
    assert digests(tmp_path / "other", *PAID) == digests(tiny_run, *PAID)
    assert trials(tmp_path / "other") == trials(tiny_run)


def test_the_number_of_threads_changes_nothing_for_a_small_network(tiny_run: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run_in(tiny_study(), tmp_path / "other")
        assert torch.get_num_threads() == 2
        with pytest.raises(RunDirectoryError):
            run_in(tiny_study(), tmp_path / "other" / "run.json")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert digests(tmp_path / "other", *PAID) == digests(tiny_run, *PAID)


def test_more_evaluations_go_on_from_the_record(tiny_copy: Path) -> None:
    recorded = trials(tiny_copy)
    results = run_in(tiny_study(evaluations=9), tiny_copy)
    assert trials(tiny_copy)[:6] == recorded
    assert len(results.values) == 9


def test_other_winners_settings_are_no_other_study(tiny_copy: Path) -> None:
    recorded, supernet = trials(tiny_copy), digests(tiny_copy / "supernet", "*.safetensors")
    fewer = Winners(count=1, recipe=Recipe(epochs=2, batch_size=64, learning_rate=1e-3))
    results = run_in(tiny_study(winners=fewer, intended_use="None."), tiny_copy)
    assert len(results.winners) == 1
    assert trials(tiny_copy) == recorded
    assert digests(tiny_copy / "supernet", "*.safetensors") == supernet


def test_a_recipe_may_take_less_memory_in_the_same_directory(tiny_copy: Path) -> None:
    run_in(tiny_study(trust=Trust(recipe=Recipe(epochs=1))), tiny_copy)
    before = digests(tiny_copy, *PAID, "training.json", "trust/*.json")
    study = tiny_study(trust=Trust(recipe=Recipe(epochs=1, accumulate=2)))
    winners = dataclasses.replace(study.winners, recipe=less_memory(study.winners.recipe))
    run_in(dataclasses.replace(study, recipe=less_memory(study.recipe), winners=winners), tiny_copy)
    assert digests(tiny_copy, *PAID, "training.json", "trust/*.json") == before


def less_memory(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, accumulate=2, halve_on_oom=True)


def wide_network() -> nn.Module:
    width = choice("width", 2, 4, 16)
    return nn.Sequential(
        elastic.Conv2d(1, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), elastic.Linear(width, 10)
    )


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"seed": 1}, "seed"),
        ({"objectives": (Accuracy(), Macs())}, "objectives"),
        ({"objectives": (Accuracy(),)}, "objectives"),
        ({"network": wide_network}, "space"),
        ({"network": partial(tiny_network, channels=1)}, "network"),
        ({"data": FewDigits(seed=1)}, "data"),
        ({"recipe": Recipe(epochs=3, batch_size=64)}, "recipe"),
        ({"strategy": SurrogateSearch(NearestSurrogate, num_startup=5)}, "strategy"),
        ({"constraints": (Constraint(NumParams(), 1000),)}, "constraints"),
        ({"name": "other"}, "study"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_study_is_refused_and_nothing_touched(
    tiny_run: Path, changes: dict[str, object], aspect: str
) -> None:
    before = snapshot(tiny_run)
    with pytest.raises(StudyChangedError, match=aspect) as caught:
        run_in(tiny_study(**changes), tiny_run)
    assert "\n" not in str(caught.value)
    assert snapshot(tiny_run) == before


# Stopping anywhere


class StopError(KeyboardInterrupt):
    """As sudden as Ctrl-C."""


class StopsAt(Listener):
    """Stops the run after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, note: str) -> None:
        super().advance(note)
        self._left -= 1
        if self._left == 0:
            raise StopError


@pytest.mark.parametrize("steps", [1, 3, 7, 9, 10])
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tiny_run: Path, tmp_path: Path, steps: int) -> None:
    """Two epochs, six evaluations, two winners and a measurement are eleven steps."""
    with pytest.raises(StopError):
        run_in(tiny_study(), tmp_path / "run", StopsAt(steps))
    results = run_in(tiny_study(), tmp_path / "run")
    assert digests(tmp_path / "run", *PAID) == digests(tiny_run, *PAID)
    assert trials(tmp_path / "run") == trials(tiny_run)
    assert comparable(results) == comparable(Results.read(tiny_run / "report.json"))


@pytest.mark.parametrize(
    "damage", ["folder", "model.onnx", "model.safetensors", "finished.json", "architecture.json"]
)
def test_a_winner_that_lost_files_is_remade(tiny_run: Path, tiny_copy: Path, damage: str) -> None:
    folder = winner_folders(tiny_copy)[0]
    if damage == "folder":
        shutil.rmtree(folder)
    else:
        (folder / damage).unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)
    assert (folder / "README.md").exists()


def test_fine_tuning_stopped_and_changed_begins_anew(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise StopError

    other = Winners(count=1, recipe=Recipe(epochs=2, batch_size=32, learning_rate=2e-3))
    clean, stopped = (Path(shutil.copytree(tiny_run, tmp_path / name)) for name in ("clean", "stopped"))
    for path in (clean, stopped):
        shutil.rmtree(path / "winners")
    with monkeypatch.context() as patched:
        patched.setattr("nas.runner.finishing.export", stop)
        with pytest.raises(StopError):
            run_in(tiny_study(), stopped)
    for path in (clean, stopped):
        run_in(tiny_study(winners=other), path)
    assert digests(stopped / "winners", "*.safetensors", "*.onnx") == digests(
        clean / "winners", "*.safetensors", "*.onnx"
    )


def test_damaged_supernet_weights_are_told_and_the_advice_helps(tiny_run: Path, tiny_copy: Path) -> None:
    weights = tiny_copy / "supernet" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DamagedFileError, match="delete it") as caught:
        run_in(tiny_study(), tiny_copy)
    assert "\n" not in str(caught.value)
    weights.unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)


@pytest.mark.parametrize("name", ["run.json", "supernet/training.json", "winners/measurements.json"])
def test_a_damaged_json_file_is_told_and_the_advice_helps(tiny_run: Path, tiny_copy: Path, name: str) -> None:
    (tiny_copy / name).write_text('{"half')
    with pytest.raises(DamagedFileError, match="delete it"):
        run_in(tiny_study(), tiny_copy)
    (tiny_copy / name).unlink()
    run_in(tiny_study(), tiny_copy)
    assert digests(tiny_copy, *PAID) == digests(tiny_run, *PAID)


def test_trials_of_another_supernet_are_not_mixed(tiny_run: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    run_in(tiny_study(seed=1), mixed)
    for name in ("run.json", "supernet"):
        source, target = tiny_run / name, mixed / name
        if source.is_dir():
            shutil.rmtree(target)
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    with pytest.raises(StudyChangedError, match="another supernet"):
        run_in(tiny_study(), mixed)


# What stops a run before or while it pays


def test_an_infeasible_constraint_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    study = tiny_study(constraints=(Constraint(NumParams(), 3),))
    with pytest.raises(InfeasibleError, match=r"num_params is .* at most 3 is asked for") as caught:
        run_in(study, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*", "*.db", "run.json")


def test_a_hard_constraint_holds_for_every_trial_and_winner(tmp_path: Path) -> None:
    results = run_in(
        tiny_study(constraints=(Constraint(NumParams(), 150), Constraint(Macs(), 8000))), tmp_path / "run"
    )
    assert len(results.values) == 6
    assert all(num_params <= 150 for _, num_params in results.values)
    assert all(w.num_params <= 150 and w.macs <= 8000 for w in results.winners)
    assert results.trials["turned_down"] == 0


def test_shapes_that_do_not_fit_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="shape"):
        run_in(tiny_study(network=partial(tiny_network, channels=3)), tmp_path / "run")
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*", "*.db")


def test_a_sampler_that_can_not_be_made_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="GridSampler"):
        run_in(tiny_study(strategy=OptunaSampler("GridSampler")), tmp_path / "run")
    assert not digests(tmp_path / "run", "*.safetensors", "checkpoint*")


def test_a_second_runner_is_refused(tiny_run: Path) -> None:
    before = snapshot(tiny_run)
    with FileLock(tiny_run / ".lock"), pytest.raises(RunDirectoryError, match="another process is running"):
        run_in(tiny_study(), tiny_run)
    assert snapshot(tiny_run) == before


def test_a_place_that_can_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="can't be written") as caught:
        run_in(tiny_study(), tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("writes", [0, 5, 14, 24])
def test_a_disk_that_fills_up_is_one_sentence_and_nothing_is_lost(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    sync, left = os.fsync, writes

    def filling(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", filling)
        with pytest.raises(RunDirectoryError, match="No space left on device") as caught:
            run_in(tiny_study(), tmp_path / "run")
    assert "\n" not in str(caught.value)
    run_in(tiny_study(), tmp_path / "run")
    assert digests(tmp_path / "run", *PAID) == digests(tiny_run, *PAID)


def test_a_database_that_can_not_grow_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.search.record import storage

    relax = storage.write_ahead

    def full(connection: object, record: object) -> None:
        relax(connection, record)
        connection.execute("PRAGMA max_page_count=31")  # type: ignore[attr-defined]

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_ahead", full)
        with pytest.raises(RunDirectoryError, match=r"study\.db can't be written .*full") as caught:
            run_in(tiny_study(evaluations=40), tmp_path / "run")
    assert "\n" not in str(caught.value)
    results = run_in(tiny_study(), tmp_path / "run")
    assert len(results.values) >= 6
    assert {state for _, state, _, _ in trials(tmp_path / "run")} <= {TrialState.COMPLETE, TrialState.RUNNING}


# Objectives that misbehave


@dataclasses.dataclass
class Moody:
    """A quality that raises or gives what it is told to."""

    search: float | Exception = 0.5
    final: float | Exception = 0.5
    objective: Objective = Objective("mood", "", "maximize")

    def calibrate(self) -> dict[str, float]:
        return {"zero": 0.0}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        value = self.final if bench.thorough else self.search
        if isinstance(value, Exception):
            raise value
        return [Measurement(value, 0.0, "", "", 1) for _ in candidates]


def test_when_every_evaluation_fails_there_are_no_winners(tmp_path: Path) -> None:
    study = tiny_study(objectives=(Accuracy(), Moody(search=OSError("unplugged"))))
    with pytest.raises(EvaluationError) as caught:
        run_in(study, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "winners").exists()
    assert [state for _, state, _, _ in trials(tmp_path / "run")] == [TrialState.FAIL] * 6


@pytest.mark.parametrize("final", [float("nan"), OSError("unplugged")])
def test_an_objective_that_fails_on_the_winners_is_one_sentence_and_can_be_mended(
    tmp_path: Path, final: float | Exception
) -> None:
    moody = Moody(final=final)
    with pytest.raises(EvaluationError, match="mood") as caught:
        run_in(tiny_study(objectives=(Accuracy(), moody)), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_one_objective_that_is_constant_is_a_study(tmp_path: Path) -> None:
    results = run_in(tiny_study(objectives=(Moody(),)), tmp_path / "run")
    assert len(results.values) == 6
    assert len(results.winners) == 1
    assert (tmp_path / "run" / "front.png").exists()
    assert (tmp_path / "run" / "report.md").exists()


def test_calibration_is_made_once_and_stored(tmp_path: Path) -> None:
    class Counting(Moody):
        calls = 0

        def calibrate(self) -> dict[str, float]:
            type(self).calls += 1
            return {"reference": 1.5}

    study = tiny_study(objectives=(Accuracy(), Counting()))
    for _ in range(2):
        run_in(study, tmp_path / "run")
    assert Counting.calls == 1


def test_another_processor_is_refused_where_something_was_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(objectives=(Accuracy(), Moody()))
    run_in(study, tmp_path / "run")
    monkeypatch.setattr("nas.runner.measuring.processor_name", lambda: "Another 9000")
    with pytest.raises(StudyChangedError, match="Another 9000"):
        run_in(study, tmp_path / "run")


# Compression passes


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


# The test split


class Guarded:
    """A split that must not be read before the winners are chosen and fine-tuned."""

    def __init__(self, part: object, listener: Listener, num_winners: int) -> None:
        self._part, self._listener, self._num_winners = part, listener, num_winners
        self.reads = 0

    def __len__(self) -> int:
        return len(self._part)  # type: ignore[arg-type]

    def _open(self, name: str) -> torch.Tensor:
        done = sum(stage == "finish winners" for stage, _ in self._listener.steps)
        # After the winners' own steps, or after the one that says that they are measured, and in no later stage.
        assert done in (self._num_winners, self._num_winners + 1), f"read after {self._listener.steps[-1:]}"
        assert self._listener.stages[-1] == "finish winners"
        self.reads += 1
        return getattr(self._part, name)  # type: ignore[no-any-return]

    @property
    def targets(self) -> torch.Tensor:
        return self._open("targets")

    def batch(self, rows: slice) -> torch.Tensor:
        return self._open("inputs")[rows]


def test_the_test_split_is_read_for_the_winners_alone_and_once(tmp_path: Path) -> None:
    listener, splits = Listener(), FewDigits().load()
    guarded = Guarded(splits.test, listener, num_winners=2)

    class Source:
        def load(self) -> Splits:
            return dataclasses.replace(splits, test=guarded)  # type: ignore[arg-type]

    study = tiny_study(data=Source())
    results = run_in(study, tmp_path / "run", listener)
    assert len(results.winners) == 2
    reads = guarded.reads
    assert reads > 0
    run_in(study, tmp_path / "run", listener)
    assert guarded.reads == reads


# Networks that nas.load can't find by itself


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


# What the fingerprint must not notice


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
