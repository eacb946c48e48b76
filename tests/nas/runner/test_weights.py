"""Runs whose candidates' weights come from elsewhere than the sandwich rule."""

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
from fakes import Listener, digests, run_in, tiny_network, tiny_study, trained_tiny_network

import nas
from nas import (
    Accuracy,
    Constraint,
    FineTune,
    FromScratch,
    Hurdles,
    Int8,
    NoTraining,
    NumParams,
    OptunaSampler,
    Pipeline,
    ProgressiveShrinking,
    ProxySubset,
    Prune,
    Recipe,
    SinglePath,
    Study,
    TrainingMacs,
    Winners,
)
from nas.errors import InfeasibleError, StudyChangedError, StudyError
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.files import read_json
from nas.objective import Measurement
from nas.objectives import Bench, Candidate, MeasuredObjective
from nas.report.results import Results
from nas.runner import assist
from nas.runner.preparation import prepare
from nas.training import Ranks


class StopError(KeyboardInterrupt):
    """Ends a run as a kill would: nothing catches it."""


@dataclasses.dataclass
class StopsAt:
    """Accuracy, until the n-th measurement."""

    at: int
    calls: int = 0
    objective: Any = Accuracy().objective

    def __repr__(self) -> str:
        return "StopsAt()"

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls += 1
        if self.calls == self.at:
            raise StopError
        return MeasuredQuality(Accuracy()).measure(candidates, bench)


class AbsurdAt(StopsAt):
    """Accuracy, but for the n-th measurement."""

    def measure(self, candidates: Sequence[Candidate], bench: Bench) -> list[Measurement]:
        self.calls += 1
        if self.calls == self.at:
            return [Measurement(1e12, 0.0, "", "", 1) for _ in candidates]
        return MeasuredQuality(Accuracy()).measure(candidates, bench)


class StopsAfter(Listener):
    """Ends a run after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def advance(self, note: str) -> None:
        super().advance(note)
        self._left -= 1
        if self._left == 0:
            raise StopError


def scratch_study(quality: MeasuredObjective | None = None, **changes: Any) -> Study:
    settings: dict[str, Any] = {
        "training": FromScratch(Hurdles(after=(1, 2), every=2)),
        "recipe": Recipe(epochs=4, batch_size=16, learning_rate=0.02),
        "objectives": (quality or StopsAt(0), NumParams()),
        "evaluations": 8,
        "winners": Winners(count=2, recipe=Recipe(epochs=1, learning_rate=1e-3)),
    }
    return tiny_study(**{**settings, **changes})


def records(path: Path, name: str = "tiny") -> list[tuple[dict[str, Any], Any]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}")
    return [(trial.params, trial.user_attrs.get("measurements")) for trial in study.trials]


@pytest.fixture(scope="module")
def scratch_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "scratch"
    run_in(scratch_study(), out)
    return out


def test_every_candidate_tells_how_long_it_was_trained(scratch_run: Path) -> None:
    measured = [m for _, m in records(scratch_run)]
    epochs = [m["epochs"]["value"] for m in measured]
    assert epochs[:2] == [1, 1]
    assert max(epochs) > 1
    assert set(epochs) <= {1, 2, 4}
    for m in measured:
        hurdles = [name for name in m if name.startswith("accuracy@")]
        assert len(hurdles) == {1: 1, 2: 2, 4: 3}[m["epochs"]["value"]]
        assert m["accuracy"]["value"] == m[hurdles[-1]]["value"]


def test_only_those_above_the_hurdle_or_on_its_front_train_on(scratch_run: Path) -> None:
    measured = [m for _, m in records(scratch_run)]
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
    out = Path(shutil.copytree(scratch_run, tmp_path / "run"))
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
    assert records(out) == records(scratch_run)
    weights = "winners/*/model.safetensors"
    assert digests(out, weights) == digests(scratch_run, weights)


def test_a_search_goes_on_with_less_memory(scratch_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(scratch_run, tmp_path / "scratch"))
    recipe = dataclasses.replace(scratch_study().recipe, accumulate=2, halve_on_oom=True)
    run_in(scratch_study(recipe=recipe), copy)
    assert records(copy) == records(scratch_run)


def test_without_hurdles_all_train_to_the_end(tmp_path: Path) -> None:
    run_in(scratch_study(training=FromScratch(), evaluations=3), tmp_path / "run", baselines=True)
    assert [m["epochs"]["value"] for _, m in records(tmp_path / "run")] == [4, 4, 4]
    assert [m["epochs"]["value"] for _, m in records(tmp_path / "run", "tiny-random")] == [4, 4, 4]


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
    measured = records(big_run)
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
    assert records(out) == records(big_run)
    weights = "winners/*/model.safetensors"
    assert digests(out, weights) == digests(big_run, weights)


def test_lost_weights_are_trained_again_for_as_many_epochs(big_run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(big_run, tmp_path / "run"))
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


@pytest.mark.parametrize("training", [ProgressiveShrinking(), SinglePath()], ids=repr)
def test_other_recipes_resume_to_the_same_weights(tmp_path: Path, training: Any) -> None:
    study = tiny_study(training=training, recipe=Recipe(epochs=6, batch_size=64), evaluations=2)

    out = tmp_path / "stopped"
    for steps in (1, 3):
        with pytest.raises(StopError):
            run_in(study, out, StopsAfter(steps))
    listener = Listener()
    run_in(study, out, listener)
    run_in(study, tmp_path / "whole")
    assert digests(out / "supernet", "*.safetensors") == digests(
        tmp_path / "whole" / "supernet", "*.safetensors"
    )
    assert len([step for step in listener.steps if step[0] == "train supernet"]) == 2
    assert {path.name for path in (out / "supernet").iterdir()} == {*("weights.safetensors", "training.json")}


def test_weights_from_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = {name: value.contiguous() for name, value in tiny_network_state().items()}
    (tmp_path / "mine.safetensors").write_bytes(safetensors.torch.save(state))
    study = tiny_study(training=NoTraining(), weights=tmp_path / "mine.safetensors")
    results = run_in(study, tmp_path / "run")
    used = safetensors.torch.load((tmp_path / "run" / "supernet" / "weights.safetensors").read_bytes())
    assert all(torch.equal(used[f"module.{name}"], value) for name, value in state.items())
    assert read_json(tmp_path / "run" / "supernet" / "training.json")["result"]["losses"] == []
    assert results.trust is not None
    state["0.weight"] += 1
    (tmp_path / "mine.safetensors").write_bytes(safetensors.torch.save(state))
    with pytest.raises(StudyChangedError, match="weights was"):
        run_in(study, tmp_path / "run")


def test_weights_may_be_made_by_a_run_and_are_those_of_the_file(tmp_path: Path) -> None:
    file, cpu = tmp_path / "mine.safetensors", torch.device("cpu")

    def made(device: torch.device) -> Path:
        assert device == cpu
        if not file.exists():
            torch.manual_seed(7)
            file.write_bytes(safetensors.torch.save(tiny_network_state()))
        return file

    prepared = prepare(tiny_study(weights=made), cpu)
    known = prepare(tiny_study(weights=file), cpu)
    assert prepared.description() == known.description()
    found, expected = prepared.supernet.state_dict(), known.supernet.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_is_made_for_a_study_that_can_not_run() -> None:
    def never(_: torch.device) -> Path:
        raise AssertionError("made")

    with pytest.raises(InfeasibleError, match="Nothing was trained"):
        prepare(tiny_study(weights=never, constraints=(Constraint(NumParams(), 1),)), torch.device("cpu"))


def test_a_function_that_can_not_make_weights_is_a_sentence() -> None:
    def fails(_: torch.device) -> Path:
        raise OSError("no\nnetwork")

    with pytest.raises(StudyError, match="makes the weights of study 'tiny' failed") as caught:
        prepare(tiny_study(weights=fails), torch.device("cpu"))
    assert "\n" not in str(caught.value)


def tiny_network_state() -> dict[str, torch.Tensor]:
    from nas import Supernet

    return dict(Supernet(tiny_network()).module.state_dict())


@pytest.mark.parametrize("content", [None, b"no weights", b""])
def test_weights_that_do_not_fit_are_told_before_anything_is_paid(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "mine.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StudyError, match="don't fit its network") as caught:
        run_in(tiny_study(weights=file), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.db"))


def test_half_precision_on_a_cpu_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    winners = Winners(recipe=Recipe(epochs=1, precision="float16"))
    with pytest.raises(StudyError, match="bfloat16"):
        run_in(tiny_study(winners=winners), tmp_path / "run")


def test_a_proxy_is_chosen_stored_used_and_shown(tmp_path: Path) -> None:
    study = tiny_study(
        recipe=Recipe(epochs=12, batch_size=32, learning_rate=0.02),
        proxy=ProxySubset(sizes=(0.4, 0.8), architectures=8, draws=5, min_tau=0.4),
    )
    results = run_in(study, tmp_path / "run")
    assert results.proxy is not None
    chosen = results.proxy["chosen"]
    assert [size["items"] for size in results.proxy["sizes"]] == [24, 48]
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"judged on {chosen['items']} items" in report
    for _, measured in records(tmp_path / "run"):
        assert measured["accuracy"]["repeats"] == chosen["items"]
    assert all(winner.fine_tuned.repeats == 60 for winner in results.winners)
    before = (tmp_path / "run" / "proxy.json").read_bytes()
    (tmp_path / "run" / "proxy.json").unlink()
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    run_in(dataclasses.replace(study, evaluations=7), tmp_path / "again")
    assert (tmp_path / "again" / "proxy.json").read_bytes() == before


def test_several_processes_have_nothing_to_train_without_a_supernet(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no supernet that several processes could train"):
        assist(scratch_study(), tmp_path, device=torch.device("cpu"), ranks=Ranks(rank=1, size=2))
