from __future__ import annotations

import pytest

from nas.search.models import nsga2


@pytest.fixture
def short_evolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let NSGA-II run for few generations, where a test is of what holds whatever is proposed."""
    monkeypatch.setattr(nsga2, "_GENERATIONS", 4)
