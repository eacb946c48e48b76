"""The finished front of the segmentation demo against two fronts that were trained from scratch, of equal compute.

    python -m benchmarks.segmentation_front --out runs/segmentation-front --plot docs/segmentation_front.png

What ``benchmarks/fashion_front.py`` does for Fashion-MNIST, with mean IoU and the U-Nets of
``studies/digits_segmentation.py``: the study as it is, its winners uncompressed; the same family scaled uniformly, each
trained from scratch, with as many seconds for all as the whole run took; the winners from scratch. Takes about
twenty minutes of one core.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.fashion_front import compare_fronts
from studies.digits_segmentation import study


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--winners", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/segmentation-front"))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    demo = study()
    winners = replace(demo.winners, count=arguments.winners, passes=())
    chosen = replace(demo, evaluations=arguments.evaluations, winners=winners, seed=arguments.seed)
    compare_fronts(chosen, arguments.out, arguments.plot)


if __name__ == "__main__":
    main()
