"""Growing a network by compound scaling, against growing its depth, width or resolution alone, at equal MACs.

    python -m benchmarks.compound_scaling --data $NAS_DATA --seeds 4 --out runs/compound_scaling

An architecture from the middle of the Fashion-MNIST study's space grows to twice its MACs in ten ways, and is trained
from scratch on a part of the images with the first seed, which chooses the best way to share the growth. With the
other seeds, which chose nothing, that way stands beside an even share, and beside depth, width and resolution alone.
First: how near 2^phi the MACs come, for phi from 1 to 4. Results are kept in a folder, so that a benchmark that was
stopped goes on. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from nas.evaluation.from_scratch import fresh_network
from nas.runner.family import Family, Shares, ways_to_scale
from nas.runner.progress import Silent
from nas.runner.scaling import fit_scaling
from nas.study import Study
from studies import fashion_mnist

CPU = torch.device("cpu")
EVEN = Shares(1, 1, 1)
ALONE = (Shares(3, 0, 0), Shares(0, 3, 0), Shares(0, 0, 3))
IMAGES, EPOCHS = 6_000, 6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required="NAS_DATA" not in os.environ)
    parser.add_argument("--seeds", type=int, default=4)
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
    fitted = fit_ways(study, 0, arguments.out)
    print(
        f"accuracy on the search split at twice the MACs, {IMAGES} images, {EPOCHS} epochs, seed 0, which chooses"
    )
    for way, (accuracy, ratio) in fitted.items():
        print(f"  {way!s:48} {accuracy:6.2f}   MACs x {ratio:.2f}")
    best = next(iter(fitted))
    compared = list(dict.fromkeys([best, EVEN, *ALONE]))
    others = [fit_ways(study, seed, arguments.out, compared) for seed in range(1, arguments.seeds)]
    print(f"the same with the {len(others)} other seeds; gain of the chosen way, seed by seed")
    for way in compared:
        values = [found[way][0] for found in others]
        spread = stdev(values) if len(values) > 1 else 0.0
        gains = ", ".join(f"{found[best][0] - found[way][0]:+.2f}" for found in others)
        print(f"  {way!s:48} {mean(values):6.2f} ± {spread:.2f}   {gains}")


def fit_ways(
    study: Study, seed: int, out: Path, ways: Sequence[Shares] | None = None
) -> dict[Shares, tuple[float, float]]:
    """Return accuracy in percent and ratio of the MACs of each way to grow, the best one first."""
    family = family_of(replace(study, seed=seed))
    fitted = fit_scaling(family, out / str(seed), CPU, Silent(), ways)
    return {
        way: (100 * one.quality.value, one.ratio) for way, one in fitted.items() if one.quality is not None
    }


def family_of(study: Study) -> Family:
    """Return the family of the architecture whose every choice is in the middle."""
    space = fresh_network(study.network, study.seed).space
    return Family(study, {c.name: c.options[len(c.options) // 2] for c in space.choices})


if __name__ == "__main__":
    main()
