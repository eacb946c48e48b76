"""FMAS on CamVid at 160x120, beside what Xiong 2023 publishes on Pascal VOC: headline, cost of the search, memory.

    python -m benchmarks.fmas --data $NAS_DATA --weights deeplab.safetensors --out runs/fmas --evaluations 500

Without ``--weights`` the network is trained first, as ``studies/fmas_camvid.py`` does. Then our search and NSGA-II
spend as many evaluations each, the winners of ours are fine-tuned, and all are compared on the test split with the
network that they were cut from, which takes part in the turns of the latency. Costs are seconds of one core's processor
time, so that a busy machine says the same: those of the searches, and of one epoch of training, which the recipe's
number of epochs is multiplied by. Goes on where it was stopped; a search that was stopped is not timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import torch
from scipy.stats import kendalltau
from torch import nn

from benchmarks.fashion_front import keep_seconds
from nas import LatencyMs, OptunaSampler, Study
from nas.evaluation import MeanIoU
from nas.evaluation.candidate import OnnxCandidate, SubnetCandidate
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.from_scratch import train_from_scratch
from nas.evaluation.quality.measuring import collect_statistics
from nas.files import write_bytes
from nas.objective import Measurement
from nas.objectives import Bench, Candidate
from nas.runner.compressing import compress_in_search
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory, open_record
from nas.runner.fine_tuning import finish_network
from nas.runner.measuring import Known, calibration, evaluate_architecture
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.proxy import on_proxy, read_choice
from nas.runner.running import run
from nas.runner.searching import search_architectures
from nas.runner.sparing import select_measured
from nas.runner.supernet_training import train_supernet
from nas.runner.weights import SupernetWeights
from nas.search.record.reference_box import reference_box
from nas.search.record.trials import complete_trials, costs_of, indices_of
from nas.space import Architecture
from nas.supernet.recalibrate import extract_recalibrated
from studies.fmas_camvid import study

_CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/fmas"))
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--winners", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=20, help="of fine-tuning a winner")
    parser.add_argument("--parts", nargs="*", default=list(_PARTS), choices=list(_PARTS))
    parser.add_argument("--peak", choices=("nothing", "evaluation", "finishing"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    ours = study(
        weights=arguments.weights,
        evaluations=arguments.evaluations,
        winners=arguments.winners,
        fine_tuning_epochs=arguments.epochs,
    )
    if arguments.peak:
        print(peak_bytes(ours, arguments.out, arguments.peak))
        return
    for part in arguments.parts:
        _PARTS[part](ours, arguments.out)


def search_until_done(chosen: Study, folder: Path) -> tuple[Prepared, RunDirectory, optuna.Study, float]:
    """Search, or go on, and return what is there with the processor's seconds."""
    prepared, directory = prepare(chosen, _CPU), RunDirectory(folder)
    with directory.lock():
        directory.claim(prepared.description())
        directory.claim_storage()
        train_supernet(prepared, directory, Silent())
        begin = time.process_time()
        record = search_architectures(RunContext.alone(prepared, directory, Silent()), chosen.evaluations)
        keep_seconds(folder / f"search-{chosen.evaluations}.json", time.process_time() - begin)
    # A search that went on to more evaluations has a note for each of its parts.
    notes = [folder / f"search-{count}.json" for count in range(1, chosen.evaluations + 1)]
    return prepared, directory, record, sum(keep_seconds(note, 0.0) for note in notes if note.exists())


def show_search(ours: Study, out: Path) -> None:
    """Print what our search came to, and on what part of the split."""
    prepared, directory, record, seconds = search_until_done(ours, out / "ours")
    print_hypervolume("our search", prepared, record, record, seconds)
    choice = read_choice(directory)
    part = "the whole split" if choice.chosen is None else f"{choice.chosen.items} items"
    print(f"proxy: {part}; " + ", ".join(f"{s.items}: tau {s.mean_tau:.2f}" for s in choice.sizes))


def show_nsga2(ours: Study, out: Path) -> None:
    """Print the hypervolume of NSGA-II after as many evaluations, in our search's box."""
    _, _, first, _ = search_until_done(ours, out / "ours")
    nsga2 = dataclasses.replace(ours, strategy=OptunaSampler("NSGAIISampler"))
    prepared, _, record, seconds = search_until_done(nsga2, out / "nsga2")
    print_hypervolume("NSGA-II", prepared, record, first, seconds)


def show_measured(ours: Study, out: Path) -> None:
    """Print the hypervolume of our search when it measures every latency, in the box of the one that predicts most."""
    _, _, first, _ = search_until_done(ours, out / "ours")
    objectives = tuple(LatencyMs() if isinstance(o, LatencyMs) else o for o in ours.objectives)
    prepared, _, record, seconds = search_until_done(
        dataclasses.replace(ours, objectives=objectives), out / "measured"
    )
    print_hypervolume("every latency measured", prepared, record, first, seconds)


def print_hypervolume(
    name: str, prepared: Prepared, record: optuna.Study, first: optuna.Study, seconds: float
) -> None:
    """Print the hypervolume of what a search measured, in the box of the first one."""
    objectives, trials = prepared.problem.objectives, complete_trials(record)
    measured = select_measured(prepared, trials)
    box = reference_box(first, objectives)
    assert box is not None
    volume = box.hypervolume(costs_of(objectives, measured))
    print(
        f"{name}: {len(trials)} evaluations, {len(measured)} with a measured latency, {seconds:.0f} s, "
        f"hypervolume of these {volume:.4f}",
        flush=True,
    )


def show_recalibration(ours: Study, out: Path, count: int = 12) -> None:
    """Print what recalibration does to candidates, and how few images it needs."""
    prepared, *_ = search_until_done(ours, out / "ours")
    rng, quality, splits = np.random.default_rng(1), MeanIoU(), prepared.splits
    architectures = [prepared.problem.space.sample(rng) for _ in range(count)]
    found = {}
    for images in (0, 16, 64, len(splits.train)):
        found[images] = []
        for architecture in architectures:
            module = extract_recalibrated(prepared.supernet, architecture, splits.train, images)
            statistics = collect_statistics(quality, SubnetCandidate(module, splits.inputs), splits.search)
            found[images].append(quality.value(statistics))
    whole = found[len(splits.train)]
    for images, values in found.items():
        tau = kendalltau(values, whole).statistic
        print(f"recalibrated on {images} images: mean IoU {100 * np.mean(values):.1f}, tau {tau:.2f}")


def show_cost(ours: Study, out: Path) -> None:
    """Print how many times dearer training every candidate would be."""
    prepared, directory, record, seconds = search_until_done(ours, out / "ours")
    note = out / "epoch.json"
    if not note.exists():
        begin = time.process_time()
        one = dataclasses.replace(ours.recipe, epochs=1)
        train_from_scratch(
            ours.network,
            median(prepared, record),
            prepared.splits.train,
            prepared.splits.task,
            one,
            seed=0,
            device=_CPU,
        )
        keep_seconds(note, time.process_time() - begin)
    training = keep_seconds(note, 0.0) * ours.recipe.epochs
    print(f"training one candidate: {training:.0f} s, {ours.recipe.epochs} epochs of which one was run")
    trials = complete_trials(record)
    search, measured = seconds / len(trials), len(select_measured(prepared, trials)) / len(trials)
    print(
        f"an evaluation, the choice of the proxy and the proposals included: {tell_seconds(search, training)}"
    )
    for name, judged in {"the proxy": on_proxy(prepared, directory), "the whole split": prepared}.items():
        weights, known = SupernetWeights(prepared, directory), calibration(prepared, record)
        parts = seconds_by_part(judged, weights, known, measured)
        detail = ", ".join(f"{part} {spent:.2f}" for part, spent in parts.items())
        print(
            f"an evaluation on {name} alone: {tell_seconds(sum(parts.values()), training)}: {detail}",
            flush=True,
        )


def tell_seconds(seconds: float, training: float) -> str:
    return f"{seconds:.2f} s, {training / seconds:.0f} times less than a training (published: 100)"


def seconds_by_part(
    prepared: Prepared, weights: SupernetWeights, known: Known, measured: float, count: int = 12
) -> dict[str, float]:
    """Return the processor's seconds of each part of an evaluation, the mean over random architectures.

    Args:
        prepared: The study.
        weights: Give architectures theirs.
        known: What the objectives know of the device.
        measured: Share of the candidates that are exported, and whose latency is measured.
        count: How many architectures.
    """
    rng, spent = np.random.default_rng(0), dict.fromkeys(("cut and recalibrate", "export"), 0.0)
    for _ in range(count):
        times = [time.process_time()]
        candidate = prepared.candidate(weights.module(prepared.problem.space.sample(rng)))
        times.append(time.process_time())
        assert candidate.onnx_model
        times.append(time.process_time())
        for objective in prepared.measured:
            name = objective.objective.name
            objective.measure([candidate], Bench(prepared.splits.search, False, known[name]))
            times.append(time.process_time())
            spent.setdefault(name, 0.0)
        for part, seconds in zip(spent, np.diff(times), strict=True):
            spent[part] += float(seconds) / count
    whole = ("cut and recalibrate", prepared.measured[0].objective.name)
    return {part: seconds * (1 if part in whole else measured) for part, seconds in spent.items()}


def median(prepared: Prepared, record: optuna.Study) -> Architecture:
    """Return the evaluated architecture with the median of the MACs."""
    indices = indices_of(prepared.problem.space, complete_trials(record))
    macs = prepared.counter.counts(indices).macs
    return prepared.problem.space.from_indices(indices[np.argsort(macs)[len(macs) // 2]][None])[0]


def show_headline(ours: Study, out: Path) -> None:
    """Finish the winners, and print them beside the network that they were cut from."""
    results = run(ours, out / "ours", training_device=_CPU, progress=Silent())
    prepared = prepare(ours, _CPU)
    train_supernet(prepared, RunDirectory(out / "ours"), Silent())
    whole = prepared.supernet.extract(prepared.problem.space.largest())
    candidates: list[Candidate] = [OnnxCandidate(export_network(whole, prepared, out / "whole.onnx"))]
    files = [out / "ours" / "winners" / w.id / w.variants[0].file for w in results.winners]
    candidates += [OnnxCandidate(file) for file in files]
    qualities = [MeanIoU().value(collect_statistics(MeanIoU(), c, prepared.splits.test)) for c in candidates]
    latencies = time_networks(candidates, prepared)
    spec = prepared.splits.inputs
    sizes = [
        (count_macs(whole, spec), count_params(whole)),
        *((w.macs, w.num_params) for w in results.winners),
    ]
    print(
        "| network | MACs | parameters | latency, ms | test mean IoU | MACs | parameters | faster | points lost |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, quality, latency, (macs, params) in zip(
        ["as given", *(w.id for w in results.winners)], qualities, latencies, sizes, strict=True
    ):
        ratios = f"{macs / sizes[0][0]:.2f} | {params / sizes[0][1]:.2f} | {latencies[0].value / latency.value:.2f}"
        lost = 100 * (qualities[0] - quality)
        print(
            f"| {name} | {macs / 1e6:.1f} M | {params / 1e3:.0f} k | {latency.value:.2f} ± {latency.spread:.2f} "
            f"| {100 * quality:.1f} | {ratios} | {lost:+.1f} |"
        )


def export_network(module: nn.Module, prepared: Prepared, path: Path) -> Path:
    """Write a network as an ONNX file."""
    write_bytes(path, SubnetCandidate(module, prepared.splits.inputs).onnx_model)
    return path


def time_networks(candidates: Sequence[Candidate], prepared: Prepared) -> list[Measurement]:
    """Return the latencies of all, measured in turns."""
    objective = LatencyMs()
    bench = Bench(prepared.splits.search, thorough=True, calibration=objective.calibrate())
    return objective.measure(candidates, bench)


def show_memory(_ours: Study, _out: Path) -> None:
    """Print the peak of a process each, that holds the network and the data and does one thing more."""
    for what in ("nothing", "evaluation", "finishing"):
        command = [sys.executable, "-m", "benchmarks.fmas", *sys.argv[1:], "--peak", what]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"peak memory, {what}: {peak / 2**30:.2f} GiB")


def peak_bytes(ours: Study, out: Path, what: str) -> int:
    """Return the largest memory of this process, that did one thing to the largest network."""
    prepared, directory = prepare(ours, _CPU), RunDirectory(out / "ours")
    train_supernet(prepared, directory, Silent())
    weights, record = SupernetWeights(prepared, directory), open_record(directory)[0]
    known, largest = calibration(prepared, record), prepared.problem.space.largest()
    if what == "evaluation":
        made = compress_in_search(prepared, largest, weights.module(largest))
        judging = on_proxy(prepared, directory)
        evaluate_architecture(judging, largest, made, known).on_devices(judging, known)
    elif what == "finishing":
        recipe = dataclasses.replace(ours.winners.recipe, epochs=1)
        winners = dataclasses.replace(ours.winners, recipe=recipe)
        once = dataclasses.replace(prepared, study=dataclasses.replace(ours, winners=winners))
        with tempfile.TemporaryDirectory() as scratch:
            finish_network(once, largest, weights, known, Path(scratch))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


_PARTS = {
    "search": show_search,
    "cost": show_cost,
    "headline": show_headline,
    "memory": show_memory,
    "recalibration": show_recalibration,
    "nsga2": show_nsga2,
    "measured": show_measured,
}

if __name__ == "__main__":
    main()
