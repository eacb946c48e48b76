"""The stage that chooses the part of the search split that candidates are judged on."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict

import numpy as np
import torch

from nas.errors import DamagedFileError
from nas.evaluation import SubnetCandidate
from nas.evaluation.proxy import ProxySize, ProxySubset, chosen_size, proxy_sizes, subset_rows
from nas.files import read_json
from nas.protocols import CHOOSE_PROXY, Bench, Progress
from nas.runner.directory import RunDirectory
from nas.runner.measuring import Known
from nas.runner.preparation import Prepared
from nas.runner.steps import store_result, stored_result
from nas.runner.weights import Weights
from nas.search.designs import balanced_designs
from nas.study import stable_repr

_ROWS = 4096


def choose_proxy(
    prepared: Prepared, run: RunDirectory, weights: Weights, known: Known, progress: Progress
) -> None:
    """Find out how large a part ranks well enough, and store it in ``proxy.json``; done once."""
    study, quality = prepared.study, prepared.measured[0]
    if study.proxy is None:
        return
    inputs = [weights.digest, stable_repr(study.proxy), stable_repr(quality), study.seed]
    if stored_result(run.proxy, inputs) is not None:
        return
    space = prepared.problem.space
    rows = balanced_designs(prepared.problem, study.proxy.architectures, np.random.default_rng(study.seed))
    progress.start(CHOOSE_PROXY, len(rows), 0)
    split, logits = prepared.splits.search, []
    for architecture in space.from_indices(rows):
        candidate = SubnetCandidate(
            weights.module(architecture), prepared.splits.image_shape, prepared.splits.dtype
        )
        logits.append(torch.cat([candidate.predict(batch) for batch in split.batches(_ROWS)]))
        progress.advance(architecture.id)
    bench = Bench(split, thorough=False, calibration=known[quality.objective.name])
    sizes = proxy_sizes(study.proxy, quality, logits, bench, study.seed)
    chosen = chosen_size(study.proxy, sizes)
    progress.say(_told(sizes, chosen, study.proxy))
    store_result(
        run.proxy,
        inputs,
        {
            "sizes": [asdict(size) for size in sizes],
            "chosen": None if chosen is None else asdict(chosen),
            "architectures": len(rows),
            "min_tau": study.proxy.min_tau,
        },
    )


def on_proxy(prepared: Prepared, run: RunDirectory) -> Prepared:
    """Return ``prepared`` with the chosen part in place of the search split."""
    if prepared.study.proxy is None:
        return prepared
    stored = read_json(run.proxy)["result"]["chosen"]
    if stored is None:
        return prepared
    size = ProxySize(**stored)
    splits = prepared.splits
    rows = subset_rows(splits.search, size.share, prepared.study.seed)
    if len(rows) != size.images:
        raise DamagedFileError(
            f"{run.proxy} is damaged ({size.images} images, {len(rows)} expected): delete it."
        )
    return dataclasses.replace(prepared, splits=dataclasses.replace(splits, search=splits.search.part(rows)))


def _told(sizes: list[ProxySize], chosen: ProxySize | None, settings: ProxySubset) -> str:
    tried = ", ".join(f"{s.share:.0%} {s.low_tau:.2f}" for s in sizes)
    how = f"{chosen.images} images" if chosen else "the whole search split"
    return f"candidates are judged on {how} (tau of parts, at least {settings.min_tau} asked for: {tried})"
