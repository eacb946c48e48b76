from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import safetensors.torch
import torch
from fakes import digests, run_in, tiny_network, tiny_study, trained_tiny_network
from run_folders import copy_run
from scratch_runs import StopError, StopsAt, scratch_study

import nas
from nas import (
    Accuracy,
    FineTune,
    FromScratch,
    Int8,
    NumParams,
    OptunaSampler,
    Pipeline,
    ProxySubset,
    Prune,
    Recipe,
    Study,
    TrainingMacs,
)
from nas.errors import StudyError
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.objective import Measurement
from nas.objectives import Bench, Candidate, MeasuredObjective
from nas.report.results import Results
from nas.runner.preparation import prepare


class AbsurdAt(StopsAt):
    """Accuracy, but for the n-th measurement."""

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls += 1
        if self.calls == self.at:
            return [Measurement(1e12, 0.0, "", "", 1) for _ in candidates]
        return MeasuredQuality(Accuracy()).measure(candidates, bench)


def read_measurements(path: Path, name: str = "tiny") -> list[tuple[dict[str, Any], Any]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}")
    return [(trial.params, trial.user_attrs.get("measurements")) for trial in study.trials]


@pytest.fixture(scope="module")
def scratch_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "scratch"
    run_in(scratch_study(), out)
    return out


def test_every_candidate_tells_how_long_it_was_trained(scratch_run: Path) -> None:
    measured = [m for _, m in read_measurements(scratch_run)]
    epochs = [m["epochs"]["value"] for m in measured]
    assert epochs[:2] == [1, 1]
    assert max(epochs) > 1
    assert set(epochs) <= {1, 2, 4}
    for m in measured:
        hurdles = [name for name in m if name.startswith("accuracy@")]
        assert len(hurdles) == {1: 1, 2: 2, 4: 3}[m["epochs"]["value"]]
        assert m["accuracy"]["value"] == m[hurdles[-1]]["value"]


def test_only_those_above_the_hurdle_or_on_its_front_train_on(scratch_run: Path) -> None:
    measured = [m for _, m in read_measurements(scratch_run)]
    height = (measured[0]["accuracy@1"]["value"] + measured[1]["accuracy@1"]["value"]) / 2
    for number, m in enumerate(measured[2:], start=2):
        before, quality, size = measured[:number], m["accuracy@1"]["value"], m["num_params"]["value"]
        dominated = any(
            b["accuracy@1"]["value"] >= quality and b["num_params"]["value"] <= size for b in before
        )
        assert (m["epochs"]["value"] > 1) == (quality > height or not dominated)


def test_there_is_no_supernet_and_nothing_to_doubt(scratch_run: Path) -> None:
    assert not (scratch_run / "supernet").exists()
    results = Results.read(scratch_run / "report.json")
    assert results.trust is None
    assert "no supernet to doubt" in (scratch_run / "report.md").read_text()
    assert results.facts["epochs"]
    assert sum(results.facts["epochs"].values()) == 8


def test_the_weights_of_the_front_are_kept_and_no_others_than_the_last(scratch_run: Path) -> None:
    results = Results.read(scratch_run / "report.json")
    kept = {path.stem for path in (scratch_run / "candidates" / "tiny").iterdir()}
    assert len(digests(scratch_run / "candidates")) == 2 * len(kept)  # each with its digest
    assert {results.ids[row] for row in results.front} <= kept
    assert len(kept) <= len(results.front) + 1


@pytest.mark.parametrize("lost", [False, True])
def test_damaged_weights_of_a_candidate_are_trained_again(
    scratch_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: bool
) -> None:
    out = copy_run(scratch_run, tmp_path / "run")
    shutil.rmtree(out / "winners")
    winners = Results.read(out / "report.json").winners
    for winner in winners:
        weights = out / "candidates" / "tiny" / f"{winner.id}.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"~")
        if lost:
            weights.unlink()
    run_in(scratch_study(), out)
    assert caplog.text.count(".safetensors") == len(winners)
    assert digests(out, "winners/*/model.*") == digests(scratch_run, "winners/*/model.*")


def test_a_value_too_good_to_be_true_leaves_the_run_its_front_and_winners(
    tmp_path: Path, nas_command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(epochs=1, batch_size=32, learning_rate=0.02)
    study = scratch_study(
        AbsurdAt(3),
        training=FromScratch(),
        recipe=recipe,
        evaluations=6,
        strategy=OptunaSampler("RandomSampler"),
    )
    results = run_in(study, tmp_path)
    (absurd,) = [row for row, values in enumerate(results.values) if values[0] == 1e12]
    assert results.front
    assert absurd not in results.front
    assert results.trial_numbers[absurd] not in {winner.trial for winner in results.winners}
    sentence = f"rial {results.trial_numbers[absurd]} has values too good to be true in accuracy"
    assert f"T{sentence}" in (tmp_path / "report.md").read_text()
    capsys.readouterr()
    for command in ("front", "status"):
        assert nas_command(command, tmp_path) == 0
        told = capsys.readouterr().out
        assert sentence in told
        assert "1000000000000" not in told


@pytest.mark.parametrize("at", [2, 6, 11])
def test_a_killed_search_goes_on_as_if_nothing_happened(scratch_run: Path, tmp_path: Path, at: int) -> None:
    out = tmp_path / "run"
    with pytest.raises(StopError):
        run_in(scratch_study(StopsAt(at)), out)
    run_in(scratch_study(), out)
    assert read_measurements(out) == read_measurements(scratch_run)
    weights = "winners/*/model.safetensors"
    assert digests(out, weights) == digests(scratch_run, weights)


def test_a_search_goes_on_with_less_memory(scratch_run: Path, tmp_path: Path) -> None:
    copy = copy_run(scratch_run, tmp_path / "scratch")
    recipe = dataclasses.replace(scratch_study().recipe, accumulate=2, halve_on_oom=True)
    run_in(scratch_study(recipe=recipe), copy)
    assert read_measurements(copy) == read_measurements(scratch_run)


def test_without_hurdles_all_train_to_the_end(tmp_path: Path) -> None:
    run_in(scratch_study(training=FromScratch(), evaluations=3), tmp_path / "run", baselines=True)
    assert [m["epochs"]["value"] for _, m in read_measurements(tmp_path / "run")] == [4, 4, 4]
    assert [m["epochs"]["value"] for _, m in read_measurements(tmp_path / "run", "tiny-random")] == [4, 4, 4]


def big_study(quality: MeasuredObjective | None = None) -> Study:
    rest = {
        "width": 8,
        "kernel": 3,
        "depth": 0,
        "0.kernel": 1,
        "1.kernel": 1,
        "prune.keep": 1.0,
        "int8.bits": 32,
    }
    return scratch_study(
        objectives=(quality or StopsAt(0), NumParams(), TrainingMacs()),
        training=FromScratch(epochs=(1, 2, 4)),
        pipeline=Pipeline(Prune(keep=(0.5, 1.0)), FineTune(), Int8(bits=(8, 32))),
        warm_start=tuple({"training.epochs": epochs, **rest} for epochs in (1, 2, 4)),
        evaluations=5,
    )


@pytest.fixture(scope="module")
def big_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "big"
    run_in(big_study(), out)
    return out


def test_candidates_are_trained_for_as_many_epochs_as_they_choose(big_run: Path) -> None:
    measured = read_measurements(big_run)
    assert {m["epochs"]["value"] for _, m in measured} == {1, 2, 4}
    prepared = prepare(big_study(), torch.device("cpu"))
    for params, m in measured:
        assert m["epochs"]["value"] == params["training.epochs"]
        architecture = prepared.problem.space.architecture(params)
        counts = prepared.counts(prepared.problem.space.indices([architecture]))
        assert m["training_macs"]["value"] == counts.macs[0] * 3 * 180 * params["training.epochs"]


def test_the_training_of_winners_is_that_of_their_architecture(big_run: Path) -> None:
    for winner in Results.read(big_run / "report.json").winners:
        values = [variant.values["training_macs"].value for variant in winner.variants]
        assert set(values) == {winner.searched["training_macs"].value}
        nas.load(big_run / "winners" / winner.id, network=tiny_network)


def test_a_killed_search_with_a_choice_of_epochs_goes_on_as_if_nothing_happened(
    big_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(StopError):
        run_in(big_study(StopsAt(4)), out)
    run_in(big_study(), out)
    assert read_measurements(out) == read_measurements(big_run)
    weights = "winners/*/model.safetensors"
    assert digests(out, weights) == digests(big_run, weights)


def test_lost_weights_are_trained_again_for_as_many_epochs(big_run: Path, tmp_path: Path) -> None:
    out = copy_run(big_run, tmp_path / "run")
    shutil.rmtree(out / "winners")
    for weights in out.glob("candidates/tiny/*.safetensors"):
        weights.unlink()
    run_in(big_study(), out)
    weights = "winners/*/model.safetensors"
    assert digests(out, weights) == digests(big_run, weights)


def test_weights_that_a_network_comes_with_do_not_help_its_candidates(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, learning_rate=1e-6)
    study = scratch_study(network=trained_tiny_network, training=FromScratch(), recipe=recipe, evaluations=2)
    run_in(study, tmp_path / "run", baselines=True)
    files = [*tmp_path.rglob("candidates/tiny*/*.safetensors")]
    assert files
    for file in files:
        state = safetensors.torch.load(file.read_bytes())
        assert max(state[name].abs().max() for name in state if name.endswith(("weight", "bias"))) < 5


def test_hurdles_must_stand_before_the_recipes_end_and_a_proxy_needs_a_supernet() -> None:
    with pytest.raises(StudyError, match="before the end"):
        scratch_study(recipe=Recipe(epochs=2))
    with pytest.raises(StudyError, match="proxy, weights and pretraining are for studies with a supernet"):
        scratch_study(proxy=ProxySubset())
    with pytest.raises(StudyError, match="one of SandwichRule"):
        tiny_study(training="sandwich")
