"""What a GPU changes: whether it gives the same answers, survives what a CPU survives, and how fast it trains.

    python -m benchmarks.gpu --data $NAS_DATA
    python -m benchmarks.gpu --parts agreement resume memory

- ``agreement``: logits of the same subnets on CPU and GPU.
- ``speed``: a training step of the sandwich rule in each precision, beside the CPU's.
- ``resume``: a training that was stopped and resumed against one that wasn't, and against that one's repetition.
- ``memory``: a training that is given too little memory, with ``halve_on_oom`` and without.
- ``ranks``: ``torchrun`` with one process, over NCCL.
- ``fashion``: two epochs of ``studies/fashion_mnist.py``.

Prints a line per measurement; exits with 1 if a check fails, or without a GPU. Whether a run resumes after SIGKILL:
``python -m benchmarks.kill_resume --device cuda``.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nas import FromScratch, Recipe
from nas.errors import TrainingError
from nas.evaluation.candidate import SubnetCandidate
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import InputSpec
from nas.runner.preparation import prepare
from nas.space import Architecture
from nas.splits import Split
from nas.supernet import Supernet
from nas.supernet.recalibrate import extract_recalibrated
from nas.supernet.sandwich import sandwich_step
from nas.tasks import Classification
from nas.training import Step, train
from search_spaces.convnet import convnet
from search_spaces.resnet import resnet
from search_spaces.text_transformer import text_transformer
from search_spaces.vision_transformer import vision_transformer
from studies import fashion_mnist

CLASSES = Classification(10)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGE, SENTENCE = (1, 28, 28), (48,)
SPACES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convnet": (partial(convnet, classes=10, channels=1, resolution=28), IMAGE),
    "resnet": (partial(resnet, classes=10, channels=1, resolution=28), IMAGE),
    "vision_transformer": (partial(vision_transformer, classes=10, channels=1, resolution=28), IMAGE),
    "text_transformer": (partial(text_transformer, classes=10, num_tokens=1_000), SENTENCE),
}
_CLOSE = 1e-4
"""Of the logits' deviation: what other orders of sums may change; TF32, the default in convolutions, changes more."""

Findings = Iterator[tuple[str, bool]]
"""What was measured, in words, and whether it is as it should be."""


def agreement() -> Findings:
    """Compare logits of extracted subnets, statistics recalibrated on each device, without TF32 and with it."""
    for name, (make, shape) in SPACES.items():
        split = _random_split(shape, 256)
        supernet = fresh_network(make, 0).eval()
        rng = np.random.default_rng(0)
        architectures = [supernet.space.largest(), *(supernet.space.sample(rng) for _ in range(8))]
        judged = partial(_logits, supernet, architectures, split, shape)
        cpu = judged(CPU)
        for tf32 in (False, True):
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
                gpu = judged(GPU)
            worst = max(float((a - b).abs().max() / a.std()) for a, b in zip(cpu, gpu, strict=True))
            same = float((torch.cat(cpu).argmax(1) == torch.cat(gpu).argmax(1)).float().mean())
            yield (
                f"{name}, TF32 {'on' if tf32 else 'off'}: logits differ by {worst:.1e} of their deviation at most, "
                f"{same:.2%} same classes",
                worst < _CLOSE or (tf32 and same > 0.99),
            )


def _logits(
    supernet: Supernet,
    architectures: list[Architecture],
    split: Split,
    shape: tuple[int, ...],
    device: torch.device,
) -> list[Tensor]:
    supernet.to(device)
    modules = [extract_recalibrated(supernet, architecture, split) for architecture in architectures]
    return [
        SubnetCandidate(module, InputSpec.of_one(shape, split.inputs.dtype)).predict(split.inputs)
        for module in modules
    ]


def speed() -> Findings:
    """Time epochs of the sandwich rule on random images, after one that warms up."""
    for name, (make, shape) in SPACES.items():
        split = _random_split(shape, 128 * 20)
        told = []
        for device, precision in ((CPU, "float32"), (GPU, "float32"), (GPU, "bfloat16"), (GPU, "float16")):
            part = split if device == GPU else split.subset(torch.arange(128))
            recipe = Recipe(epochs=3, batch_size=128, learning_rate=1e-3, precision=precision)  # type: ignore[arg-type]
            supernet = fresh_network(make, 0)
            torch.cuda.reset_peak_memory_stats()
            _, seconds = _time_training(
                supernet, sandwich_step(supernet, CLASSES, recipe), part, recipe, device
            )
            rate = len(part) * 2 / sum(seconds[1:])
            told.append(f"{device.type} {precision} {rate:,.0f}/s")
        yield f"{name}: {', '.join(told)}; {torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB", True


def fashion() -> Findings:
    """Time two epochs of the study's own training, with its data and its augmentation."""
    study = fashion_mnist.study(epochs=2)
    prepared = prepare(study, GPU)
    assert not isinstance(study.training, FromScratch)
    (phase,) = study.training.phases(prepared.supernet, study.recipe, prepared.splits.task)
    losses, seconds = _time_training(
        prepared.supernet, phase.step(), prepared.splits.train, study.recipe, GPU
    )
    told = ", ".join(f"{s:.1f}" for s in seconds)
    yield (
        f"{study.name}: epochs of {told} s, losses {losses[0]:.3f} to {losses[-1]:.3f}",
        losses[-1] < losses[0],
    )


def _time_training(
    supernet: Supernet, step: Step, split: Split, recipe: Recipe, device: torch.device
) -> tuple[list[float], list[float]]:
    """Train; return the losses and the seconds of the epochs."""
    ticks = [time.perf_counter()]
    losses = train(
        supernet,
        step,
        split,
        recipe,
        seed=0,
        device=device,
        on_epoch=lambda _epoch, _loss: ticks.append(time.perf_counter()),
    )
    return losses, np.diff(ticks).tolist()


def resume() -> Findings:
    """Stop a training after two of four epochs and go on."""
    split, make = _random_split(IMAGE, 1024), SPACES["convnet"][0]
    for precision in ("float32", "float16"):
        recipe = Recipe(epochs=4, batch_size=128, precision=precision, ema_decay=0.9)
        ended = [_train(make, split, recipe) for _ in range(2)]
        ended.append(_train(make, split, recipe, stopped_after=2))
        whole, again, resumed = ended
        chance, difference = _largest_difference(whole, again), _largest_difference(whole, resumed)
        yield (
            f"{precision}: resumed weights differ by {difference:.1e}, those of the same training done twice by "
            f"{chance:.1e}",
            difference <= max(3 * chance, 1e-6),
        )


class _StoppedError(Exception):
    pass


def _train(
    make: Callable[[], nn.Module], split: Split, recipe: Recipe, stopped_after: int | None = None
) -> Supernet:
    def on_epoch(epoch: int, _loss: float) -> None:
        if epoch == stopped_after:
            raise _StoppedError

    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2 if stopped_after else 1):
            supernet = fresh_network(make, 0)
            step = sandwich_step(supernet, CLASSES, recipe)
            path = Path(folder, "checkpoint.pt")
            try:
                train(supernet, step, split, recipe, seed=0, device=GPU, checkpoint=path, on_epoch=on_epoch)
            except _StoppedError:
                stopped_after = None
    return supernet


def _largest_difference(left: nn.Module, right: nn.Module) -> float:
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def memory() -> Findings:
    """Leave a training and an evaluation too little memory."""
    make, split = SPACES["convnet"][0], _random_split(IMAGE, 4096)
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        for halves in (True, False):
            torch.cuda.empty_cache()
            allowed = 700 * 2**20
            torch.cuda.set_per_process_memory_fraction(allowed / total)
            recipe = Recipe(epochs=1, batch_size=2048, halve_on_oom=halves)
            supernet = fresh_network(make, 0)
            try:
                losses = train(
                    supernet, sandwich_step(supernet, CLASSES, recipe), split, recipe, seed=0, device=GPU
                )
                yield f"halve_on_oom={halves}: trained, loss {losses[-1]:.3f}", halves
            except TrainingError as error:
                yield f"halve_on_oom={halves}: {error}", not halves
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 60 * 2**20) / total)
        module = extract_recalibrated(supernet, supernet.space.largest(), split)
        logits = SubnetCandidate(module, IMAGE).predict(split.inputs)
        yield f"judged {len(logits)} images with 60 MiB to spare", bool(logits.isfinite().all())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def ranks() -> Findings:
    """Run a short study under torchrun."""
    with tempfile.TemporaryDirectory() as out:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
        study = str(Path(__file__).parent / "short_study.py")
        command = [*torchrun, "-m", "nas", "run", study, "--out", out, "--training-device=cuda", "--verbose"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout, done.stderr)
        yield f"torchrun, one process: exit {done.returncode}", done.returncode == 0


def _random_split(shape: tuple[int, ...], count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (count,), generator=generator)
    if shape == SENTENCE:
        inputs: Tensor = torch.randint(1, 1_000, (count, *shape), generator=generator)
    else:
        inputs = torch.randn(count, *shape, generator=generator)
    return Split(inputs, labels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[], Findings]] = {
        "agreement": agreement,
        "speed": speed,
        "resume": resume,
        "memory": memory,
        "ranks": ranks,
        "fashion": fashion,
    }
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--data", type=Path, help="for Fashion-MNIST")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no GPU that torch can use: nothing was checked")
    if arguments.data:
        os.environ["NAS_DATA"] = str(arguments.data)
    logging.basicConfig(format="%(message)s")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    failed = 0
    for name in arguments.parts:
        begin = time.perf_counter()
        for words, good in parts[name]():
            failed += not good
            print(f"{name} | {words}{'' if good else ' | FAILED'}", flush=True)
        print(f"{name} took {time.perf_counter() - begin:.0f} s", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
