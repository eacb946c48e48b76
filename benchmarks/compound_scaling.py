"""Growing a network by compound scaling, against growing its depth, width or resolution alone, at equal MACs.

    python -m benchmarks.compound_scaling --data $NAS_DATA --seeds 3 --out runs/compound_scaling

An architecture from the middle of the Fashion-MNIST study's space grows to twice its MACs in ten ways, and is trained
from scratch on a part of the images, with each seed. First: how near 2^phi the MACs come, for phi from 1 to 4. Results
are kept in a folder, so that a benchmark that was stopped goes on. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from nas.evaluation.from_scratch import fresh_network
from nas.runner.progress import Silent
from nas.runner.scaling import Family, fit_scaling, ways_to_scale
from nas.study import Study
from studies import fashion_mnist

CPU = torch.device("cpu")
IMAGES, EPOCHS = 6_000, 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required="NAS_DATA" not in os.environ)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/compound_scaling"))
    arguments = parser.parse_args()
    if arguments.data is not None:
        os.environ["NAS_DATA"] = str(arguments.data.absolute())
    torch.set_num_threads(1)
    whole = fashion_mnist.study(limit=IMAGES, test_limit=1_000, epochs=EPOCHS)
    study = replace(whole, objectives=whole.objectives[:2])
    family = family_of(study)
    print("MACs over 2^phi of the winner's")
    for way in ways_to_scale():
        ratios = [family.member(way, phi).ratio / 2**phi for phi in (1.0, 2.0, 3.0, 4.0)]
        print(f"  {way!s:48} " + "  ".join(f"{ratio:.3f}" for ratio in ratios))
    found: dict[str, list[float]] = {}
    ratios_of: dict[str, float] = {}
    for seed in range(arguments.seeds):
        fitted = fit_scaling(family_of(replace(study, seed=seed)), arguments.out / str(seed), CPU, Silent())
        for way, member in fitted.items():
            assert member.quality is not None
            found.setdefault(str(way), []).append(100 * member.quality.value)
            ratios_of[str(way)] = member.ratio
    print(
        f"accuracy on the search split at twice the MACs, {arguments.seeds} seeds, {IMAGES} images, {EPOCHS} epochs"
    )
    for name, values in sorted(found.items(), key=lambda item: -mean(item[1])):
        spread = stdev(values) if len(values) > 1 else 0.0
        print(f"  {name:48} {mean(values):6.2f} ± {spread:.2f}   MACs x {ratios_of[name]:.2f}")


def family_of(study: Study) -> Family:
    """Return the family of the architecture whose every choice is in the middle."""
    space = fresh_network(study.network, study.seed).space
    return Family(study, {c.name: c.options[len(c.options) // 2] for c in space.choices})


if __name__ == "__main__":
    main()
