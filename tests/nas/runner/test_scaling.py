"""A winner that grows into a family."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import Listener, tiny_study
from torchvision.transforms import v2

import nas
from nas.errors import RunDirectoryError, StudyChangedError, StudyError
from nas.export.model_card import validate_card
from nas.report.results import Results
from nas.runner import scaling
from nas.runner.family import Family, Shares
from nas.runner.lock import lock_directory
from nas.runner.scaling import fit_scaling, scale_winner
from nas.study import Study
from nas.supernet.scaling import Scaling

CPU = torch.device("cpu")
SCALING = Scaling(width=("width",), depth={"depth": 0}, divisor=1)
STUDY = tiny_study(scaling=SCALING)


@pytest.fixture
def results(tiny_run: Path) -> Results:
    return Results.read(tiny_run / "report.json")


def family_of(results: Results, study: Study = STUDY) -> Family:
    return Family.of_winner(study, results, results.winners[0].id)


def test_a_family_is_runs_with_cards_and_goes_on_where_it_was_left(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [Shares(3, 0, 0), Shares(0, 3, 0)]  # all ten are tried below
    monkeypatch.setattr(scaling, "ways_to_scale", lambda: ways)
    winner, listener = results.winners[0].id, Listener()
    found = scale_winner(
        STUDY, results, winner, tmp_path, phis=[0.0, 1.0], training_device=CPU, progress=listener
    )
    card = (tmp_path / "README.md").read_text()
    assert card.count("phi-") == 2
    assert "depth 3/3" in card
    macs = [one.winners[0].macs for one in found]
    assert macs[1] / macs[0] == pytest.approx(2.0, rel=0.2)
    for phi, one in zip((0, 1), found, strict=True):
        folder = tmp_path / f"phi-{phi}" / "winners" / one.winners[0].id
        validate_card(folder / "README.md")
        module = nas.load(folder, STUDY.network)
        assert sum(p.numel() for p in module.parameters()) == one.winners[0].num_params

    shutil.rmtree(tmp_path / "phi-1")
    (tmp_path / "README.md").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "fit").iterdir()}
    again = scale_winner(
        STUDY, results, winner, tmp_path, phis=[0.0, 1.0], training_device=CPU, progress=Listener()
    )
    assert [one.values for one in again] == [one.values for one in found]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "fit").iterdir()} == before


@pytest.mark.parametrize("phi", [-1.0, 21.0, float("inf"), float("nan")])
def test_a_phi_that_nobody_trains_is_told_before_anything_is_trained(
    results: Results, tmp_path: Path, phi: float
) -> None:
    with pytest.raises(StudyError, match=f"phi is {phi:g}"):
        scale(results, tmp_path, phis=[0.0, phi])
    assert not list(tmp_path.iterdir())


def test_a_folder_holds_one_family(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "fit_scaling", stop)
    with pytest.raises(KeyboardInterrupt):
        scale(results, tmp_path)
    for changes in ({"winner": results.winners[1].id}, {"study": replace(STUDY, seed=5)}):
        with pytest.raises(StudyChangedError, match="no longer matches"):
            scale(results, tmp_path, **changes)
    with pytest.raises(KeyboardInterrupt):  # the same again goes on
        scale(results, tmp_path)


def test_one_process_at_a_time_grows_a_family(results: Results, tmp_path: Path) -> None:
    with lock_directory(tmp_path), pytest.raises(RunDirectoryError, match="another process is running"):
        scale(results, tmp_path)


def scale(
    results: Results,
    folder: Path,
    *,
    study: Study = STUDY,
    winner: str | None = None,
    phis: Sequence[float] = (0.0,),
) -> None:
    winner = winner or results.winners[0].id
    scale_winner(study, results, winner, folder, phis=phis, training_device=CPU, progress=Listener())


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_best_way_to_grow_comes_first(results: Results, tmp_path: Path) -> None:
    # The augmentation gives images of the data source's size, whatever the network makes of them.
    recipe = replace(STUDY.recipe, augment=v2.RandomCrop(8, padding=1))
    fitted = fit_scaling(family_of(results, replace(STUDY, recipe=recipe)), tmp_path, CPU, Listener())
    qualities = [one.quality.value for one in fitted.values() if one.quality is not None]
    assert len(qualities) == 10
    assert qualities == sorted(qualities, reverse=True)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}
