"""The stage that chooses the part of the search split that candidates are evaluated on."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import final

import numpy as np

from nas.evaluation.proxy import ProxySize, ProxySubset, choose_size, proxy_sizes, subset_rows
from nas.evaluation.quality.measuring import collect_statistics
from nas.files import make_damage_error
from nas.progress import CHOOSE_PROXY, Progress
from nas.runner.compressing import compress_in_search
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared
from nas.runner.steps import CachedStep, result_in
from nas.runner.weights import Weights
from nas.search.models.designs import draw_balanced_designs
from nas.study import stable_repr
from nas.task import Quality


@final
@dataclass(frozen=True)
class ProxyChoice:
    """The result of choosing a proxy, as it is stored.

    Args:
        sizes: Sizes that were tried.
        chosen: The one that candidates are evaluated on; None for the whole search split.
        architectures: How many were ranked.
        min_tau: What was asked for.
    """

    sizes: tuple[ProxySize, ...]
    chosen: ProxySize | None
    architectures: int
    min_tau: float


def choose_proxy(prepared: Prepared, run: RunDirectory, weights: Weights, progress: Progress) -> None:
    """Find out how large a part ranks well enough, and store it in ``proxy.json``; done once."""
    study, quality = prepared.study, prepared.study.objectives[0]
    if study.proxy is None:
        return
    assert isinstance(quality, Quality), "a study with a proxy has a quality with statistics"
    inputs = [weights.digest, stable_repr(study.proxy), stable_repr(quality), study.seed]
    step = CachedStep(run.proxy, inputs)
    if step.result(ProxyChoice) is not None:
        return
    space = prepared.problem.space
    rows = draw_balanced_designs(
        prepared.problem, study.proxy.architectures, np.random.default_rng(study.seed)
    )
    progress.start(CHOOSE_PROXY, len(rows), 0)
    split, statistics = prepared.splits.search, []
    for architecture in space.from_indices(rows):
        made = compress_in_search(prepared, architecture, weights.module(architecture))
        candidate = made.candidate(prepared)
        statistics.append(collect_statistics(quality, candidate, split))
        progress.advance(architecture.id)
    sizes = proxy_sizes(study.proxy, quality, statistics, split, study.seed)
    chosen = choose_size(study.proxy, sizes)
    progress.say(_tell_choice(sizes, chosen, study.proxy))
    step.store(asdict(ProxyChoice(tuple(sizes), chosen, len(rows), study.proxy.min_tau)))


def read_choice(run: RunDirectory) -> ProxyChoice:
    """Return what :func:`choose_proxy` stored.

    Raises:
        DamagedFileError: the file is damaged.
        RunDirectoryError: it can't be read.
    """
    return result_in(run.proxy, ProxyChoice)


def on_proxy(prepared: Prepared, run: RunDirectory) -> Prepared:
    """Return ``prepared`` with the chosen part in place of the search split."""
    if prepared.study.proxy is None:
        return prepared
    size = read_choice(run).chosen
    if size is None:
        return prepared
    splits = prepared.splits
    rows = subset_rows(splits.search, size.share, prepared.study.seed)
    if len(rows) != size.items:
        raise make_damage_error(run.proxy, f"{size.items} items, {len(rows)} are expected")
    return dataclasses.replace(
        prepared, splits=dataclasses.replace(splits, search=splits.search.subset(rows))
    )


def _tell_choice(sizes: list[ProxySize], chosen: ProxySize | None, settings: ProxySubset) -> str:
    tried = ", ".join(f"{s.share:.0%} {s.low_tau:.2f}" for s in sizes)
    how = f"{chosen.items} items" if chosen else "the whole search split"
    return f"candidates are evaluated on {how} (tau of parts, at least {settings.min_tau} asked for: {tried})"
