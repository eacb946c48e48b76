from __future__ import annotations

import numpy as np
import pytest

from nas import FromScratch, Hurdles
from nas.errors import StudyError
from nas.space import FloatArray


def reached(*qualities: float, size: float = 0.0) -> list[FloatArray]:
    """Costs of a candidate at each hurdle that it got to."""
    return [np.array([-quality, size]) for quality in qualities]


def cleared(hurdle: int, quality: float, earlier: list[list[FloatArray]], size: float = 0.0) -> bool:
    return Hurdles(after=(1, 3), every=2).cleared(hurdle, np.array([-quality, size]), earlier)


def test_the_first_candidates_stop_at_the_first_hurdle_however_good() -> None:
    assert not cleared(0, 1.0, [])
    assert not cleared(0, 1.0, [reached(0.5)])


def test_later_ones_go_on_if_they_beat_the_mean_of_the_first() -> None:
    earlier = [reached(0.4), reached(0.8)]
    assert cleared(0, 0.61, earlier)
    assert not cleared(0, 0.59, earlier)


def test_heights_never_change_afterwards() -> None:
    earlier = [reached(0.4), reached(0.8), reached(0.99, 0.99), reached(0.98, 0.98)]
    assert cleared(0, 0.61, earlier)
    assert not cleared(0, 0.59, earlier)


def test_the_second_hurdle_is_the_mean_of_those_that_got_there() -> None:
    earlier = [reached(0.4), reached(0.8), reached(0.7, 0.75), reached(0.3)]
    assert cleared(1, 0.76, earlier)
    assert not cleared(1, 0.74, earlier)
    assert not cleared(1, 0.99, earlier[:3])  # not up yet


def test_a_hurdle_that_nobody_reached_lets_nobody_past() -> None:
    assert not cleared(1, 0.99, [reached(0.5)] * 4)


def test_a_small_network_goes_on_if_none_of_its_size_is_better() -> None:
    earlier = [reached(0.4, size=10.0), reached(0.8, size=10.0)]
    assert cleared(0, 0.2, earlier, size=5.0)
    assert not cleared(0, 0.2, [*earlier, reached(0.3, size=4.0)], size=5.0)


def test_the_way_is_cut_at_the_hurdles() -> None:
    assert Hurdles(after=(4, 8)).rungs(20) == [4, 4, 12]
    assert FromScratch(Hurdles(after=(4, 8))).rungs(20) == [4, 4, 12]
    assert FromScratch().rungs(20) == [20]


@pytest.mark.parametrize("after", [(), (0,), (3, 3), (4, 2), (-1,)])
def test_hurdles_that_can_not_stand_are_refused(after: tuple[int, ...]) -> None:
    with pytest.raises(StudyError, match="increase"):
        Hurdles(after=after)
    with pytest.raises(StudyError, match="every"):
        Hurdles(after=(1,), every=0)


def test_a_hurdle_at_the_end_is_refused() -> None:
    with pytest.raises(StudyError, match="before the end"):
        Hurdles(after=(4, 8)).rungs(8)
