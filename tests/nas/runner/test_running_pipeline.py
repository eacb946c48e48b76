"""A pipeline whose choices are searched with the architecture, from the study to the files."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
import pytest
import torch
import torch_pruning as tp
from fakes import FewDigits, run_in, tiny_network, tiny_study
from optuna.trial import create_trial

import nas
from nas import (
    Accuracy,
    Constraint,
    FineTune,
    Int8,
    Macs,
    NumParams,
    Pipeline,
    SearchSpace,
    Study,
    WeightBytes,
    Winners,
)
from nas.choices import Choice, Option
from nas.compression import Lab, Model
from nas.errors import ExportError, StudyError
from nas.evaluation import OnnxCandidate
from nas.evaluation.stored import count_stored_bytes
from nas.report.results import Results
from nas.runner.choosing import choose_winners
from nas.runner.preparation import prepare
from nas.runner.variants import variant_pipelines
from nas.search.record.trials import distributions


@dataclass(frozen=True)
class Halve:
    """Leaves half of the hidden channels."""

    name: str = "halve"
    works_on: Literal["module", "file"] = "module"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace((Choice("halve.keep", (0.5, 1.0)),))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        if options["halve.keep"] == 1.0:
            return model
        module = copy.deepcopy(model.module)
        assert module is not None
        example, head = model.inputs.blank(2), list(module.modules())[-1]
        pruner = tp.pruner.BasePruner(
            module,
            example,
            importance=tp.importance.MagnitudeImportance(),
            pruning_ratio=0.5,
            ignored_layers=[head],
        )
        pruner.step()
        return replace(model, module=module, applied=(*model.applied, "halved"))


STUDY = tiny_study(
    objectives=(Accuracy(), NumParams(), WeightBytes()),
    pipeline=Pipeline(Halve(), FineTune(), Int8(bits=(8, 32))),
    evaluations=12,
    winners=replace(tiny_study().winners, count=6),
)


@pytest.fixture(scope="module")
def joint_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the joint search. Not to be changed: copy it."""
    path = tmp_path_factory.mktemp("runs") / "joint"
    run_in(STUDY, path)
    return path


@pytest.fixture
def results(joint_run: Path) -> Results:
    return Results.read(joint_run / "report.json")


def test_choices_join_the_space() -> None:
    space = prepare(STUDY, torch.device("cpu")).problem.space
    assert space.cardinality() == 4 * prepare(tiny_study(), torch.device("cpu")).problem.space.cardinality()
    assert {"halve.keep", "int8.bits"} < {choice.name for choice in space.choices}


def test_costs_are_of_what_the_passes_make(joint_run: Path, results: Results) -> None:
    seen = set()
    for winner in results.winners:
        module = nas.load(joint_run / "winners" / winner.id, network=tiny_network)
        num_params = sum(parameter.numel() for parameter in module.parameters())
        assert winner.num_params == num_params == winner.searched["num_params"].value
        bits = winner.choices["int8.bits"]
        searched = winner.variants[-1] if bits == 8 else winner.variants[0]
        file = (joint_run / "winners" / winner.id / searched.file).read_bytes()
        stored = count_stored_bytes(file) if bits == 8 else 4 * num_params
        assert searched.values["weight_bytes"].value == stored
        assert winner.searched["weight_bytes"].value == stored
        seen.add((winner.choices["halve.keep"], bits))
    assert len(seen) > 1, "the joint search should come to more than one way to compress"


def test_every_option_of_a_pass_on_the_file_that_changes_something_is_a_variant(results: Results) -> None:
    for winner in results.winners:
        name = "int8" if winner.choices["int8.bits"] == 8 else "int8-bits-8"
        assert [variant.name for variant in winner.variants] == ["fp32", name]
        plain, quantized = winner.variants
        assert ("halved" in plain.applied) == (winner.choices["halve.keep"] == 0.5)
        assert quantized.applied == ("quantized to int8",)


def test_no_network_is_trained_twice_for_two_files() -> None:
    prepared = prepare(STUDY, torch.device("cpu"))
    space = prepared.problem.space
    record = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    wide, narrow = space.largest(), space.smallest()
    front = [(wide, 32, 0.90, 9e4), (wide, 8, 0.89, 3e4), (narrow, 8, 0.50, 1e3), (narrow, 32, 0.51, 4e3)]
    for network, bits, *values in front:
        params = dict(space.architecture({**network, "int8.bits": bits}))
        values.insert(1, 10.0 if network is narrow else 100.0)
        record.add_trial(create_trial(params=params, distributions=distributions(space), values=values))
    chosen = choose_winners(prepared, record)
    assert len(chosen) == 2
    assert {trial.number for trial in chosen} & {0, 1} == {0}, "the best one first"
    assert {trial.params["width"] for trial in chosen} == {wide["width"], narrow["width"]}


def test_every_variant_can_be_loaded_back(joint_run: Path, results: Results) -> None:
    images = torch.randn(5, 1, 8, 8)
    for winner in results.winners:
        folder = joint_run / "winners" / winner.id
        for variant in winner.variants:
            module = nas.load(folder, network=tiny_network, variant=variant.name)
            with torch.no_grad():
                found = module(images)
            assert torch.allclose(found, OnnxCandidate(folder / variant.file).predict(images), atol=1e-4)
        with pytest.raises(ExportError, match=r"no variant 'int4': choose among \['fp32'"):
            nas.load(folder, network=tiny_network, variant="int4")


def test_a_finished_run_makes_nothing_twice(joint_run: Path, results: Results) -> None:
    before = {path: path.stat().st_mtime_ns for path in joint_run.glob("winners/*/model*")}
    again = run_in(STUDY, joint_run)
    assert again.winners == results.winners
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not list(joint_run.glob("winners/*/passes-*"))


def test_a_pipeline_without_training_is_fine_tuned_behind_the_last_pass_on_the_module(tmp_path: Path) -> None:
    study = replace(STUDY, pipeline=Pipeline(Halve()), evaluations=4)
    for winner in run_in(study, tmp_path / "run").winners:
        assert winner.variants[0].applied[-1] == "fine-tuned for 1 epoch"


def test_limits_on_what_passes_change_are_soft() -> None:
    limit = Constraint(NumParams(), at_most=100.0)
    study = replace(STUDY, constraints=(limit,))
    assert study.soft_limits == {"num_params": 100.0}
    assert study.hard_limits == []
    on_files = replace(study, pipeline=Pipeline(Int8(bits=(8, 32))))
    assert on_files.soft_limits == {}
    assert [at_most for _, at_most in on_files.hard_limits] == [100.0]
    with pytest.raises(StudyError, match="'macs', which is known only after the passes"):
        replace(STUDY, constraints=(Constraint(Macs(), at_most=1e6),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"winners": Winners(passes=(Int8(),))}, "two variants of a winner that are named 'int8'"),
        ({"winners": Winners(passes=(Int8(name="int8-bits-8"),))}, "that are named 'int8-bits-8'"),
        ({"winners": Winners(passes=(Int8(name="int8-bits-16"),))}, None),
        ({"winners": Winners(passes=(Pipeline(Int8(name="int8"), name="other"),))}, None),
        ({"pipeline": (Int8(),)}, "pipeline="),
    ],
)
def test_variants_have_names_of_their_own(changes: dict[str, object], message: str | None) -> None:
    if message is None:
        assert dataclasses.replace(STUDY, **changes)  # type: ignore[arg-type]
        return
    with pytest.raises(StudyError, match=message):
        dataclasses.replace(STUDY, **changes)  # type: ignore[arg-type]


def test_a_study_knows_the_names_of_all_files_that_its_passes_make() -> None:
    prepared = prepare(STUDY, torch.device("cpu"))
    space = prepared.problem.space
    made = [
        variant_pipelines(prepared, space.architecture({**space.largest(), "int8.bits": n})) for n in (8, 32)
    ]
    assert {name for variants in made for name in variants} == {"int8", "int8-bits-8", "int8-bits-32"}
    assert set(STUDY.pipeline.variant_names) == {"int8", "int8-bits-8", "int8-bits-32"}
    assert Pipeline(Halve()).variant_names == ()


def test_choices_in_winners_passes_are_refused() -> None:
    with pytest.raises(StudyError, match=r"leaves 'int8\.bits' to be chosen"):
        Winners(passes=(Int8(bits=(8, 32)),))


def test_a_changed_pipeline_is_another_run(joint_run: Path) -> None:
    with pytest.raises(nas.NasError, match="pipeline"):
        run_in(replace(STUDY, pipeline=Pipeline(Halve(), FineTune())), joint_run)


def test_a_row_of_passes_makes_a_variant_of_finished_winners(tmp_path: Path) -> None:
    row = Pipeline(Always(), FineTune(), Int8(), name="small")
    study: Study = tiny_study(winners=replace(tiny_study().winners, passes=(row, Int8())))
    results = run_in(study, tmp_path / "run")
    images = FewDigits().load().search.inputs[:50]
    assert isinstance(images, torch.Tensor)
    for winner in results.winners:
        assert [variant.name for variant in winner.variants] == ["fp32", "small", "int8"]
        assert winner.variants[1].values["num_params"].value < winner.num_params
        assert winner.variants[1].applied == ("halved", "fine-tuned for 1 epoch", "quantized to int8")
        folder = tmp_path / "run" / "winners" / winner.id
        small = nas.load(folder, network=tiny_network, variant="small")
        expected = OnnxCandidate(folder / "model.small.onnx").predict(images)
        with torch.no_grad():
            assert np.corrcoef(small(images).flatten(), expected.flatten())[0, 1] > 0.9


@dataclass(frozen=True)
class Always(Halve):
    """Halves without a choice."""

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        return super().apply(model, {"halve.keep": 0.5}, lab)
