"""What ``Supernet.from_module`` makes of networks that people have: a table, and the shares that count.

python -m benchmarks.networks [--only resnet18 ...] [--architectures 5] [--out runs/networks]

Needs timm, transformers and segmentation_models_pytorch (the ``dev`` extra). Each network is converted in a process
of its own, on one thread, so that a crash or a hang costs its row alone; rows are kept in ``--out`` and not made again.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks.entry import Example, Network, call
from benchmarks.networks.handwritten import list_handwritten_networks
from benchmarks.networks.public import public_networks
from nas.errors import ConversionError
from nas.supernet import Supernet
from nas.supernet.convert import Report

TIMEOUT_S = 900
# Of the largest output: what the order of sums may move. In double precision little, were it not for networks that make
# single precision inside (rotary embeddings); a channel out of place moves the output by per cents.
DOUBLE, SINGLE = 1e-6, 1e-4


@dataclass(frozen=True)
class Row:
    """What became of one network.

    Args:
        name: Name of the network.
        source: Where it comes from.
        millions: Parameters, in millions.
        reason: Why it can't be converted; empty where it was.
        share: Share of the parameters in layers with an elastic width or heads.
        choices: How many.
        smallest: MACs of the smallest subnet, relative to the whole network's.
        whole: Largest difference of the supernet's largest architecture from the network, over all inputs,
            relative to the largest output, in double precision where the network can run in it.
        extracted: The same of random subnets against what is extracted of them.
        exact: Whether both are within what the order of sums may move.
        seconds: Seconds of one core that the conversion took.
    """

    name: str
    source: str
    millions: float
    reason: str = ""
    share: float = 0.0
    choices: int = 0
    smallest: float = 1.0
    whole: float = 0.0
    extracted: float = 0.0
    exact: bool = True
    seconds: float = 0.0


def prepare(network: Network) -> nn.Module:
    """Return the network in evaluation mode, in a state in which no signal dies."""
    torch.manual_seed(0)
    module = network.build()
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        if norms:
            module.train()
            for _ in range(2):
                call(module, network.example())
        for parameter in module.parameters():
            if parameter.is_floating_point() and not parameter.any():
                parameter.normal_(std=0.02)  # layers that start at zero would hide what they do
    for norm in norms:
        norm.momentum = 0.1
    return module.eval()


def outputs(module: nn.Module, example: Example) -> list[Tensor]:
    """Return the tensors of the module's output."""
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(call(module, example)) if isinstance(leaf, Tensor)]


def difference(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Return the largest difference, relative to the largest value."""
    if [x.shape for x in ones] != [x.shape for x in others]:
        return float("inf")
    pairs = [(a.double(), b.double()) for a, b in zip(ones, others, strict=True) if a.numel()]
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() for a, b in pairs)


def double_precision(example: Example) -> Example:
    """Return the example in double precision."""
    return tree_map(lambda x: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, example)


def can_double(module: nn.Module, examples: Sequence[Example]) -> bool:
    """Whether a network runs in double precision."""
    try:
        twin = copy.deepcopy(module).double()
        return all(x.dtype == torch.float64 for e in examples for x in outputs(twin, double_precision(e)))
    except RuntimeError:  # its forward makes single precision itself
        return False


def macs(module: nn.Module, example: Example) -> int:
    """Return the multiply-accumulates of one call; the module needs no gradients any more."""
    module.requires_grad_(False)  # the counter asks for the gradient of what modules are called with
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call(module, example)
    return int(counter.get_total_flops()) // 2


def elastic_share(module: nn.Module, report: Report) -> float:
    """Return the share of the parameters that lie in layers with an elastic width or heads."""
    counts: dict[str, int] = {}
    for path, layer in module.named_modules():
        counts[path] = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        if isinstance(layer, nn.MultiheadAttention):
            counts[path] += sum(p.numel() for p in layer.out_proj.parameters())
            counts[f"{path}.out_proj"] = 0
    elastic = {
        row.path
        for row in report.elastic
        if any(name.rpartition(".")[2] in ("width", "heads") for name in row.choices)
    }
    whole = sum(p.numel() for p in module.parameters())  # a shared one counts once
    return min(1.0, sum(count for path, count in counts.items() if path in elastic) / whole)


def measure(network: Network, count: int) -> Row:
    """Convert one network and compare."""
    torch.set_num_threads(1)
    module = prepare(network)
    millions = sum(p.numel() for p in module.parameters()) / 1e6
    examples = [network.example(), *(make() for make in network.others)]
    begin = time.process_time()
    try:
        supernet = Supernet.from_module(module, examples[0])  # type: ignore[arg-type]
    except ConversionError as error:
        return Row(network.name, network.source, millions, str(error), seconds=time.process_time() - begin)
    seconds = time.process_time() - begin
    assert supernet.report is not None
    smallest = supernet.space.smallest()
    ratio = macs(supernet.extract(smallest), examples[0]) / macs(module, examples[0])
    share = elastic_share(module, supernet.report)
    limit = SINGLE
    if can_double(module, examples):
        module, supernet, limit = module.double(), supernet.double(), DOUBLE
        examples = [double_precision(example) for example in examples]
    expected = [outputs(module, example) for example in examples]
    whole = max(difference(outputs(supernet, x), y) for x, y in zip(examples, expected, strict=True))
    rng, worst = np.random.default_rng(0), 0.0
    for architecture in [smallest, *(supernet.space.sample(rng) for _ in range(count))]:
        plain = supernet.extract(architecture)
        with supernet.active(architecture):
            for example in examples:
                try:
                    found = difference(outputs(supernet, example), outputs(plain, example))
                except RuntimeError:  # sizes don't fit on a path that the conversion didn't see
                    found = float("inf")
                worst = max(worst, found)
    return Row(
        network.name,
        network.source,
        millions,
        share=share,
        choices=len(supernet.space.choices),
        smallest=ratio,
        whole=whole,
        extracted=worst,
        exact=max(whole, worst) <= limit,
        seconds=seconds,
    )


def run_alone(network: Network, count: int, file: Path) -> Row:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.networks", "--one", network.name, "--out", str(file.parent)]
    try:
        done = subprocess.run(
            [*command, "--architectures", str(count)], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Row(network.name, network.source, 0.0, f"not done after {TIMEOUT_S} s", seconds=TIMEOUT_S)
    if done.returncode:
        last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        return Row(network.name, network.source, 0.0, f"crashed: {last}")
    return Row(**json.loads(file.read_text()))


def print_row(row: Row) -> None:
    """Print one line of the table."""
    figures = (
        f"{row.share:.0%} | {row.choices} | {row.smallest:.2f} | {row.whole:.0e} | {row.extracted:.0e}"
        if not row.reason
        else f"– | – | – | – | {row.reason}"
    )
    print(f"| {row.name} | {row.source} | {row.millions:.1f} | {figures} | {row.seconds:.0f} |", flush=True)


def print_summary(rows: Sequence[Row]) -> None:
    """Print the shares beside their targets."""
    done = [row for row in rows if not row.reason]
    wide, small = (
        [row for row in done if row.share >= 0.7],
        [row for row in done if row.smallest <= 0.25],
    )
    differing = [row.name for row in done if not row.exact]
    slow = [row.name for row in rows if row.millions < 30 and row.seconds > 30]
    total = max(1, len(done))
    print(
        f"\n{len(rows)} networks, {len(done)} converted: {len(done) / max(1, len(rows)):.0%} (at least 90 %)"
    )
    print(
        f"elastic width or heads in layers with 70 % of the parameters: {len(wide)}, {len(wide) / total:.0%} (85 %)"
    )
    print(f"smallest at most 0.25 of the MACs: {len(small)}, {len(small) / total:.0%} (75 %)")
    print(f"differing by more than the order of sums forces: {', '.join(differing) or 'none'} (none)")
    print(f"over 30 s of one core below 30 million parameters: {', '.join(slow) or 'none'} (none)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--one")
    parser.add_argument("--architectures", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/networks"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    networks = {network.name: network for network in [*public_networks(), *list_handwritten_networks()]}
    if arguments.one:
        warnings.simplefilter("ignore")
        row = measure(networks[arguments.one], arguments.architectures)
        (arguments.out / f"{arguments.one}.json").write_text(json.dumps(asdict(row)))
        return
    columns = ("network", "source", "million parameters", "in elastic layers", "choices", "smallest MACs")
    print("| " + " | ".join([*columns, "whole", "extracted", "s of one core"]) + " |")
    print("|---" * 9 + "|")
    rows = []
    for name in arguments.only or networks:
        file = arguments.out / f"{name}.json"
        known = file.exists()
        rows.append(
            Row(**json.loads(file.read_text()))
            if known
            else run_alone(networks[name], arguments.architectures, file)
        )
        print_row(rows[-1])
    print_summary(rows)


if __name__ == "__main__":
    main()
