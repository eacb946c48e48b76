"""Compressed winners of a search in which compression was searched too, beside the largest network of the space.

    python -m benchmarks.compressed_winners sst2_text --data $NAS_DATA --out runs/compressed-sst2
    python -m benchmarks.compressed_winners fashion_mnist --data $NAS_DATA --out runs/compressed-fashion --epochs 8

Runs one of the studies with accuracy, latency and bytes as objectives, and a pipeline of pruning, fine-tuning and
clustered weights (of 4 or 8 bits; of Transformers, weights in blocks of 4 or 8 bits). The largest network goes through
the same fine-tuning, in float32, for as many epochs or for ``--largest-epochs``. Above the table stand the seconds of
the run's stages, of which the finishing of the winners is what remains of all, and of the largest's fine-tuning. All
files are measured together: accuracy on the test split, latency in turns on one core, bytes of the file. The last
columns say how many times smaller and faster each is than the largest, and how many points it loses. Goes on where it
was stopped; what a stopped attempt spent is then missing from all, and from the largest's fine-tuning.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

import torch

from benchmarks.cifar10_jpeg import FILE, Cifar10Jpeg
from benchmarks.fashion_front import keep_seconds
from nas import Accuracy, FineTune, LatencyMs, Pipeline, Prune, SinglePath, Study, WeightBytes
from nas.compression import Cluster, WeightOnly
from nas.data import DatasetPair
from nas.evaluation import OnnxCandidate
from nas.evaluation.quality.measuring import MeasuredQuality
from nas.files import write_bytes
from nas.objectives import Bench
from nas.runner import run
from nas.runner.directory import RunDirectory
from nas.runner.fine_tuning import finish_network
from nas.runner.measuring import CALIBRATION
from nas.runner.preparation import Prepared, prepare
from nas.runner.progress import Silent
from nas.runner.supernet_training import train_supernet
from nas.runner.weights import SupernetWeights
from nas.study import Trust
from studies import cifar10, fashion_mnist, sst2_text

_STUDIES = {"fashion_mnist": fashion_mnist.study, "cifar10": cifar10.study, "sst2_text": sst2_text.study}
_CPU = torch.device("cpu")


def make_study(arguments: argparse.Namespace) -> Study:
    """Return the study with compression in the search."""
    settings = {
        "limit": arguments.limit,
        "epochs": arguments.epochs,
        "evaluations": arguments.evaluations,
        "winners": arguments.winners,
        "fine_tuning_epochs": arguments.fine_tuning_epochs,
    }
    stated = {name: value for name, value in settings.items() if value is not None}
    plain: Study = _STUDIES[arguments.study](**stated)
    if arguments.study == "cifar10" and (arguments.data / FILE).exists():
        train, test = (Cifar10Jpeg(arguments.data, part) for part in ("train", "test"))
        jpeg = DatasetPair(train, test, name="CIFAR-10 as JPEG files", limit=arguments.limit)
        plain = dataclasses.replace(plain, data=jpeg)
    is_text = arguments.study == "sst2_text"
    smaller = WeightOnly(bits=(4, 8, 32)) if is_text else Cluster(bits=(4, 8, 32))
    return dataclasses.replace(
        plain,
        objectives=(Accuracy(), LatencyMs(), WeightBytes()),
        pipeline=Pipeline(Prune(keep=(0.5, 0.75, 1.0)), FineTune(), smaller),
        winners=dataclasses.replace(plain.winners, passes=()),
        training=plain.training if is_text else SinglePath(),
        trust=Trust(count=0),
        seed=arguments.seed,
    )


def finish_largest(study: Study, out: Path, epochs: int | None) -> tuple[Prepared, Path]:
    """Return the largest network's float32 file, after the fine-tuning of winners for so many epochs."""
    recipe = dataclasses.replace(study.winners.recipe, epochs=epochs or study.winners.recipe.epochs)
    winners = dataclasses.replace(study.winners, recipe=recipe)
    prepared = prepare(dataclasses.replace(study, pipeline=Pipeline(), winners=winners), _CPU)
    directory, file, begin = RunDirectory(out), out / "largest.onnx", time.process_time()
    if not file.exists():
        train_supernet(prepared, directory, Silent())
        record = directory.open_study(study.name, prepared.problem.objectives, None)
        weights, largest = SupernetWeights(prepared, directory), prepared.problem.space.largest()
        made = finish_network(prepared, largest, weights, record.user_attrs[CALIBRATION], out / "largest")
        write_bytes(file, made.candidate(prepared).onnx_model)
    seconds = keep_seconds(out / "largest.json", time.process_time() - begin)
    print(f"largest, {recipe.epochs} epochs: {seconds:.0f} s", flush=True)
    return prepared, file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=list(_STUDIES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="items to train and search with; all of them unless stated")
    parser.add_argument("--epochs", type=int, help="of the supernet")
    parser.add_argument("--evaluations", type=int)
    parser.add_argument("--winners", type=int)
    parser.add_argument("--fine-tuning-epochs", type=int)
    parser.add_argument(
        "--largest-epochs", type=int, help="of its fine-tuning; as many as of a winner's unless stated"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["NAS_DATA"] = str(arguments.data)
    torch.set_num_threads(1)
    study = make_study(arguments)
    begin = time.process_time()
    results = run(study, arguments.out, training_device=_CPU, progress=Silent())
    spent = {
        **results.facts["seconds"],
        "all": keep_seconds(arguments.out / "all.json", time.process_time() - begin),
    }
    print({stage: round(seconds) for stage, seconds in spent.items()}, flush=True)
    prepared, largest = finish_largest(study, arguments.out, arguments.largest_epochs)
    shipped = [(w, v) for w in results.winners for v in w.variants]
    files = [largest, *(arguments.out / "winners" / w.id / v.file for w, v in shipped)]
    candidates, latency = [OnnxCandidate(file) for file in files], LatencyMs()
    bench = Bench(prepared.splits.test, thorough=True, calibration=latency.calibrate())
    accuracies = MeasuredQuality(Accuracy()).measure(candidates, bench)
    times, sizes = latency.measure(candidates, bench), [file.stat().st_size for file in files]
    print("| model | what was done | accuracy | ms | bytes | times smaller | times faster | points lost |")
    print("|---|---|---|---|---|---|---|---|")
    names = [
        ("the largest, fine-tuned", ""),
        *((f"{w.id} {v.name}", "; ".join(v.applied)) for w, v in shipped),
    ]
    for (name, done), accuracy, latency_ms, size in zip(names, accuracies, times, sizes, strict=True):
        print(
            f"| {name} | {done} | {accuracy.value:.2%} ± {accuracy.spread:.2%} "
            f"| {latency_ms.value:.4f} ± {latency_ms.spread:.2g} | {size:,} "
            f"| {sizes[0] / size:.2f} | {times[0].value / latency_ms.value:.2f} "
            f"| {100 * (accuracies[0].value - accuracy.value):+.2f} |"
        )


if __name__ == "__main__":
    main()
