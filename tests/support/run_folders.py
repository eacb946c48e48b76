"""What tests look at in the directory of a run."""

from __future__ import annotations

import dataclasses
import gc
import shutil
from pathlib import Path

import optuna
from fakes import digests
from optuna.trial import TrialState

from nas.report.results import Results

PAID = (
    "*.safetensors",
    "*.onnx",
    "finished*.json",
    "measurements.json",
    "architecture.json",
)


def trials(path: Path, name: str = "tiny") -> list[tuple[int, TrialState, dict, list[float] | None]]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{path / 'study.db'}")
    return [(t.number, t.state, t.params, t.values) for t in study.trials]


def snapshot(path: Path) -> tuple[object, object]:
    """Return every file and every trial; SQLite may rearrange its own files."""
    files = {name: digest for name, digest in digests(path).items() if not name.startswith("study.db")}
    return files, trials(path)


def winner_folders(path: Path) -> list[Path]:
    return sorted(folder for folder in (path / "winners").iterdir() if folder.is_dir())


def comparable(results: Results) -> dict[str, object]:
    """Return the results without what time and place put in."""
    plain = dataclasses.asdict(results)
    plain["facts"] = {k: v for k, v in plain["facts"].items() if k not in ("seconds", "command", "machine")}
    return plain


def copy_run(run: Path, to: Path) -> Path:
    """Copy the directory of a run, once its database is let go of: SQLite's side files would vanish under the copy."""
    if any(run.glob("study.db-*")):
        gc.collect()
    return Path(shutil.copytree(run, to))
