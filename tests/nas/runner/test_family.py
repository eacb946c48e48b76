"""The networks that a winner grows into."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from fakes import tiny_study

from nas import Contrastive, LatencyMs, Recipe, choice
from nas.data.digits_segmentation import DigitsSegmentation
from nas.errors import RunDirectoryError, StudyError
from nas.report.results import Results
from nas.runner.family import Family, Shares, ways_to_scale
from nas.study import Study
from nas.supernet import elastic
from nas.supernet.scaling import Scaling

CPU = torch.device("cpu")
SCALING = Scaling(width=("width",), depth={"depth": 0}, divisor=1)
STUDY = tiny_study(scaling=SCALING)


@pytest.fixture
def results(tiny_run: Path) -> Results:
    return Results.read(tiny_run / "report.json")


def family_of(results: Results, study: Study = STUDY) -> Family:
    return Family.of_winner(study, results, results.winners[0].id)


def test_there_are_ten_ways_to_share_a_doubling_each_of_a_whole() -> None:
    ways = list(ways_to_scale())
    assert len(set(ways)) == len(ways) == 10
    for way in ways:
        factors = way.coefficients
        assert factors.depth * factors.width**2 * factors.resolution**2 == pytest.approx(2.0)


@pytest.mark.parametrize("shares", [Shares(0, 3, 0), Shares(1, 1, 1), Shares(0, 1, 2)])
@pytest.mark.parametrize("phi", [1.0, 2.0, 3.0])
def test_macs_double_for_each_phi_within_a_tenth(results: Results, shares: Shares, phi: float) -> None:
    assert family_of(results).member(shares, phi).ratio == pytest.approx(2**phi, rel=0.1)


def test_phi_of_zero_is_the_winner_itself(results: Results) -> None:
    member = family_of(results).member(Shares(1, 1, 1), 0.0)
    assert member.ratio == 1.0


def test_a_family_of_a_pretrained_supernet_is_trained_from_scratch(results: Results) -> None:
    family = family_of(results, replace(STUDY, pretraining=Contrastive(Recipe(epochs=1))))
    assert family.study_of(family.member(Shares(1, 1, 1), 0.0)).pretraining is None


def test_a_member_asks_nothing_that_is_known_of_the_whole_space(results: Results, tmp_path: Path) -> None:
    spared = LatencyMs(measurements=20, profile=tmp_path / "profile.json")
    family = family_of(
        results, replace(STUDY, prior=("runs/earlier",), objectives=(*STUDY.objectives, spared))
    )
    member = family.study_of(family.first)
    assert member.prior == ()
    assert member.objectives == (*STUDY.objectives, replace(spared, profile=None))


def test_what_can_not_be_scaled_is_told(results: Results) -> None:
    with pytest.raises(RunDirectoryError, match="no winner 'other'"):
        Family.of_winner(STUDY, results, "other")
    for name in ("width", "breadth"):
        other = partial(elastic.Conv2d, 1, choice(name, 3, 5), 3)
        with pytest.raises(StudyError, match="not of the network of study 'tiny'"):
            family_of(results, replace(STUDY, network=other))
    with pytest.raises(StudyError, match="no choice of study 'tiny' matches"):
        family_of(results, replace(STUDY, scaling=Scaling(width=("wide",), depth={})))
    segmentation = replace(STUDY, data=DigitsSegmentation())
    with pytest.raises(StudyError, match="'tiny' isn't about whole images"):
        family_of(results, segmentation).member(Shares(1, 1, 1), 1.0)
