"""What is imported when: a name by whom asks for it, and torch by who trains."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import nas

LAZY = ("nas", "nas.export", "nas.runner", "nas.search")
HEAVY = ("torch", "onnx", "onnxruntime", "pandas", "sklearn", "matplotlib", "pymoo")
COMMANDS = (
    *(("--help",), ("run", "--help"), ("studies",), ("status", "RUN"), ("front", "RUN", "--json")),
    ("front", "RUN", "--devices", "--limit", "file_bytes=1e9"),
)
"""What trains nothing; RUN stands for a run directory."""
ONE_AFTER_THE_OTHER = """
import json, sys
from nas.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["nas", *words]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, words
    print(json.dumps(list(sys.modules)), file=sys.stderr)
"""
PAGES = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from nas.service.app import create_app
from nas.service.settings import Settings
from nas.service.store import Run
folder, run = Path(sys.argv[1]), "tiny-00000001"
app = create_app(Settings(folder=folder))
service = app.state.service
service.store.add_run(Run(run, "tiny", {}, 6, "cpu", "nobody", "finished", 1.0, started=2.0, finished=3.0))
token = service.tokens.create("reader", "read")[1]
client = TestClient(app, headers={"Authorization": f"Bearer {token}", "Accept": "text/html"})
winner = client.get(f"/api/v1/runs/{run}/winners").json()["winners"][0]["id"]
for address in ("/runs", f"/runs/{run}", f"/runs/{run}/points", f"/runs/{run}/winners/{winner}", "/compare", "/docs"):
    assert client.get(address).status_code == 200, address
print(json.dumps(list(sys.modules)), file=sys.stderr)
"""


def modules_told(script: str, argument: object) -> list[set[str]]:
    """Run a script in a process of its own and return the modules that it wrote to stderr, a line each time."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(argument)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [set(json.loads(line)) for line in done.stderr.splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def imported(tiny_run: Path) -> dict[tuple[str, ...], set[str]]:
    """Return what had been imported after each command in a process that does one after the other."""
    commands = [[str(tiny_run) if word == "RUN" else word for word in words] for words in COMMANDS]
    return dict(zip(COMMANDS, modules_told(ONE_AFTER_THE_OTHER, json.dumps(commands)), strict=True))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_that_trains_nothing_imports_no_torch(
    words: tuple[str, ...], imported: dict[tuple[str, ...], set[str]]
) -> None:
    assert not imported[words] & set(HEAVY)


def test_help_imports_neither_optuna_nor_scipy(imported: dict[tuple[str, ...], set[str]]) -> None:
    assert not imported["--help",] & {"optuna", "scipy", "sqlalchemy", "fastapi"}


def test_a_service_that_shows_a_finished_run_imports_no_torch(tmp_path: Path, tiny_run: Path) -> None:
    folder = tmp_path / "service"
    (folder / "runs").mkdir(parents=True)
    (folder / "runs" / "tiny-00000001").symlink_to(tiny_run)
    (found,) = modules_told(PAGES, folder)
    assert not found & set(HEAVY)


@pytest.mark.parametrize("package", LAZY)
def test_a_package_offers_what_its_type_checker_sees(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    tree = ast.parse(Path(str(spec.origin)).read_text())
    seen = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    homes = {alias.name: node.module for node in seen if node.module != "nas.lazy" for alias in node.names}
    module = importlib.import_module(package)
    assert sorted(homes) == module.__all__
    for name, home in homes.items():
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name), name


def test_a_submodule_is_found_and_a_slip_is_an_attribute_error() -> None:
    assert nas.supernet.elastic.Conv2d.__name__ == "Conv2d"
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        nas.Studdy  # type: ignore[attr-defined] # noqa: B018
