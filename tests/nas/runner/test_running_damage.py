"""A finished run whose files were damaged, and the same command again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from fakes import digests, run_in, tiny_study
from run_folders import copy_run

from nas import Recipe, Trust, Winners
from nas.choices import Option
from nas.compression import Lab, Model
from nas.errors import DamagedFileError, NasError
from nas.report.results import Results
from nas.runner.delivery import check_delivery
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.proxy import read_choice
from nas.space import SearchSpace


@dataclass(frozen=True)
class Copied:
    """A pass that changes nothing."""

    name: str = "copied"
    works_on: Literal["module", "file"] = "file"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace(())

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        return replace(model, applied=(*model.applied, "copied"))


STUDY = tiny_study(
    trust=Trust(count=1),
    winners=Winners(count=2, recipe=Recipe(epochs=1, batch_size=64, learning_rate=1e-3), passes=(Copied(),)),
)
REPORT = ("report.md", "report.json", "front.png", "hypervolume.png", "winners/README.md")
STEPS = ("supernet/training.json", "winners/measurements.json", "winners/*/finished*.json", "trust/*.json")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(_content: bytes) -> bytes:
    return b""


def with_nulls(content: bytes) -> bytes:
    def nulls(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: nulls(item) for key, item in value.items()}
        return [nulls(item) for item in value] if isinstance(value, list) else None

    return json.dumps(nulls(json.loads(content))).encode()


DAMAGES = (flipped, half, emptied)
WRONG = (*DAMAGES, with_nulls, lambda _: b"[]", lambda _: b"null", lambda _: b"{}", lambda _: b"[" * 10**5)


def damage(path: Path, how: Callable[[bytes], bytes]) -> None:
    path.write_bytes(how(path.read_bytes()))


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(STUDY, torch.device("cpu"))


@pytest.fixture(scope="module", autouse=True)
def _quick(prepared: Prepared) -> Iterator[None]:
    """Prepare once, because every test runs the study again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("nas.runner.running.prepare", lambda *_: prepared)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with everything that a stage's result names. Not to be changed: copy it."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    run_in(STUDY, path)
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return copy_run(whole, tmp_path / "run")


def kept(path: Path) -> dict[str, str]:
    """Return the digests of what the same command again leaves as it was."""
    found = digests(path, "*.safetensors", "*.onnx", "winners/*.json", "*.md", "*.png", "run.json")
    return found | digests(path, "report.json", "training.json")


def winner_files(path: Path, name: str) -> list[Path]:
    return sorted(path.glob(f"winners/*/{name}"))


@pytest.mark.parametrize("how", DAMAGES)
def test_what_a_stage_names_is_made_again_and_said(
    whole: Path, run: Path, how: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = 0, 1
    hurt = [
        winner_files(run, "model.onnx")[one],
        winner_files(run, "architecture.json")[one],
        winner_files(run, "README.md")[one],
        winner_files(run, "model.copied.onnx")[other],
        winner_files(run, "front.png")[other],
        *(run / name for name in REPORT),
    ]
    for path in hurt:
        damage(path, how)
    run_in(STUDY, run)
    for path in hurt:
        assert f"{path} doesn't match its digest and is made again" in caplog.text
    assert caplog.text.count("made again") == len(hurt)
    assert kept(run) == kept(whole)


def test_damaged_weights_of_a_winner_are_fine_tuned_again(
    whole: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = winner_files(run, "model.safetensors")[0]
    damage(weights, flipped)
    run_in(STUDY, run)
    assert f"{weights} doesn't match its digest and is made again" in caplog.text
    assert kept(run) == kept(whole)


def test_an_undamaged_run_says_nothing(whole: Path, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_in(STUDY, run)
    assert not caplog.text
    assert kept(run) == kept(whole)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_supernet_is_a_sentence(run: Path, how: Callable[[bytes], bytes]) -> None:
    damage(run / "supernet" / "weights.safetensors", how)
    with pytest.raises(DamagedFileError, match=r"weights\.safetensors .* restore it, or delete it") as caught:
        run_in(STUDY, run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", [*STEPS, "run.json", "files.json"])
@pytest.mark.parametrize("how", WRONG)
def test_a_damaged_record_is_a_sentence(run: Path, pattern: str, how: Callable[[bytes], bytes]) -> None:
    path = next(p for p in sorted(run.glob(pattern)) if p.name != "trust.json")
    damage(path, how)
    with pytest.raises(DamagedFileError, match=f"{path} is damaged .*delete it and run the same") as caught:
        run_in(STUDY, run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", [flipped, emptied, with_nulls])
def test_what_is_written_at_every_run_is_made_again_and_said(
    whole: Path, run: Path, how: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("status.json", "trust/trust.json", "report.json"):
        damage(run / name, how)
    run_in(STUDY, run)
    for name in ("status.json", "trust/trust.json", "report.json"):
        assert any(str(run / name) in m and "made again" in m for m in caplog.messages)
    assert kept(run) == kept(whole)
    assert RunDirectory(run).read_status().stage == "done"


@pytest.mark.parametrize("pattern", [*STEPS, "run.json", "winners/*/model.onnx", "supernet/weights.*"])
def test_a_directory_in_a_files_place_is_a_sentence(run: Path, pattern: str) -> None:
    path = next(p for p in sorted(run.glob(pattern)) if p.name != "trust.json")
    path.unlink()
    path.mkdir()
    with pytest.raises(NasError, match=path.name) as caught:
        run_in(STUDY, run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", WRONG)
def test_other_records_are_read_with_the_same_care(tmp_path: Path, how: Callable[[bytes], bytes]) -> None:
    directory = RunDirectory(tmp_path)
    for path, content, read in (
        (directory.proxy, {"inputs": "", "result": {"sizes": [], "chosen": None}}, lambda: read_choice(directory)),
        (directory.storage, {"url": "postgresql+psycopg://me@here/db", "run": "1234"}, lambda: directory.location),
        (directory.results, {"study": "tiny"}, lambda: Results.read(directory.results)),
    ):  # fmt: skip
        path.write_bytes(how(json.dumps(content).encode()))
        if how is flipped and path == directory.storage:
            continue  # as if written by hand, without a digest
        with pytest.raises(DamagedFileError, match=path.name):
            read()  # type: ignore[no-untyped-call]


def test_only_whole_files_are_delivered(run: Path) -> None:
    directory = RunDirectory(run)
    ids = sorted(path.name for path in (run / "winners").iterdir() if path.is_dir())
    check_delivery(directory, ids)
    damage(run / "winners" / ids[1] / "model.copied.onnx", flipped)
    check_delivery(directory, ids[:1])
    check_delivery(directory, ids, ["model.onnx"])
    with pytest.raises(
        DamagedFileError, match=r"model\.copied\.onnx doesn't match its digest: run the study"
    ):
        check_delivery(directory, ids)
    damage(run / "winners" / "README.md", half)
    with pytest.raises(DamagedFileError, match=r"winners/README\.md doesn't match"):
        check_delivery(directory, ids[:1])


def test_a_winner_without_its_record_is_not_delivered(run: Path) -> None:
    folder = next(path for path in (run / "winners").iterdir() if path.is_dir())
    (folder / "finished.json").unlink()
    with pytest.raises(DamagedFileError, match=r"the list of what was made in .* is missing: run the study"):
        check_delivery(RunDirectory(run), [folder.name])


STATEMENTS = {
    "a value": "UPDATE trial_values SET value = value + 0.125 WHERE trial_value_id = 3",
    "an option": "UPDATE trial_params SET param_value = 1 - min(param_value, 1) WHERE param_name = 'kernel'",
    "a measurement": "UPDATE trial_user_attributes SET value_json = replace(value_json, '0.', '1.') "
    "WHERE key = 'measurements'",
    "no measurement": "UPDATE trial_user_attributes SET key = 'neasurements' WHERE key = 'measurements'",
    "no JSON": "UPDATE trial_user_attributes SET value_json = '{' WHERE key = 'measurements'",
    "the study's name": "UPDATE studies SET study_name = 'tinz' WHERE study_name = 'tiny'",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_trials_that_contradict_themselves_are_a_damaged_database(run: Path, statement: str) -> None:
    connection = sqlite3.connect(run / "study.db")
    assert connection.execute(statement).rowcount
    connection.commit()
    connection.close()
    with pytest.raises(
        DamagedFileError, match=r"study\.db is damaged .*move it away to search again"
    ) as caught:
        run_in(STUDY, run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", [half, emptied, lambda _: b"text"])
def test_a_damaged_database_never_begins_a_new_search(run: Path, how: Callable[[bytes], bytes]) -> None:
    damage(run / "study.db", how)
    with pytest.raises(DamagedFileError, match=r"study\.db is damaged"):
        run_in(STUDY, run)
