"""How scores rank accuracies, as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas.agreement import rank_agreement, spearman_rho
from nas.space import FloatArray


def print_ranks(
    title: str, values: Mapping[str, FloatArray], reached: FloatArray, seconds: Mapping[str, float]
) -> None:
    """Print how scores correlate with accuracies, and what is left of that where parameters are equally many."""
    print(f"\n{title}: {len(reached)} networks, {reached.min():.4g} to {reached.max():.4g}\n")
    print(
        "| score | Spearman | Kendall | Spearman with equally many parameters | without a score | seconds |"
    )
    print("|---|---|---|---|---|---|")
    for name, scores in values.items():
        known = np.isfinite(scores)
        agreement = rank_agreement(list(scores[known]), list(reached[known]))
        if agreement is None:
            print(f"| {name} | – | – | – | {np.sum(~known)} | |")
            continue
        rest = "–"
        if "parameters" in values and name != "parameters":
            rest = f"{partial(scores[known], reached[known], values['parameters'][known]):.2f}"
        spent = f"{seconds[name]:.3f}" if name in seconds else ""
        print(
            f"| {name} | {agreement.spearman} | {agreement.tau} | {rest} | {np.sum(~known)} | {spent} |",
            flush=True,
        )


def partial(x: FloatArray, y: FloatArray, given: FloatArray) -> float:
    """Return the rank correlation of x and y with that of both with ``given`` taken out."""
    xy, xz, yz = spearman_rho(x, y), spearman_rho(x, given), spearman_rho(y, given)
    return float((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
