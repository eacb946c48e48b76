"""The service as a process, and the processes that it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from command_line import Command

from nas.errors import ServiceError
from nas.files import read_json
from nas.report.results import Results
from nas.service.serving import only_service, serve
from nas.service.settings import Settings
from nas.service.store import Store
from nas.service.tokens import Tokens

SUPPORT = Path(__file__).parents[2] / "support"
ROOT = Path(__file__).parents[3]


class Served:
    """``nas serve`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.token = ""

    def start(self) -> None:
        environment = os.environ | {
            "NAS_STUDIES": "service_studies",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}",
        }
        command = [sys.executable, "-m", "nas", "serve", "--folder", str(self._folder), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        url = ""
        for line in self._process.stdout or []:
            if found := re.search(r"http://\S+", line):
                url = found[0]
            if found := re.search(r"nas_[0-9a-f]{12}_\S+", line):
                self.token = found[0]
            if url and self.token:
                break
        headers = {"Authorization": f"Bearer {self.token}"}
        self.http = httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=120)

    def signal(self, number: int) -> int:
        assert self._process is not None
        self.http.close()
        self._process.send_signal(number)
        code = self._process.wait(timeout=300)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGTERM)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "service")
    yield made
    made.end()


def events_until_done(http: httpx2.Client, run: str) -> str:
    """Return all events of a run; the stream ends when the run is over."""
    with http.stream("GET", f"/runs/{run}/events", timeout=None) as answer:
        return "".join(answer.iter_text())


def test_a_study_survives_the_death_of_the_service(served: Served, tmp_path: Path) -> None:
    """Start, kill -9 the service, start again, wait for the end, stop with SIGTERM."""
    served.start()
    changes = {"seed": 1, "objectives": ["accuracy"], "constraints": {"num_params": 400}}
    run = served.http.post("/runs", json={"study": "tiny", **changes}).json()["id"]
    with served.http.stream("GET", f"/runs/{run}/events", timeout=None) as answer:
        for text in answer.iter_text():
            if '"state": "running"' in text:
                break
    served.signal(signal.SIGKILL)
    served.start()
    events = events_until_done(served.http, run)
    found = served.http.get(f"/runs/{run}").json()
    assert found["state"] == "finished", found["last_words"]
    assert found["restarts"] == 0
    assert found["evaluations"] == {"complete": 6, "failed": 0, "asked": 6}
    assert events.count("event: trial\n") == 6
    directory = tmp_path / "service" / "runs" / run
    results = Results.read(directory / "report.json")
    assert [o.name for o in results.objectives] == ["accuracy"]
    assert "400" in str(read_json(directory / "run.json")["constraints"])
    assert results.trials["complete"] == 6
    assert len(set(results.ids)) == 6
    assert results.facts["seed"] == 1
    log = served.http.get(f"/runs/{run}/log").json()["lines"]
    assert served.token not in "\n".join(log)
    assert served.signal(signal.SIGTERM) == 0


def test_a_second_service_on_the_folder_says_so(tmp_path: Path) -> None:
    with only_service(tmp_path), pytest.raises(ServiceError, match="another service is running"):
        serve(Settings(folder=tmp_path), print)


def test_others_may_only_connect_where_somebody_has_a_token(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, host="0.0.0.0", port=0)
    with pytest.raises(ServiceError, match="no token is configured"):
        serve(settings, print)


@pytest.mark.parametrize("host", ["203.0.113.1", "gpu..box"])
def test_an_address_that_cant_be_had(tmp_path: Path, host: str) -> None:
    with pytest.raises(ServiceError, match=f"can't listen on {re.escape(host)}, port"):
        serve(Settings(folder=tmp_path, host=host), print)


def test_a_device_that_isnt_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="device 'cuda:4096' isn't there") as caught:
        serve(Settings(folder=tmp_path / "svc", devices=("cpu", "cuda:4096"), port=0), print)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "svc").exists()


def test_the_server_believes_no_forwarded_address(served: Served) -> None:
    served.start()
    address = f"{served.http.base_url}session"
    found = [
        httpx2.post(
            address, json={"token": "nas_guess"}, headers={"X-Forwarded-For": f"192.0.2.{n}"}
        ).status_code
        for n in range(11)
    ]
    assert found == [401] * 10 + [429]


def test_a_folder_is_for_its_owner(tmp_path: Path) -> None:
    with only_service(tmp_path / "new"):
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_tokens_on_the_command_line(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here = ("--folder", tmp_path)
    assert nas_command("token", "create", "--name", "ann", "--role", "read", "--days", "2", *here) == 0
    text = capsys.readouterr().out.strip()
    store = Store(Settings(folder=tmp_path).database_url)
    token = Tokens(store).verify(text)
    assert token is not None, f"{text!r} is none of {Tokens(store).list()}"
    assert token.role == "read"
    assert nas_command("token", "list", *here) == 0
    shown = capsys.readouterr().out
    assert token.id in shown
    assert text.rpartition("_")[2] not in shown
    assert nas_command("token", "revoke", token.id, *here) == 0
    assert Tokens(store).verify(text) is None
    assert nas_command("token", "create", "--name", "ann", "--role", "admin", *here) == 2
    assert nas_command("token", "revoke", "nobody", *here) == 2
    store.close()


def test_looking_at_tokens_makes_no_service(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments in (["list"], ["revoke", "abc"]):
        assert nas_command("token", *arguments, "--folder", tmp_path / "mistyped") == 2
        told = capsys.readouterr().err
        assert f"{tmp_path / 'mistyped'} is no folder of a service" in told
    assert not list(tmp_path.iterdir())


def test_the_first_token_says_which_folder_it_made(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "svc"
    assert nas_command("token", "create", "--name", "ann", "--folder", folder) == 0
    captured = capsys.readouterr()
    assert captured.err == f"nas: made the folder {folder}\n"
    assert captured.out.startswith("nas_")
    assert folder.stat().st_mode & 0o077 == 0
    assert nas_command("token", "create", "--name", "bob", "--folder", folder) == 0
    assert capsys.readouterr().err == ""


def test_a_token_that_cant_be_stored_is_a_sentence_without_its_hash(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert nas_command("token", "create", "--name", "ann", "--folder", tmp_path / "file" / "svc") == 2
    assert "can't be made (Not a directory): choose another --folder" in capsys.readouterr().err
    store = Store(Settings(folder=tmp_path).database_url)
    with store.engine.begin() as connection:
        refuse = "BEFORE INSERT ON service_tokens BEGIN SELECT RAISE(ABORT, 'read-only'); END"
        connection.exec_driver_sql(f"CREATE TRIGGER refusing {refuse}")
    store.close()
    assert nas_command("token", "create", "--name", "ann", "--folder", tmp_path) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"nas: the tokens of {tmp_path} can't be read or changed (read-only)")
    with pytest.raises(ServiceError) as caught:
        nas_command("token", "create", "--name", "ann", "--folder", tmp_path, "--verbose")
    assert not re.search("[0-9a-f]{64}", str(caught.value.__cause__))


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"the process ended without saying {word!r}")


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{SUPPORT}",
        "NAS_STUDIES": "service_studies",
    }
    command = [sys.executable, "-m", "nas", "run", "tiny", "--out", str(tmp_path), "--evaluations", "40"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for(process, "train supernet")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 143
    assert told.strip() == "nas: stopped; the same command goes on from here."
