from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fakes import run_in, tiny_study
from run_folders import copy_run
from torch import nn

from nas.choices import choice
from nas.errors import NasError, StudyChangedError, StudyError
from nas.runner.directory import RunDirectory, open_record
from nas.search.record.trials import read_source_values
from nas.supernet import elastic


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve evaluations."""
    path = tmp_path_factory.mktemp("earlier") / "run"
    run_in(tiny_study(evaluations=12, seed=1), path)
    return path


def perceptron(small: int, large: int, name: str = "width") -> nn.Module:
    width = choice(name, small, large)
    return nn.Sequential(nn.Flatten(), elastic.Linear(64, width), nn.ReLU(), elastic.Linear(width, 10))


def proposals(path: Path) -> list[dict[str, object]]:
    return [trial.params for trial in open_record(RunDirectory(path))[0].trials]


def test_a_prior_is_heard_told_of_and_not_needed_again(tmp_path: Path, earlier: Path) -> None:
    gone = tmp_path / "gone"
    copy_run(earlier, gone)
    study = tiny_study(prior=(str(gone),))
    whole = run_in(tiny_study(prior=(str(gone),), evaluations=9), tmp_path / "whole")
    run_in(study, tmp_path / "run")
    shutil.rmtree(gone)
    results = run_in(tiny_study(prior=(str(gone),), evaluations=9), tmp_path / "run")
    assert proposals(tmp_path / "run") == proposals(tmp_path / "whole")
    trials = open_record(RunDirectory(tmp_path / "run"))[0].trials
    assert all(set(read_source_values(trial)["accuracy"]) == {str(gone)} for trial in trials)
    [sentence] = results.facts["sources"]
    assert sentence.startswith(f"{gone} (12 architectures) on accuracy: Spearman ")
    assert sentence in (tmp_path / "run" / "report.md").read_text().replace("\\", "")
    assert results.facts["sources"] == whole.facts["sources"]


def test_a_prior_is_of_what_a_run_is_made_with(tmp_path: Path, earlier: Path) -> None:
    run_in(tiny_study(prior=(str(earlier),)), tmp_path)
    with pytest.raises(StudyChangedError, match="prior was"):
        run_in(tiny_study(), tmp_path)


def unknown(folder: Path, _earlier: Path) -> Path:
    return folder / "nothing"


def empty(folder: Path, _earlier: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def damaged(name: str, folder: Path, earlier: Path) -> Path:
    copy_run(earlier, folder / "damaged")
    (folder / "damaged" / name).write_bytes(b"no more " * 4096)
    return folder / "damaged"


def untold(folder: Path, earlier: Path) -> Path:
    """Return a run directory in which the search hasn't begun."""
    copy_run(earlier, folder / "untold")
    (folder / "untold" / "study.db").unlink()
    return folder / "untold"


def of_other_choices(folder: Path, _earlier: Path) -> Path:
    run_in(
        tiny_study(network=partial(perceptron, small=4, large=8, name="breadth"), evaluations=2),
        folder / "other",
    )
    return folder / "other"


def of_other_options(folder: Path, _earlier: Path) -> Path:
    run_in(tiny_study(network=partial(perceptron, small=16, large=32), evaluations=2), folder / "options")
    return folder / "options"


def itself(folder: Path, _earlier: Path) -> Path:
    return folder / "new"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (unknown, "is no run directory: name one"),
        (empty, "is no run directory: name one"),
        (untold, "the search hasn't begun"),
        (partial(damaged, "study.db"), "damaged"),
        (partial(damaged, "run.json"), "damaged"),
        (of_other_choices, "searched another space, for the choice '"),
        (of_other_options, "has 0 evaluated architectures that the study's space holds, of 2 altogether"),
        (itself, "to be its own prior"),
    ],
)
def test_a_prior_that_can_teach_nothing_is_one_sentence(
    tmp_path: Path, earlier: Path, make: Callable[[Path, Path], Path], sentence: str
) -> None:
    prior = make(tmp_path, earlier)
    changes = {"network": partial(perceptron, small=4, large=8)} if make is of_other_options else {}
    with pytest.raises(NasError, match=sentence) as caught:
        run_in(tiny_study(prior=(str(prior),), **changes), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new" / "run.json").exists()


def test_a_prior_counts_once(tmp_path: Path, earlier: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(earlier)
    for again in (link, earlier):
        study = tiny_study(prior=(str(earlier), str(again)))
        with pytest.raises(StudyError, match=r"the priors .* and .* are the same run: name it once"):
            run_in(study, tmp_path / "new")
