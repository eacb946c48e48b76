from __future__ import annotations

from collections.abc import Iterator

import pytest
from agents import RunningAgent, running_agent


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent that takes models of up to a megabyte. Not to be ended."""
    folder = tmp_path_factory.mktemp("agent")
    with running_agent(folder, "--max-model-mb", 1, "--max-cache-mb", 2) as found:
        yield found
