from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nas.service.processes import Process, tail


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"the process ended without saying {word!r}")


def test_a_process_is_found_again_by_its_directory(tmp_path: Path) -> None:
    sleeper = tmp_path / "nas"
    sleeper.mkdir()
    (sleeper / "__init__.py").touch()
    (sleeper / "__main__.py").write_text("import sys, time\nprint('here', flush=True)\ntime.sleep(600)\n")
    directory = tmp_path / "run"
    command = [sys.executable, "-m", "nas", "run", "tiny", "--out", str(directory)]
    child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(child, "here")
    found = Process.find(directory)
    assert found is not None
    assert found.pid == child.pid
    assert found.exit_code() is None
    assert Process.find(tmp_path / "ru") is None
    found.kill()
    child.wait(timeout=300)
    assert not found.is_alive()
    assert Process.find(directory) is None
    assert child.stdout is not None
    child.stdout.close()


def test_a_process_writes_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_SERVICE_STORAGE", "postgresql+psycopg://nas:hunter2@server/nas")
    monkeypatch.setenv("NAS_TOKEN", "nas_secret")
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "log.txt").write_text("earlier words\n")
    show = "import os; print({k: v for k, v in os.environ.items() if 'NAS' in k}); 1 / 0"
    process = Process.start([sys.executable, "-c", show], directory, None)
    process._process.wait(timeout=300)
    assert not process.is_alive()
    assert process.exit_code() == 1
    words = process.last_words()
    assert words.endswith("ZeroDivisionError: division by zero")
    assert "earlier" not in words
    assert "hunter2" not in words
    assert "nas_secret" not in words


def test_the_tail_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert tail(tmp_path / "log", 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "nothing", 2) == ""
