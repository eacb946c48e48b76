"""How far off latencies are that were predicted from few measured ones: our model beside ridge regression.

    python -m benchmarks.latency_model --data FOLDER
    python -m benchmarks.latency_model --data FOLDER --draws 3 --transfer 1080ti_1 gold_6226
    python -m benchmarks.latency_model --data FOLDER --more

FOLDER (or the environment variable NAS_DATA) holds ``nb201/nb201.npz`` and ``hw_latency/ofa_mbv3_latency.npz``:
latencies of many architectures on several devices. In each draw N architectures are measured, and the error is the
mean distance of predicted / measured from 1 on 2,000 others; printed is the median over the draws, in percent, and how
many of the 2,000 lie inside their stated 90 % interval, over all draws.

The baseline is ridge regression of the logarithm on one-hot choices and the latency on one other device, from random
architectures. Ours knows the same ("one device"), or all other devices of the table, or counts alone; it chooses the
architectures from 1,000 candidates. Other batches on the device that is predicted are never known.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from nas.choices import choice
from nas.devices.latency_features import Known
from nas.devices.latency_model import LatencyModel
from nas.space import Condition, FloatArray, IntArray, SearchSpace

COUNTS = (10, 20, 50, 100)
_OTHERS = 2_000
_CANDIDATES = 1_000
_REFERENCE = 400


@dataclass(frozen=True)
class Devices:
    """Latencies of the same architectures on several devices.

    Args:
        space: Space of the architectures.
        positions: ``(n, num_choices)``.
        ms: ``(n,)`` by device.
        counts: ``(n, k)``, MACs and parameters, where they are known.
    """

    space: SearchSpace
    positions: IntArray
    ms: Mapping[str, FloatArray]
    counts: FloatArray

    def make_look_up(self, columns: FloatArray) -> Known:
        """Return what looks up rows of ``(n, k)`` columns by positions."""
        rows = {position.tobytes(): row for row, position in enumerate(self.positions)}

        def look_up(indices: IntArray) -> FloatArray:
            found: FloatArray = columns[[rows[position.tobytes()] for position in indices]]
            return found

        return look_up


def load_nb201(folder: Path) -> Devices:
    """Return NAS-Bench-201 but for networks whose output doesn't depend on their input."""
    with np.load(folder / "nb201" / "nb201.npz") as arrays:
        kept = arrays["lat_ms_raspi4"] > 1
        options = [str(option) for option in arrays["op_names"]]
        space = SearchSpace(tuple(choice(str(edge), *options) for edge in arrays["edge_names"]))
        ms = {n[7:]: arrays[n][kept].astype(np.float64) for n in arrays.files if n.startswith("lat_ms_")}
        counts = np.stack([arrays[f"{n}_m_cifar10"][kept] for n in ("flops", "params")], axis=1)
        return Devices(space, arrays["ops"][kept].astype(np.int64), ms, counts)


def load_ofa(folder: Path) -> Devices:
    """Return the sub-nets of Once-for-All MobileNetV3."""
    with np.load(folder / "hw_latency" / "ofa_mbv3_latency.npz") as arrays:
        ms = {n[7:]: arrays[n].astype(np.float64) for n in arrays.files if n.startswith("lat_ms_")}
        named = [("resolution", arrays["r"])]
        named += [(f"stage{s}.depth", arrays["d"][:, s]) for s in range(5)]
        layers = [(f"stage{s}.layer{i}", 4 * s + i) for s in range(5) for i in range(4)]
        for what, key in (("kernel", "ks"), ("expansion", "e")):
            named += [(f"{layer}.{what}", arrays[key][:, column]) for layer, column in layers]
    choices = [choice(name, *np.unique(values).tolist()) for name, values in named]
    positions = np.stack([np.unique(values, return_inverse=True)[1] for _, values in named], axis=1)
    conditions = {
        name: ((Condition(f"{name.split('.')[0]}.depth", (3, 4) if "layer2" in name else (4,)),),)
        for name, _ in named
        if "layer2" in name or "layer3" in name
    }
    space = SearchSpace(tuple(choices), conditions)
    return Devices(space, space.canonical(positions.astype(np.int64)), ms, np.zeros((len(positions), 0)))


_NB201 = (("gold_6226", "1080ti_1"), ("1080ti_1", "gold_6226"))
_OFA = (("2080ti_64", "v100_64"),)
_NB201_MORE = (
    ("samsung_s7", "1080ti_1"),
    ("raspi4", "1080ti_1"),
    ("samsung_s7", "gold_6226"),
    ("pixel3", "gold_6226"),
    ("pixel3", "raspi4"),
)
_OFA_MORE = (("2080ti_1", "v100_64"), ("2080ti_32", "v100_32"), ("titan_xp_1", "v100_1"))


@dataclass(frozen=True)
class Result:
    """What one draw gave.

    Args:
        error: On the others.
        coverage: Share of the others inside the stated interval.
        held_out: Error that the model itself states.
        fit_s: Seconds of the last fit.
        predict_s: Seconds to predict the others.
    """

    error: float
    coverage: float = np.nan
    held_out: float = np.nan
    fit_s: float = np.nan
    predict_s: float = np.nan


def relative_error(predicted: FloatArray, measured: FloatArray) -> float:
    """Return the mean distance of predicted / measured from 1."""
    return float(np.mean(np.abs(predicted / measured - 1)))


def by_ridge(table: Devices, source: str, target: str, pool: IntArray, others: IntArray) -> list[Result]:
    """Return what ridge regression makes of random architectures."""
    other = table.ms[source]
    columns = np.column_stack([table.space.encode(table.positions), (other - other.mean()) / other.std()])
    logs, results = np.log(table.ms[target]), []
    for count in COUNTS:
        measured = pool[:count]
        centre, level = columns[measured].mean(axis=0), logs[measured].mean()
        away = columns[measured] - centre
        gram = away.T @ away + np.eye(columns.shape[1])
        weights = np.linalg.solve(gram, away.T @ (logs[measured] - level))
        predicted = np.exp((columns[others] - centre) @ weights + level)
        results.append(Result(relative_error(predicted, table.ms[target][others])))
    return results


def by_line(table: Devices, source: str, target: str, pool: IntArray, others: IntArray) -> list[Result]:
    """Return what a straight line through the logarithms on both devices makes of random architectures."""
    here, there, results = np.log(table.ms[target]), np.log(table.ms[source]), []
    for count in COUNTS:
        line = np.polyfit(there[pool[:count]], here[pool[:count]], 1)
        predicted = np.exp(np.polyval(line, there[others]))
        results.append(Result(relative_error(predicted, table.ms[target][others])))
    return results


def by_model(
    table: Devices, columns: FloatArray, target: str, pool: IntArray, others: IntArray
) -> list[Result]:
    """Return what our model makes of architectures that it chose itself, after each round of choices."""
    candidates, ms = table.positions[pool], table.ms[target]
    model = LatencyModel(table.space, table.make_look_up(columns), candidates[:_REFERENCE])
    chosen, results = np.zeros(0, dtype=np.int64), []
    for count in COUNTS:
        left = np.setdiff1d(np.arange(len(pool)), chosen)
        new = model.choose(candidates[left], count - len(chosen), candidates[chosen])
        chosen = np.concatenate([chosen, left[new]])
        begin = time.perf_counter()
        held_out = model.fit(candidates[chosen], ms[pool[chosen]])
        fitted = time.perf_counter()
        predicted = model.predict(table.positions[others])
        done = time.perf_counter()
        inside = (predicted.low <= ms[others]) & (ms[others] <= predicted.high)
        error = relative_error(predicted.ms, ms[others])
        results.append(Result(error, float(inside.mean()), held_out.error, fitted - begin, done - fitted))
    return results


def others_of(table: Devices, target: str) -> FloatArray:
    """Return the latencies on all devices but the target, whatever the batch, ``(n, k)``."""
    return np.stack([ms for name, ms in table.ms.items() if _device(name) != _device(target)], axis=1)


def _device(name: str) -> str:
    return name.rsplit("_", 1)[0] if name.rsplit("_", 1)[-1].isdigit() and "gold" not in name else name


def compare(table: Devices, source: str, target: str, draws: int) -> None:
    """Print everybody's figures for one device, from another."""
    one = table.ms[source][:, None]
    methods: dict[str, Callable[[IntArray, IntArray], list[Result]]] = {
        "ridge": partial(by_ridge, table, source, target),
        "straight line of logarithms": partial(by_line, table, source, target),
        "ours, one device": partial(by_model, table, one, target),
        "ours, all other devices": partial(by_model, table, others_of(table, target), target),
    }
    if table.counts.shape[1]:
        both = np.concatenate([table.counts, one], axis=1)
        methods["ours, one device, MACs and parameters"] = partial(by_model, table, both, target)
        methods["ours, MACs and parameters alone"] = partial(by_model, table, table.counts, target)
    print(f"\n{source} -> {target}")
    for title, method in methods.items():
        results = []
        for draw in range(draws):
            drawn = np.random.default_rng(draw).permutation(len(table.positions))
            results.append(method(drawn[_OTHERS : _OTHERS + _CANDIDATES], drawn[:_OTHERS]))
        print(_line(title, results), flush=True)


def _line(title: str, results: Sequence[Sequence[Result]]) -> str:
    """Return medians over draws, by number of measurements."""
    columns = list(zip(*results, strict=True))
    text = f"  {title:38}" + "".join(f"{100 * median(r.error for r in c):6.1f}" for c in columns) + " %"
    if np.isnan(columns[0][0].coverage):
        return text
    inside = " ".join(f"{100 * np.mean([r.coverage for r in c]):3.0f}" for c in columns)
    stated = " ".join(f"{100 * median(r.held_out for r in c):4.1f}" for c in columns)
    last = columns[-1]
    seconds = f"{median(r.fit_s for r in last):.2f} s, {median(r.predict_s for r in last):.2f} s"
    return f"{text}   inside {inside} %   held out {stated} %   {seconds}"


def main() -> None:
    """Compare on the transfers that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("NAS_DATA")
    parser.add_argument("--data", type=Path, default=data, required=data is None)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--transfer", nargs=2, metavar=("FROM", "TO"), help="one transfer alone")
    parser.add_argument("--more", action="store_true", help="also transfers that no target is stated for")
    arguments = parser.parse_args()
    print(
        f"{_OTHERS} others, {arguments.draws} draws, error with {COUNTS} measured; coverage of 90 % intervals; the"
    )
    print("error that the model states; seconds of a fit to the last number and of predicting the others")
    for load, stated, more in ((load_nb201, _NB201, _NB201_MORE), (load_ofa, _OFA, _OFA_MORE)):
        table = load(Path(arguments.data))
        pairs = (*stated, *more) if arguments.more else stated
        if arguments.transfer is not None:
            pairs = [tuple(arguments.transfer)] if set(arguments.transfer) <= set(table.ms) else []
        for source, target in pairs:
            compare(table, source, target, arguments.draws)


if __name__ == "__main__":
    main()
