from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Command, one_sentence
from run_folders import copy_run

import nas
from nas.export.names import variant_files
from nas.report.results import Results


def test_exported_models_load_and_stand_alone(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    out = tmp_path / "released" / "models"
    assert nas_command("export", cli_run, "--to", out, "--all") == 0
    results = Results.read(cli_run / "report.json")
    many = len(results.winners)
    assert f"{many} model{'' if many == 1 else 's'} in" in capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {"README.md", *(w.id for w in results.winners)}
    for winner in results.winners:
        nas.load(out / winner.id)
        assert not list((out / winner.id).glob("finished*"))
    assert not list(out.parent.glob(".*"))


def test_by_default_the_final_front_alone_is_exported(
    nas_command: Command, tmp_path: Path, cli_run: Path
) -> None:
    out = tmp_path / "models"
    assert nas_command("export", cli_run, "--to", out) == 0
    results = Results.read(cli_run / "report.json")
    kept = {w.id for w in results.winners if any(v.on_front for v in w.variants)}
    assert {p.name for p in out.iterdir() if p.is_dir()} == kept
    card = (out / "README.md").read_text()
    assert all(id_ in card for id_ in kept)


def test_a_variant_of_an_earlier_run_stays_behind(
    nas_command: Command, tmp_path: Path, cli_run: Path
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    winner = Results.read(run / "report.json").winners[0]
    for name in variant_files("half"):
        (run / "winners" / winner.id / name).write_text("of the weights before")
    assert nas_command("export", run, "--to", tmp_path / "models", "--all") == 0
    delivered = {path.name for path in (tmp_path / "models" / winner.id).iterdir()}
    assert not delivered & set(variant_files("half"))
    assert {"model.onnx", "model.safetensors", *(v.file for v in winner.variants if v.shipped)} <= delivered


def test_exporting_over_something_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    capsys.readouterr()
    assert nas_command("export", cli_run, "--to", tmp_path) == 2
    assert "exists already" in one_sentence(capsys)


def test_exporting_to_a_place_that_can_not_be_written_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert nas_command("export", cli_run, "--to", tmp_path / "file" / "models") == 2
    one_sentence(capsys)


def test_exporting_before_the_end_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    (run / "report.json").unlink()
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models") == 2
    assert "no finished winners" in one_sentence(capsys)


def test_exporting_a_winner_that_lost_its_folder_is_one_sentence(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    shutil.rmtree(run / "winners")
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models") == 2
    one_sentence(capsys)


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "README.md", "architecture.json"])
def test_no_damaged_file_is_exported(
    nas_command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path, cli_run: Path, name: str
) -> None:
    run = copy_run(cli_run, tmp_path / "run")
    path = sorted(run.glob(f"winners/*/{name}"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"~")
    capsys.readouterr()
    assert nas_command("export", run, "--to", tmp_path / "models", "--all") == 2
    assert f"{path.parent.name}/{name} doesn't match its digest: run the study" in one_sentence(capsys)
    assert not (tmp_path / "models").exists()
