"""Kill a short run with SIGKILL, run the same command again, and look for losses.

    python -m benchmarks.kill_resume --times 20
    python -m benchmarks.kill_resume --times 20 --study short_pipeline_study

The first study is killed at random moments. The winners of the second go through a pipeline of passes, and it dies just
before it puts one of their files in its place, evenly spread over all that it writes after the search. After every
resumed run: the command succeeded; the study holds each evaluation once; every trial that was finished when the process
died is there unchanged; the winners' files are complete, and those that a step had finished are not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import optuna

import nas
from benchmarks.short_pipeline_study import COUNT, KILL
from nas import Study
from nas.catalog import find_study
from nas.report.results import Results
from nas.search.record.trials import ARCHITECTURE, complete_trials
from nas.stored import StepResult

Finished = dict[int, tuple[str, list[float]]]
_HERE = Path(__file__).parent


def read_finished_trials(study: Study, database: Path) -> Finished:
    """Return architecture and values of the finished trials by number."""
    if not database.exists():
        return {}
    try:
        record = optuna.load_study(study_name=study.name, storage=f"sqlite:///{database}")
    except KeyError:  # killed before the study was made
        return {}
    return {t.number: (t.user_attrs[ARCHITECTURE], t.values) for t in complete_trials(record)}


def list_finished_files(out: Path) -> dict[Path, int]:
    """Return when each file was made that a finished step of a winner left."""
    steps = out.glob("winners/*/finished*.json")
    files = [step.parent / name for step in steps for name in StepResult.read(step).files]
    return {path: path.stat().st_mtime_ns for path in files}


def faults(study: Study, out: Path, before: Finished, made: dict[Path, int]) -> list[str]:
    """Return what is wrong with a resumed run."""
    record = optuna.load_study(study_name=study.name, storage=f"sqlite:///{out / 'study.db'}")
    after = read_finished_trials(study, out / "study.db")
    found = []
    if len(after) != study.evaluations or len(record.trials) != study.evaluations:
        found.append(f"{len(after)} finished of {len(record.trials)} trials")
    if len({architecture for architecture, _ in after.values()}) != len(after):
        found.append("an architecture was evaluated twice")
    if any(after.get(number) != values for number, values in before.items()):
        found.append("a finished trial changed")
    again = [path.name for path, moment in made.items() if path.stat().st_mtime_ns != moment]
    if again:
        found.append(f"made twice: {', '.join(again)}")
    for winner in Results.read(out / "report.json").winners:
        folder = out / "winners" / winner.id
        for variant in winner.variants:
            nas.load(folder, variant=variant.name)
        if not (folder / "README.md").exists():
            found.append(f"{folder} has no card")
        if list(folder.glob("passes-*")):
            found.append(f"{folder} has leftovers")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kill"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--study", choices=["short_study", "short_pipeline_study"], default="short_study")
    arguments = parser.parse_args()
    file = _HERE / f"{arguments.study}.py"
    study = find_study(str(file))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = random.Random(arguments.seed)
    run = [sys.executable, "-m", "nas", "run", str(file)]
    command = [*run, "--out", str(arguments.out), "--training-device", arguments.device]

    def fresh(variables: dict[str, str]) -> subprocess.Popen[bytes]:
        shutil.rmtree(arguments.out, ignore_errors=True)
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | variables)

    begin = time.perf_counter()
    assert fresh({COUNT: str(arguments.out.with_suffix(".count"))}).wait() == 0
    whole = time.perf_counter() - begin
    print(f"an uninterrupted run takes {whole:.0f} s")
    good = 0
    for turn in range(arguments.times):
        if arguments.study == "short_study":
            moment = rng.uniform(0.05, 0.95) * whole
            when, process = f"after {moment:4.1f} s", fresh({})
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=moment)
            process.kill()
        else:
            count = int(arguments.out.with_suffix(".count").read_text())
            number = round(count * (0.6 + 0.4 * (turn + 1) / arguments.times))
            when, process = f"before file {number} of {count}", fresh({KILL: str(number)})
        process.wait()
        before, made = (
            read_finished_trials(study, arguments.out / "study.db"),
            list_finished_files(arguments.out),
        )
        status = arguments.out / "status.json"
        stage = status.read_text().split('"')[3] if status.exists() else "start"
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        found = faults(study, arguments.out, before, made) if code == 0 else [f"exit code {code}"]
        good += not found
        print(
            f"{turn + 1:>2}: killed {when} in '{stage}' with {len(before)} trials, "
            f"{len(made)} files: "
            f"{'; '.join(found) or 'resumed, nothing lost'}",
            flush=True,
        )
    print(f"{good} of {arguments.times} finished with nothing lost or doubled")


if __name__ == "__main__":
    main()
