"""Compression in the search, against compression afterwards and against no search at all, at equal compute.

    python -m benchmarks.joint_compression --out runs/joint
    python -m benchmarks.joint_compression --out runs/joint --data $NAS_DATA --limit 6000

For each seed one supernet is trained, and three ways go on from it:

- *joint*: shares of channels and bits are choices of the search; each winner is fine-tuned once, as it was found;
- *front first*: the same search without these choices; half as many winners, each fine-tuned, then pruned to half of
  its channels and fine-tuned again, and all of these in int8 too: as many epochs of fine-tuning;
- *by hand*: no search; the largest subnet at eight shares of its channels, in float32 and in int8, fine-tuned for so
  many epochs that this takes as long as the search and the fine-tuning of the joint way.

All files are measured together: accuracy on the test split, latency in turns, bytes of the numbers stored. Prints the
hypervolume of each way's files in one box per seed, which all files span, and the joint way's ratio to the others.
``--tau`` evaluates more architectures of the joint search after all passes, and prints how the search ranked them.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks.fashion import FashionSubset
from nas import (
    Accuracy,
    FineTune,
    Int8,
    LatencyMs,
    Pipeline,
    Prune,
    Recipe,
    Study,
    SurrogateSearch,
    Trust,
    WeightBytes,
    Winners,
    load,
)
from nas.data import Digits
from nas.evaluation import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.evaluation.stored import count_stored_bytes
from nas.files import read_json, write_json
from nas.inputs import InputSpec
from nas.objective import Objective
from nas.objectives import Bench
from nas.pareto import non_dominated
from nas.runner import run
from nas.runner.by_hand import SHARES
from nas.runner.compressing import compress, lab_of
from nas.runner.directory import RunDirectory
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.runner.weights import SupernetWeights
from nas.search.record.reference_box import ReferenceBox
from nas.space import FloatArray
from search_spaces.convnet import convnet
from surrogates.mixture import Mixture

_CPU = torch.device("cpu")
_HALF = "half-int8"
_JOINT, _FIRST, _HAND = "joint", "front first", "by hand"


def base_study(arguments: argparse.Namespace, seed: int) -> Study:
    """Return what the ways have in common."""
    shake = v2.RandomAffine(degrees=12, translate=(0.1, 0.1), scale=(0.9, 1.1))
    shift = v2.Compose([v2.RandomCrop(28, padding=2), v2.RandomHorizontalFlip()])
    on_fashion = arguments.data is not None
    augment, resolution = (shift, 28) if on_fashion else (shake, 8)
    return Study(
        name="joint_compression",
        network=partial(convnet, classes=10, channels=1, resolution=resolution),
        data=FashionSubset(arguments.data, arguments.limit) if on_fashion else Digits(),
        objectives=(Accuracy(), LatencyMs(), WeightBytes()),
        recipe=Recipe(epochs=arguments.epochs, augment=augment),
        strategy=SurrogateSearch(Mixture),
        evaluations=arguments.evaluations,
        winners=Winners(
            count=arguments.winners,
            recipe=Recipe(epochs=arguments.fine_tuning_epochs, learning_rate=1e-3, augment=augment),
        ),
        trust=Trust(count=0),
        seed=seed,
    )


def joint_study(study: Study) -> Study:
    """Return the study in which compression is searched."""
    row = Pipeline(Prune(keep=(0.5, 0.75, 1.0)), FineTune(), Int8(bits=(8, 32)))
    return dataclasses.replace(study, pipeline=row)


def first_study(study: Study) -> Study:
    """Return the study in which compression comes afterwards, for as many epochs of fine-tuning."""
    passes = (Int8(), Pipeline(Prune(keep=0.5), FineTune(), Int8(), name=_HALF))
    winners = dataclasses.replace(study.winners, count=max(1, study.winners.count // 2), passes=passes)
    return dataclasses.replace(study, winners=winners)


@dataclass(frozen=True)
class Way:
    """What a way came to.

    Args:
        files: Its ONNX files.
        seconds: Seconds of the processor that it took after the supernet.
    """

    files: list[Path]
    seconds: float


def once(folder: Path, go: Callable[[Path], Way]) -> Way:
    """Go a way, or read what it came to; one that was interrupted begins anew, so that its seconds are whole."""
    note = folder / "way.json"
    if not note.exists():
        shutil.rmtree(folder, ignore_errors=True)
        way = go(folder)
        write_json(note, {"files": [str(file) for file in way.files], "seconds": way.seconds})
    stored = read_json(note)
    return Way([Path(file) for file in stored["files"]], stored["seconds"])


def plain_half(folder: Path, form: InputSpec) -> Path:
    """Export a winner's pruned variant in float32 too: its file is of int8 alone."""
    path = folder / "half.onnx"
    path.write_bytes(export_onnx(load(folder, variant=_HALF), form))
    return path


def run_study(study: Study, form: InputSpec, supernet: Path, out: Path) -> Way:
    """Run a study with a supernet that is trained already."""
    shutil.copytree(supernet, out / "supernet")
    begin = time.process_time()
    results = run(study, out, training_device=_CPU, progress=Silent())
    files = [out / "winners" / w.id / v.file for w in results.winners for v in w.variants]
    files += [
        plain_half(out / "winners" / w.id, form) for w in results.winners if w.variants[-1].name == _HALF
    ]
    return Way(files, time.process_time() - begin)


def prune_by_hand(
    study: Study, prepared: Prepared, directory: RunDirectory, out: Path, seconds: float
) -> Way:
    """Prune, fine-tune and quantize the largest subnet at every share, in so many seconds."""
    weights, largest = SupernetWeights(prepared, directory), prepared.problem.space.largest()
    out.mkdir(parents=True, exist_ok=True)
    begin, files, epochs, per_epoch = time.process_time(), list[Path](), 1, 0.0
    for number, share in enumerate(SHARES):
        teacher = weights.teacher()
        left = (seconds - (time.process_time() - begin)) / (len(SHARES) - number)
        if number > 0:
            epochs = max(1, round(left / per_epoch))
        recipe = dataclasses.replace(study.winners.recipe, epochs=epochs)
        pruning = () if share == 1 else (Prune(keep=share, saliency="magnitude", distribution="uniform"),)
        lab = lab_of(prepared, out / f"{share:g}", teacher)
        started = time.process_time()
        made = compress(prepared, (*pruning, FineTune(recipe), Int8()), largest, teacher, lab)
        per_epoch = (time.process_time() - started) / epochs
        plain = dataclasses.replace(made, model=made.plain)
        for name, one in (("fp32", plain), ("int8", made)):
            files.append(out / f"{share:g}-{name}.onnx")
            files[-1].write_bytes(one.candidate(prepared).onnx_model)
    return Way(files, time.process_time() - begin)


def costs_of_files(files: Sequence[Path], prepared: Prepared) -> FloatArray:
    """Return error, milliseconds and bytes of each file, measured together, ``(n, 3)``."""
    candidates, latency = [OnnxCandidate(file) for file in files], LatencyMs()
    bench = Bench(prepared.splits.test, thorough=True, calibration=latency.calibrate())
    accuracies = MeasuredQuality(Accuracy()).measure(candidates, bench)
    times = latency.measure(candidates, bench)
    sizes = [count_stored_bytes(file.read_bytes()) for file in files]
    rows = [[1 - a.value, t.value, float(s)] for a, t, s in zip(accuracies, times, sizes, strict=True)]
    return np.array(rows)


def compare(arguments: argparse.Namespace, seed: int) -> dict[str, float]:
    """Go all three ways for a seed, and return each one's hypervolume."""
    out = arguments.out / f"seed-{seed}"
    study = base_study(arguments, seed)
    prepared, directory = prepare(study, _CPU), RunDirectory(out / "supernet-run")
    form = prepared.splits.inputs
    trained = train_supernet(prepared, directory, Silent())
    print(f"seed {seed}: supernet {trained:.0f} s", flush=True)
    joint = once(
        out / "joint", lambda folder: run_study(joint_study(study), form, directory.supernet, folder)
    )
    first = once(
        out / "first", lambda folder: run_study(first_study(study), form, directory.supernet, folder)
    )
    hand = once(out / "hand", lambda folder: prune_by_hand(study, prepared, directory, folder, joint.seconds))
    ways = {_JOINT: joint, _FIRST: first, _HAND: hand}
    files = [file for way in ways.values() for file in way.files]
    costs = costs_of_files(files, prepared)
    owners = np.repeat(list(ways), [len(way.files) for way in ways.values()])
    print("| way | file | error | latency, ms | bytes | on the front of all |\n|---|---|---|---|---|---|")
    on_front = non_dominated(costs)
    for owner, file, (error, ms, size), best in zip(owners, files, costs, on_front, strict=True):
        name = f"{file.parent.name}/{file.name}"
        print(f"| {owner} | {name} | {error:.2%} | {ms:.4f} | {size:,.0f} | {'yes' if best else ''} |")
    box = ReferenceBox.around(np.column_stack([costs[:, 0], np.log(costs[:, 1:])]))
    scaled = np.column_stack([costs[:, 0], np.log(costs[:, 1:])])
    volumes = {name: box.hypervolume(scaled[owners == name]) for name in ways}
    plain = ReferenceBox.around(costs)
    linear = {name: plain.hypervolume(costs[owners == name]) for name in ways}
    told = ", ".join(
        f"{name} {volumes[name]:.4f} (linear {linear[name]:.4f}; {way.seconds:.0f} s)"
        for name, way in ways.items()
    )
    print(f"seed {seed}: hypervolume of error, log latency, log bytes: {told}", flush=True)
    return {**volumes, **{f"{name}, linear": value for name, value in linear.items()}}


def show_tau(arguments: argparse.Namespace) -> None:
    """Print how the joint search ranked architectures that went through all passes."""
    study = joint_study(base_study(arguments, 0))
    study = dataclasses.replace(study, trust=Trust(count=arguments.tau))
    results = run(study, arguments.out / "seed-0" / "joint", training_device=_CPU, progress=Silent())
    assert results.trust is not None
    print("\n".join(results.trust.sentences([Objective("accuracy", "", "maximize")])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="of Fashion-MNIST; scikit-learn's digits without it")
    parser.add_argument("--limit", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--winners", type=int, default=6)
    parser.add_argument("--fine-tuning-epochs", type=int, default=12)
    parser.add_argument("--tau", type=int, default=0, help="architectures to finish beside the winners")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = [compare(arguments, seed) for seed in range(arguments.seeds)]
    for scale in ("", ", linear"):
        for other in (_FIRST, _HAND):
            ratios = [volumes[_JOINT + scale] / volumes[other + scale] for volumes in found]
            shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
            print(f"joint / {other}{scale}: {shown}; median {np.median(ratios):.3f}")
    if arguments.tau:
        show_tau(arguments)


if __name__ == "__main__":
    main()
