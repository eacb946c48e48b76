"""Print a digest of the digits demo without latency: its trials and its winners' weights.

    python -m benchmarks.same_results --out runs/same      # a folder that isn't there yet

Two versions of the project that should propose and train the same print the same. On one core, with one version of
torch; three minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from pathlib import Path

import optuna
import torch

from nas import Accuracy, Macs
from nas.runner import run
from nas.runner.progress import Silent
from studies.digits import study


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/same"))
    out: Path = parser.parse_args().out
    if out.exists():
        parser.error(
            f"{out} is there already, so its results may be an older version's: remove it, or name another"
        )
    torch.set_num_threads(1)
    counted = dataclasses.replace(study(), objectives=(Accuracy(), Macs()))
    run(counted, out, training_device=torch.device("cpu"), progress=Silent())
    record = optuna.load_study(study_name=counted.name, storage=f"sqlite:///{out / 'study.db'}")
    trials = [json.dumps([t.number, t.params, t.values], sort_keys=True) for t in record.trials]
    weights = [
        f"{path.parent.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(out.rglob("model.safetensors"))
    ]
    digest = hashlib.sha256("\n".join([*trials, *weights]).encode()).hexdigest()
    print(f"{len(trials)} trials, weights of {len(weights)} winners: {digest}")


if __name__ == "__main__":
    main()
