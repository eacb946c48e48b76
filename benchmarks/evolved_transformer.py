"""Cells as the Evolved Transformer was found in, beside the Transformer scaled uniformly, all trained alone.

    python -m benchmarks.evolved_transformer --data $NAS_DATA --seeds 3 --out runs/evolved_transformer

On TREC and on SST-2. First Transformers of five sizes and the published encoder cell in two, with each seed. Then a
search for each seed, which begins with Transformers and has progressive dynamic hurdles; of what it trained to the end,
the cheapest counts that is as good on the search split as the Transformer of 32 features and two layers. It is trained
again, with all seeds. Prints MACs and the accuracy on the official test part. Goes on where it was stopped. A quarter
of an hour of one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

import optuna

from benchmarks.sentences import CPU, NUM_TOKENS, RECIPE, parse, rightness, spread
from nas import Study, SurrogateSearch
from nas.choices import Option
from nas.data import TextTable
from nas.evaluation.counts import count_macs
from nas.evaluation.from_scratch import fresh_network
from nas.runner.context import RunContext
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.progress import Silent
from nas.runner.searching import search_architectures
from nas.runner.weights import EPOCHS
from nas.search.record.trials import architecture_of, complete_trials, measurements_of
from search_spaces.evolved_transformer import evolved_transformer, make_known_cell
from studies import evolved_text
from surrogates.mixture import Mixture

_TRANSFORMERS = ((16, 1), (16, 2), (32, 1), (32, 2), (64, 1))
_EVOLVED = ((16, 1), (32, 1))
"""Features of a token, and layers or cells."""
_REFERENCE = (32, 2)
_EVALUATIONS = 16


def main() -> None:
    arguments = parse(__doc__, "runs/evolved_transformer")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name, source in arguments.sources.items():
        bench = Bench(name, source, arguments.seeds, arguments.out)
        print(f"{name}: MACs, accuracy on the test part, the same on the search part")
        for width, layers in _TRANSFORMERS:
            bench.compare(f"transformer {width}x{layers}", make_known_cell("transformer", width, layers))
        for width, cells in _EVOLVED:
            bench.compare(f"evolved {width}x{cells}", make_known_cell("evolved", width, cells))
        for seed in range(arguments.seeds):
            found = bench.search(seed)
            bench.compare(f"found {seed}", found)
            print(f"    {active_choices(bench, found)}", flush=True)


class Bench:
    """One data set.

    Args:
        name: Its name.
        source: Loads it.
        seeds: How many trainings of each network.
        out: Folder of results.
    """

    def __init__(self, name: str, source: TextTable, seeds: int, out: Path) -> None:
        self.name, self.source, self.seeds, self.out = name, source, seeds, out
        self.splits = splits = source.load()
        self.network = partial(
            evolved_transformer,
            classes=len(splits.facts.names),
            num_tokens=NUM_TOKENS,
            length=splits.inputs.shapes[0][0],
            scale=0.5,
            cells=2,
        )
        self.supernet = fresh_network(self.network, 0)

    def measure_accuracies(self, label: str, options: Mapping[str, Option], part: str) -> list[float]:
        """Return the accuracy of a network with each seed."""
        architecture = self.supernet.space.architecture(options)
        files = [self.out / f"{self.name}-{label}-{seed}.json" for seed in range(self.seeds)]
        right = [
            rightness(self.network, architecture, self.splits, *numbered)[part]
            for numbered in enumerate(files)
        ]
        return [float(one.mean()) for one in right]

    def compare(self, label: str, options: Mapping[str, Option]) -> None:
        """Print the MACs of a network, and what it reaches."""
        plain = self.supernet.extract(self.supernet.space.architecture(options)).eval()
        parts = [spread(self.measure_accuracies(label, options, part)) for part in ("test", "search")]
        print(
            f"  {label:18} {count_macs(plain, self.splits.inputs):9,} MACs   {'   '.join(parts)}", flush=True
        )

    def search(self, seed: int) -> Mapping[str, Option]:
        """Search, and return the cheapest cell that is as good as the Transformer, or the best where none is."""
        prepared = prepare(self.study(seed), CPU)
        directory = RunDirectory(self.out / f"{self.name}-search-{seed}")
        with directory.lock():
            directory.claim(prepared.description())
            record = search_architectures(RunContext.alone(prepared, directory, Silent()), _EVALUATIONS)
        trials = complete_trials(record)
        whole = [t for t in trials if measurements_of(t)[EPOCHS].value == RECIPE.epochs] or trials
        label = "transformer {}x{}".format(*_REFERENCE)
        wanted = mean(self.measure_accuracies(label, make_known_cell("transformer", *_REFERENCE), "search"))
        good = [t for t in whole if measurements_of(t)["accuracy"].value >= wanted]
        best = max(whole, key=lambda t: measurements_of(t)["accuracy"].value)
        chosen = min(good, key=lambda t: measurements_of(t)["macs"].value, default=best)
        return architecture_of(prepared.problem.space, chosen)

    def study(self, seed: int) -> Study:
        """Return the study of cells with this data and seed, and a strategy for few evaluations."""
        return replace(
            evolved_text.study(),
            data=self.source,
            network=self.network,
            recipe=RECIPE,
            strategy=SurrogateSearch(Mixture, num_startup=8, batch_size=4),
            evaluations=_EVALUATIONS,
            seed=seed,
        )


def active_choices(bench: Bench, options: Mapping[str, Option]) -> str:
    """Return the choices that matter, as text."""
    space = bench.supernet.space
    (active,) = space.active(space.indices([options]))
    return ", ".join(
        f"{c.name} {options[c.name]}" for c, matters in zip(space.choices, active, strict=True) if matters
    )


if __name__ == "__main__":
    main()
