"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., int]
"""Runs ``nas`` with arguments in this process, and gives its exit code."""
SMALL_STUDY = Path(__file__).parent / "small_study.py"


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr; nothing else may be there."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("nas: ")
    assert "Traceback" not in captured.out
    return lines[0]
