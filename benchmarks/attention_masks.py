"""Attention that takes the distance of two tokens off their score, or sees one direction, beside plain attention.

    python -m benchmarks.attention_masks --data $NAS_DATA --seeds 3 --out runs/attention_masks

A Transformer of two blocks is trained alone on SST-2 and on TREC with each mask and each seed. Prints the accuracy on
the official test part, of all its sentences and of the longer half, and the mean difference from plain attention with
the same seeds. The masks were set before, none is chosen by what it reaches. Goes on where it was stopped. Five
minutes of one core.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.sentences import NUM_TOKENS, architecture_of, parse, rightness, spread
from search_spaces.text_transformer import text_transformer

_BODY = {
    "width": 32,
    "depth": 2,
    "block0.heads": 2,
    "block1.heads": 2,
    "block0.mlp_ratio": 2,
    "block1.mlp_ratio": 2,
}
_MASKS = {
    "plain attention": (0.0, "both", "both"),
    "distance 0.1": (0.1, "both", "both"),
    "distance 0.5": (0.5, "both", "both"),
    "distance 1.5": (1.5, "both", "both"),
    "forward, backward": (0.0, "forward", "backward"),
    "forward, backward, distance 0.5": (0.5, "forward", "backward"),
}


def main() -> None:
    arguments = parse(__doc__, "runs/attention_masks")
    for name, source in arguments.sources.items():
        splits = source.load()
        make = partial(
            text_transformer,
            classes=len(splits.facts.names),
            num_tokens=NUM_TOKENS,
            length=splits.inputs.shapes[0][0],
            masks=True,
        )
        lengths = (splits.test.inputs > 0).sum(1)
        long = lengths > lengths.median()
        print(
            f"{name}, {len(splits.train)} train, {len(long)} test, {int(long.sum())} longer than {lengths.median()}"
        )
        right: dict[str, list[torch.Tensor]] = {mask: [] for mask in _MASKS}
        for seed in range(arguments.seeds):
            for mask, (distance, first, second) in _MASKS.items():
                masks = {f"block{n}.distance": distance for n in (0, 1)}
                options = {**_BODY, **masks, "block0.direction": first, "block1.direction": second}
                file = arguments.out / f"{name}-{mask}-{seed}.json"
                right[mask].append(
                    rightness(make, architecture_of(make, options), splits, seed, file)["test"]
                )
        for mask, found in right.items():
            pairs = zip(found, right["plain attention"], strict=True)
            gains = [float((one - plain).mean()) for one, plain in pairs]
            print(
                f"  {mask:32} {spread([float(one.mean()) for one in found])}   "
                f"longer {spread([float(one[long].mean()) for one in found])}   gain {spread(gains)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
