"""Model cards (Mitchell 2019) in the Hugging Face format, from stored results alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from nas.checks import is_hub_id
from nas.compression.pipeline import PLAIN
from nas.errors import ExportError
from nas.export.card_text import card_text
from nas.export.names import CARD, PICTURE
from nas.files import write_bytes, write_text
from nas.report.figures import front_png
from nas.report.markdown import Marked, escape, plain
from nas.report.results import FILE_BYTES, Results, Variant, Winner
from nas.report.tables import Table, format_value, tell_counted

_NO_ID = re.compile(r"[^A-Za-z0-9_.-]+")
"""What the Hub refuses in the type of a data set."""
_REQUIRED = ("model_name", "library_name", "license", "pipeline_tag", "tags")


def write_card(folder: Path, results: Results, winner: Winner) -> None:
    """Write ``README.md`` and ``front.png`` of a winner into its folder.

    Raises:
        ExportError: the card misses something or doesn't survive being read back.
    """
    content = str(
        ModelCard(f"---\n{_metadata(results, winner).to_yaml()}\n---\n\n{card_text(results, winner)}")
    )
    write_bytes(folder / PICTURE, front_png(results, marked=winner.id))
    write_text(folder / CARD, content)
    validate_card(folder / CARD)


def validate_card(path: Path) -> None:
    """Check a card without a network: it is read back by huggingface_hub, with its results.

    Raises:
        ExportError: a required field or every result is missing, or the metadata can't be read.
    """
    try:
        data = ModelCard.load(path).data
    except (ValueError, yaml.YAMLError) as error:
        raise ExportError(f"the model card {path} can't be read back: {error}") from error
    missing = [name for name in _REQUIRED if not data.get(name)]
    if missing or not data.eval_results:
        raise ExportError(f"the model card {path} lacks {missing or 'evaluation results'}.")


def _metadata(results: Results, winner: Winner) -> ModelCardData:
    data = results.facts["data"]
    task = results.facts["task"]["pipeline_tag"]
    dataset = hub_id(results)
    evaluations = [
        EvalResult(
            task_type=task,
            dataset_type=dataset or _NO_ID.sub("-", plain(data["name"])).strip("-.") or "custom",
            dataset_name=plain(data["name"]),
            dataset_split="test",
            metric_type=plain(name),
            metric_name=plain(f"{name} ({variant.name})"),
            metric_value=measurement.value,
        )
        for variant in winner.variants
        if variant.shipped
        for name, measurement in variant.values.items()
    ]
    return ModelCardData(
        model_name=f"{results.study}-{winner.id}",
        library_name="pytorch",
        license="other",
        pipeline_tag=task,
        tags=[
            "neural-architecture-search",
            "onnx",
            *(plain(v.name) for v in winner.variants if v.shipped and v.name != PLAIN),
        ],
        datasets=[dataset] if dataset else None,
        metrics=[plain(results.quality.name)],
        eval_results=evaluations,
    )


def hub_id(results: Results) -> str | None:
    """Return the data set's id on the Hugging Face Hub: what the study states, or a name of the form ``owner/name``.

    Any other name is taken for prose, also one of a single word: data sets of that name on the Hub may be others.
    """
    stated, name = results.facts.get("hub_dataset"), results.facts["data"]["name"]
    if stated:
        return str(stated)
    return name if "/" in name and is_hub_id(name) else None


def set_card(results: Results) -> str:
    """Return the ``README.md`` of the whole Pareto set."""
    found = [
        (Marked(f"[{w.id}]({w.id}/{CARD})"), variant)
        for w in results.winners
        for variant in w.variants
        if variant.on_front
    ]
    beside = [(original.name, variant) for original in results.original for variant in original.variants]
    return (
        f"# {escape(results.study)}: the Pareto set\n\nNo model here is worse than another in every column"
        f"{_beyond_noise(results)}. Quality "
        f"is of the test split; what is measured was measured on the exported file. "
        f"{escape(tell_counted(results))}\n\n{_tabulate(results, found)}\n"
        + (
            f"\nBeside them, the network that was converted:\n\n{_tabulate(results, beside)}\n"
            if beside
            else ""
        )
    )


def _tabulate(results: Results, rows: Sequence[tuple[str, Variant]]) -> str:
    """Return variants as a table, each with its name and everything that is known of its file."""
    objectives = [*results.objectives, FILE_BYTES]
    head = ["model", "variant", *(objective.name for objective in objectives)]
    body = [
        [name, v.name, *(format_value(v.values[o.name].value, o) for o in objectives)] for name, v in rows
    ]
    return Table(head, body).markdown()


def _beyond_noise(results: Results) -> str:
    """Return what is said of the front where the noise hides which of two models is better; empty elsewhere."""
    tied = any(variant.tied_with for winner in results.winners for variant in winner.variants)
    return ", as far as the noise of measuring lets one tell" if tied else ""
