"""What a winner's model card says, section by section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nas.compression.pipeline import PLAIN
from nas.evaluation.onnx_export import OUTPUT
from nas.export.names import ARCHITECTURE, CONFUSION, EXAMPLES, PICTURE, VOCABULARY, WEIGHTS
from nas.export.rebuilding import DEFAULT_SPACES
from nas.objective import Objective
from nas.report.confusion import commonest_confusions, confusion_table
from nas.report.markdown import code, escape, plain
from nas.report.results import FILE_BYTES, Results, Variant, Winner
from nas.report.tables import (
    Table,
    choose_unit,
    details_table,
    format_value,
    tell_counted,
    tell_kept,
    with_spread,
)

_NO_MODULE = re.compile("__main__|study_[0-9a-f]{16}")
"""Names of what a script, or a file that is named like another module, is imported as."""
_NAMED_CLASSES = 20
"""As many fit into a paragraph of a card."""


def card_text(results: Results, winner: Winner) -> str:
    """Return the card without its metadata."""
    sections = (
        _write_head,
        _write_results,
        _write_intended_use,
        _write_data,
        _write_measurement,
        _write_limits,
        _write_history,
    )
    return "\n".join(section(results, winner) for section in sections)


def _write_head(results: Results, winner: Winner) -> str:
    one, several = escape(results.facts["task"]["item"]), "multi-objective " * (len(results.objectives) > 1)
    return f"""# {escape(f"{results.study}-{winner.id}")}

A network of {winner.num_params:,} parameters and {winner.macs:,} multiply-accumulates per {one}, found by
{several}architecture search over {escape(", ".join(o.name for o in results.objectives))} among
{results.facts["space"]["cardinality"]} architectures{_fine_tuning(results, winner)}.

![The front, with this model marked]({PICTURE})
"""


def _write_results(results: Results, winner: Winner) -> str:
    objectives = [*results.objectives, FILE_BYTES]
    numbers = Table(
        ["variant", "file", *(o.name for o in objectives), "on the final front"],
        [
            [v.name, v.file, *(with_spread(v.values[o.name], o) for o in objectives), v.place]
            for v in winner.variants
        ],
    )
    return f"""## Results

{numbers.markdown()}
{_compression(winner)}{_by_class(results, winner)}{_confusion(results, winner)}{_beside_original(results, winner)}"""


def _write_intended_use(results: Results, winner: Winner) -> str:
    facts, task = results.facts, results.facts["task"]
    return f"""## Intended use

{escape(facts["intended_use"])}

```python
{_write_loading(facts["network"])}
```

or any ONNX runtime with {code(winner.variants[0].file)}.
{_inputs(facts["data"])}{_describe_preparation(facts["data"])}.
Output `{OUTPUT}`: float32 {_shape(task["outputs"])}, {escape(task["reading"])}{_classes(task)}.
"""


def _write_data(results: Results, _winner: Winner) -> str:
    facts, data, one = results.facts, results.facts["data"], escape(results.facts["task"]["item"])
    return f"""## Data

{escape(data["name"])}: {data["train"]} {one}s to train on, {data["search"]} to evaluate candidates on, and
{data["test"]} for the numbers above. The three parts are disjoint and seeded; fingerprint
`{data["fingerprint"]}`.{_origin(facts)}
"""


def _write_measurement(results: Results, winner: Winner) -> str:
    quality, machine = results.quality, results.facts["machine"]
    name = escape(quality.name)
    measured = winner.variants[0].values
    devices = [m.device for known, m in measured.items() if m.device and known != quality.name]
    searched = results.as_searched(winner)
    as_what = "" if searched.name == PLAIN else f" as {searched.name}"
    tuned = format_value(winner.fine_tuned.value, quality) + (", not kept" if winner.kept else "")
    stages = Table(
        ["", quality.name],
        [
            [
                f"in the search, {_tell_split(results)}",
                format_value(winner.searched[quality.name].value, quality),
            ],
            ["fine-tuned, search split", tuned],
            [
                f"exported{as_what}, test split",
                format_value(searched.values[quality.name].value, quality),
            ],
        ],
    )
    return f"""## How it was measured

Every measured number is of the exported file. {name}: on the test split, by which nothing was trained, searched or
chosen; ± is one standard deviation.{_engine(results)}{_latency(devices)}
{escape(tell_counted(results))} MACs: torch's counter, FLOPs / 2.

{stages.markdown()}

Machine and versions: {"; ".join(escape(f"{part} {value}") for part, value in machine.items())}.
"""


def _write_limits(results: Results, winner: Winner) -> str:
    one = escape(results.facts["task"]["item"])
    return f"""## Limits

Measured on one data set and one machine; latency on another processor can rank models differently. The test
split holds {results.facts["data"]["test"]} {one}s{_noise(winner, results.quality)}.
"""


def _write_history(results: Results, winner: Winner) -> str:
    facts = results.facts
    choices = Table(["choice", "option"], [[name, str(option)] for name, option in winner.choices.items()])
    return f"""## How it was made

Study {code(results.study)}, seed {facts["seed"]}, trial {winner.trial}. Command: {code(facts["command"])}.

{choices.markdown()}

`{ARCHITECTURE}` holds the same for programs; `{WEIGHTS}` the weights.
"""


def _write_loading(network: str) -> str:
    """Return the lines of Python that load the module, given ``package.module:function``."""
    package, _, name = network.partition(":")
    module, comment = (
        'module = nas.load("path/to/this/folder"',
        "# a plain torch.nn.Module, in evaluation mode",
    )
    importable = name.isidentifier() and all(part.isidentifier() for part in package.split("."))
    if importable and package.partition(".")[0] == DEFAULT_SPACES:
        return f"import nas\n{module})   {comment}"
    if importable and not _NO_MODULE.fullmatch(package):
        return f"import nas\nfrom {package} import {name}\n{module}, network={name})   {comment}"
    whose = f"network: the function that the study calls {plain(network)}, with its arguments"
    return f"import nas\n# {whose}\n{module}, network=network)   {comment}"


def _fine_tuning(results: Results, winner: Winner) -> str:
    if winner.kept is None:
        return ", then fine-tuned"
    return f". Its\n{escape(tell_kept(winner.fine_tuned, winner.kept, results.quality))}"


def _compression(winner: Winner) -> str:
    """Return what passes did to each variant; empty where none did anything."""
    lines = [
        f"- {code(variant.name)}: {escape('; '.join(variant.applied))}{_tell_loading(variant)}"
        for variant in winner.variants
        if variant.applied
    ]
    return "\nWhat was done to them:\n\n" + "\n".join(lines) + "\n" if lines else ""


def _tell_loading(variant: Variant) -> str:
    """Return how a variant is loaded; empty for the float32 one, and for one whose files aren't delivered."""
    if variant.name == PLAIN or not variant.shipped:
        return ""
    return f" ({code(f'nas.load(folder, variant={variant.name!r})')})"


def _by_class(results: Results, winner: Winner) -> str:
    """Return a table of the quality's parts, and a picture of some items, where there are such."""
    alone = details_table(replace(results, winners=(winner,)))
    table = "" if alone is None else f"\n{alone.markdown()}\n"
    picture = (
        f"\n![Items of the test split, with what is true and what this model makes of them]({EXAMPLES})\n"
    )
    return table + (picture if results.facts["task"].get("examples") else "")


def _confusion(results: Results, winner: Winner) -> str:
    """Return which classes are taken for which; empty where an answer is no class."""
    if not winner.confusions:
        return ""
    names, of_test = results.facts["task"]["names"], winner.confusions["test"]
    table = confusion_table(of_test, names)
    numbers = "" if table is None else f"\n{table.markdown()}\n"
    return f"""
Which classes the float32 file takes for which, on the test split. {escape(commonest_confusions(of_test, names))}
{numbers}
![Which classes are taken for which, on the search split and on the test split]({CONFUSION})
"""


def _beside_original(results: Results, winner: Winner) -> str:
    """Return a table of this model and the network that was converted; empty where none was."""
    if not results.original:
        return ""
    objectives = [*results.objectives, FILE_BYTES]
    named = [("this model", winner.variants), *((o.name, o.variants) for o in results.original)]
    rows = [
        [name, variant.name, *(with_spread(variant.values[o.name], o) for o in objectives)]
        for name, variants in named
        for variant in variants
    ]
    table = Table(["network", "variant", *(o.name for o in objectives)], rows)
    return f"\n## Beside the original network\n\n{table.markdown()}\n"


def _origin(facts: dict[str, Any]) -> str:
    """Return what the weights had learned before the search; older runs lack both."""
    sentences = [facts.get("outside_weights"), facts.get("pretrained")]
    return "".join(f"\n\n{escape(sentence)}" for sentence in sentences if sentence)


def _tell_split(results: Results) -> str:
    """Return what candidates were evaluated on."""
    return "a part of the search split" if results.proxy and results.proxy["chosen"] else "search split"


def _engine(results: Results) -> str:
    """Return who answered for the quality: of the files, and in the search."""
    engine = results.facts.get("engine")  # older runs lack it
    return f" ONNX Runtime answered for the files, {engine} in the search." if engine else ""


def _latency(devices: list[str]) -> str:
    if not devices:
        return ""
    return (
        f" Latency: on {escape('; '.join(dict.fromkeys(devices)))},\nall variants of all winners taking turns with a "
        "fixed reference network, first runs thrown away."
    )


def _inputs(data: dict[str, Any]) -> str:
    """Return name, type and shape of each input."""
    return "; ".join(
        f"Input {code(one['name'])}: {one['dtype']} {_shape(one['shape'])}" for one in data["inputs"]
    )


def _shape(sizes: Sequence[int | str]) -> str:
    return code(f"(batch, {', '.join(map(str, sizes))})")


def _noise(winner: Winner, quality: Objective) -> str:
    measured = winner.variants[0].values[quality.name]
    if measured.spread == 0:
        return ""
    unit, factor = choose_unit(quality, [measured.value])
    differences = f"{2 * factor * measured.spread:.3g} {'points' if unit == '%' else unit}".rstrip()
    return f", so differences of about {escape(differences)} are noise"


def _classes(task: dict[str, Any]) -> str:
    names = task["names"]
    if not names:
        return ""
    if len(names) > _NAMED_CLASSES:
        return f"; for the classes see `task.names` in `{ARCHITECTURE}`"
    return ", of the classes\n" + ", ".join(f"{number} {code(name)}" for number, name in enumerate(names))


def _describe_preparation(data: dict[str, Any]) -> str:
    if data.get("num_words"):
        return f", token ids below {data['num_words']}; `{VOCABULARY}` holds the word of each"
    if not data["mean"]:
        return ""
    ends = data.get("pixel_range")
    between = "" if ends is None else f" from {ends[0]:.4g} to {ends[1]:.4g}"
    return f", raw pixels{between} minus\n{_numbers(data['mean'])}, divided by {_numbers(data['std'])} (per channel)"


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
