from __future__ import annotations

import re
from pathlib import Path

import pytest
from agents import RunningAgent
from command_line import Command

from nas.devices import Remote
from nas.devices.states import COLUMNS, states_of


def test_devices_are_listed_with_their_state(
    agent: RunningAgent, nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(agent.token)
    words = ["devices", agent.url, "--token-file", tmp_path / "token"]
    assert nas_command(*words) == 0
    shown = capsys.readouterr().out
    assert agent.url in shown
    assert "ready" in shown
    assert nas_command(*words, "http://127.0.0.1:1") == 1
    shown = capsys.readouterr().out
    assert "away" in shown
    assert "http://127.0.0.1:1: the agent at http://127.0.0.1:1 doesn't answer" in shown


def test_a_device_that_refuses_is_listed_too(agent: RunningAgent) -> None:
    fine, refused = states_of([agent.remote(), Remote(agent.url, "another token")])
    assert (fine.word, refused.word) == ("ready", "refused")
    assert "doesn't take the token" in refused.sentence
    assert len(fine.cells) == len(refused.cells) == len(COLUMNS)


def test_the_agent_is_written_as_one_file_by_the_command_line(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert nas_command("agent", "--bundle", tmp_path / "agent.pyz") == 0
    assert "copy it to the device" in capsys.readouterr().out
    assert (tmp_path / "agent.pyz").read_bytes().startswith(b"#!/usr/bin/env python3\nPK")
    assert nas_command("agent", "--help") == 0
    assert re.search("--max-model-mb .*--bundle", capsys.readouterr().out, re.DOTALL)


def test_an_agent_that_cannot_start_says_so(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert nas_command("agent", "--folder", tmp_path, "--max-seconds", 0) == 2
    assert "--max-seconds is 0" in capsys.readouterr().err
