"""What the search costs against training every evaluated architecture from scratch.

    python -m benchmarks.search_cost --run runs/digits --architectures 6

Reads the seconds of a finished run of the digits study on this machine, then trains random architectures
from scratch with the same recipe for the same epochs. The ratio is
(mean seconds from scratch x evaluations) / (supernet training + search).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from nas.evaluation.from_scratch import train_from_scratch
from nas.report.results import Results
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from studies.digits import study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/digits"))
    parser.add_argument("--architectures", type=int, default=6)
    arguments = parser.parse_args()
    results = Results.read(RunDirectory(arguments.run).results)
    spent = results.facts["seconds"]
    evaluations = len(results.values) + results.trials["failed"]
    cpu = torch.device("cpu")
    chosen = study()
    prepared = prepare(chosen, cpu)
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(arguments.architectures):
        begin = time.perf_counter()
        train_from_scratch(
            chosen.network,
            prepared.problem.space.sample(rng),
            prepared.splits.train,
            prepared.splits.task,
            chosen.recipe,
            seed=0,
            device=cpu,
        )
        seconds.append(time.perf_counter() - begin)
    alone = float(np.mean(seconds))
    per_evaluation = spent["search"] / evaluations
    print(
        f"from scratch: {alone:.1f} s each (standard deviation {np.std(seconds):.1f}, {len(seconds)} random)"
    )
    print(f"supernet {spent['supernet']:.1f} s, search {per_evaluation:.3f} s per evaluation")
    for count in (evaluations, 300, 1000, 3000):
        ratio = alone * count / (spent["supernet"] + per_evaluation * count)
        how = "measured" if count == evaluations else "extrapolated"
        print(f"{count:>5} evaluations: {ratio:6.1f} times cheaper ({how})")
    print(f"bound as evaluations grow: {alone / per_evaluation:.0f} (one training / one evaluation)")


if __name__ == "__main__":
    main()
