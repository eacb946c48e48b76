"""The check of the supernet's ranking, as a run does it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from fakes import Listener, run_in, tiny_study

from nas import Constraint, NumParams, Recipe, Trust
from nas.errors import StudyError
from nas.files import read_json
from nas.report.results import Results
from nas.report.trust import TrustResult
from nas.search.models.stand_alone import stand_alone_values


def test_every_study_with_a_supernet_has_it_in_its_report(tiny_run: Path) -> None:
    results = Results.read(tiny_run / "report.json")
    assert results.trust is not None
    assert [row.winner for row in results.trust.rows] == [True, True, False, False, False, False]
    for row, winner in zip(results.trust.rows, results.winners, strict=False):
        assert (row.id, row.searched, row.alone) == (
            winner.id,
            winner.searched["accuracy"].value,
            winner.fine_tuned.value,
        )
    assert len({row.id for row in results.trust.rows}) == 6
    assert TrustResult.read(tiny_run / "trust" / "trust.json") == results.trust
    report = (tiny_run / "report.md").read_text()
    assert all(row.id in report for row in results.trust.rows)
    assert all(sentence in report for sentence in results.trust.sentences(results.objectives))


def test_the_status_tells_it(
    tiny_run: Path, nas_command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert nas_command("status", tiny_run) == 0
    results = Results.read(tiny_run / "report.json")
    assert results.trust is not None
    shown = " ".join(capsys.readouterr().out.split())
    assert results.trust.sentences(results.objectives)[0] in shown


def test_it_is_measured_once(tiny_copy: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (tiny_copy / "trust").glob("*") if path.stem != "trust"
    }
    assert len(before) == 4
    listener = Listener()
    run_in(tiny_study(), tiny_copy, listener)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_one_epoch_is_one_epoch(tiny_run: Path) -> None:
    results = Results.read(tiny_run / "report.json")
    assert results.trust is not None
    assert results.trust.how == "fine-tuned for 1 epoch"


def test_from_scratch_the_winners_are_trained_too(tiny_copy: Path) -> None:
    study = tiny_study(trust=Trust(count=1, recipe=Recipe(epochs=3)))
    results = run_in(study, tiny_copy)
    assert results.trust is not None
    assert results.trust.how == "trained from scratch for 3 epochs"
    assert len(results.trust.rows) == 3
    stored = {row.id: read_json(tiny_copy / "trust" / f"{row.id}.json") for row in results.trust.rows}
    assert {id_: value["result"]["value"] for id_, value in stored.items()} == {
        row.id: row.alone for row in results.trust.rows
    }
    assert not list((tiny_copy / "trust").glob("*.pt*"))


def test_more_may_be_checked_later_and_none_is_allowed(tiny_copy: Path) -> None:
    results = run_in(dataclasses.replace(tiny_study(), trust=Trust(count=0)), tiny_copy)
    assert results.trust is not None
    assert len(results.trust.rows) == 2
    with pytest.raises(StudyError, match="0 or more"):
        Trust(count=-1)


def test_a_search_that_goes_on_learns_from_it(tmp_path: Path) -> None:
    short = tiny_study(evaluations=12, trust=Trust(count=8))
    first = run_in(short, tmp_path)
    assert first.trust is not None
    alone = {row.trial: row.alone for row in first.trust.rows}

    def known() -> dict[int, float]:
        study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{tmp_path / 'study.db'}")
        return stand_alone_values(study)

    assert run_in(short, tmp_path).winners == first.winners
    assert known() == {}  # the search is over: other winners would be chosen, and checked, for ever
    longer, listener = dataclasses.replace(short, evaluations=18), Listener()
    second = run_in(longer, tmp_path, listener)
    assert len(alone) >= 8
    assert known() == alone
    assert any(s.startswith(f"{len(alone)} architectures that were fine-tuned") for s in listener.sentences)
    assert str(len(alone)) in second.facts["winners_chosen_by"]
    for again in (longer, short):
        assert run_in(again, tmp_path).winners == second.winners
        assert known() == alone


def test_a_search_that_ended_before_its_time_does_not_learn_from_its_own_winners(tmp_path: Path) -> None:
    few = (Constraint(NumParams(), 150),)  # sixteen architectures
    study = tiny_study(evaluations=60, trust=Trust(count=8), constraints=few)
    first = run_in(study, tmp_path)
    assert len(first.values) == 16
    assert run_in(study, tmp_path).winners == first.winners
    assert "front" in first.facts["winners_chosen_by"]


def test_what_was_checked_of_another_search_teaches_nothing(tmp_path: Path) -> None:
    run_in(tiny_study(evaluations=12, trust=Trust(count=8)), tmp_path)
    (tmp_path / "study.db").unlink()
    listener = Listener()
    run_in(tiny_study(evaluations=8, trust=Trust(count=8)), tmp_path, listener)
    assert not any("tell what others" in sentence for sentence in listener.sentences)
