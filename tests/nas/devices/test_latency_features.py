from __future__ import annotations

import numpy as np
import pytest

from nas.choices import choice
from nas.devices import LatencyModel
from nas.errors import StudyError
from nas.space import SearchSpace

SPACE = SearchSpace((choice("depth", 2, 3, 4), choice("width", 16, 24, 32, 48)))


@pytest.mark.parametrize("number", [0.0, -1.0, np.nan, np.inf])
def test_known_numbers_that_are_not_positive_are_refused(number: float) -> None:
    with pytest.raises(StudyError, match="finite numbers above 0"):
        LatencyModel(SPACE, lambda indices: np.full((len(indices), 1), number))
