from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from torch import nn

from nas.errors import ExportError
from nas.export.model_card import set_card, validate_card, write_card
from nas.inputs import InputSpec
from nas.objective import Measurement
from nas.report.results import Results
from nas.report.text import report_markdown
from nas.tasks import Classification

LOAD = 'module = nas.load("path/to/this/folder"'


@pytest.fixture
def results(cli_run: Path) -> Results:
    return Results.read(cli_run / "report.json")


def test_every_card_is_read_back_by_huggingface_hub(cli_run: Path, results: Results) -> None:
    for winner in results.winners:
        card = ModelCard.load(cli_run / "winners" / winner.id / "README.md")
        assert card.data.model_name == f"small-{winner.id}"
        assert card.data.pipeline_tag == "image-classification"
        assert card.data.library_name == "pytorch"
        assert card.data.license
        assert card.data.datasets is None  # the Hub's "digits" may be another data set
        shipped = [variant for variant in winner.variants if variant.shipped]
        assert {"onnx", *(variant.name for variant in shipped)} - {"fp32"} <= set(card.data.tags)
        assert len(card.data.eval_results) == sum(len(variant.values) for variant in shipped)
        assert {e.dataset_split for e in card.data.eval_results} == {"test"}


def test_a_card_tells_what_a_reader_must_know(cli_run: Path, results: Results) -> None:
    for winner in results.winners:
        text = (cli_run / "winners" / winner.id / "README.md").read_text()
        for section in (
            "Results",
            "Intended use",
            "Data",
            "How it was measured",
            "Limits",
            "How it was made",
        ):
            assert f"## {section}" in text
        assert "model.int8.onnx" in text
        assert results.facts["data"]["fingerprint"] in text
        assert f"{winner.num_params:,} parameters" in text
        assert all(name in text for name in winner.choices)
        assert "nas run" in text


@pytest.mark.parametrize(
    ("network", "lines"),
    [
        ("search_spaces.convnet:convnet", ["import nas", f"{LOAD})"]),
        ("my_study:network", ["import nas", "from my_study import network", f"{LOAD}, network=network)"]),
        ("a.b:make", ["import nas", "from a.b import make", f"{LOAD}, network=make)"]),
        ("study_0123456789abcdef:own", ["import nas", f"{LOAD}, network=network)"]),
        ("my_study:<lambda>", ["import nas", f"{LOAD}, network=network)"]),
        ("search_spaces.convnet:<convnet>", ["import nas", f"{LOAD}, network=network)"]),
    ],
)
def test_a_card_tells_how_its_network_is_loaded(
    results: Results, tmp_path: Path, network: str, lines: list[str]
) -> None:
    own = dataclasses.replace(results, facts={**results.facts, "network": network})
    write_card(tmp_path, own, own.winners[0])
    code = (tmp_path / "README.md").read_text().split("```")[1].removeprefix("python\n")
    assert [line.partition("#")[0].strip() for line in code.splitlines() if line[0] != "#"] == lines


def test_the_code_of_a_card_loads_a_network_outside_search_spaces(tiny_run: Path) -> None:
    card = next((tiny_run / "winners").glob("*/README.md"))
    names: dict[str, Any] = {}
    exec(
        card.read_text()
        .split("```")[1]
        .removeprefix("python\n")
        .replace("path/to/this/folder", str(card.parent)),
        names,
    )
    assert isinstance(names["module"], nn.Module)


def card_of(results: Results, folder: Path, task: dict[str, Any] | None = None, **data: object) -> str:
    """Return a card of the results with other facts of the task and the data, in one line."""
    facts = {
        **results.facts,
        "task": {**results.facts["task"], **(task or {})},
        "data": {**results.facts["data"], **data},
    }
    write_card(folder, dataclasses.replace(results, facts=facts), results.winners[0])
    return (folder / "README.md").read_text().replace("\n", " ")


def test_a_card_tells_what_goes_in_and_what_comes_out(results: Results, tmp_path: Path) -> None:
    card = card_of(results, tmp_path, {"names": ["cat", "dog"]})
    assert "per image" in card
    assert "raw pixels from 0 to 16 minus" in card  # scikit-learn's digits
    assert (
        "Output `outputs`: float32 `(batch, 10)`, a logit for each class, of the classes 0 `cat`, 1 `dog`."
        in card
    )
    assert "`task.names` in" in card_of(results, tmp_path, {"names": [str(n) for n in range(1000)]})


def test_a_card_of_texts_speaks_of_texts(results: Results, tmp_path: Path) -> None:
    task = Classification(3).facts(InputSpec.of_one((12,), torch.int64)).describe()
    inputs = [{"name": "token_ids", "shape": [12], "dtype": "int64"}]
    card = card_of(results, tmp_path, task, inputs=inputs, mean=[], std=[], num_words=90)
    assert ModelCard.load(tmp_path / "README.md").data.pipeline_tag == "text-classification"
    assert "multiply-accumulates per text" in card
    assert f"{results.facts['data']['train']} texts to train on" in card
    assert (
        "Input `token_ids`: int64 `(batch, 12)`, token ids below 90; `vocabulary.json` holds the word of each."
        in card
    )
    assert "images to train on" not in card
    assert "per item" in card_of(results, tmp_path, {"item": "item"}, mean=[], std=[])


def test_no_difference_is_called_noise_where_the_spread_is_none(results: Results, tmp_path: Path) -> None:
    assert "are noise" in card_of(results, tmp_path)
    plain, *others = results.winners[0].variants
    perfect = dataclasses.replace(
        plain, values={**plain.values, "accuracy": Measurement(1.0, 0.0, "", "", 40)}
    )
    winner = dataclasses.replace(results.winners[0], variants=(perfect, *others))
    write_card(tmp_path, results, winner)
    assert "are noise" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("chosen", "split"), [({"items": 9}, "a part of the search split"), (None, "search split")]
)
def test_a_card_tells_what_candidates_were_evaluated_on(
    results: Results, tmp_path: Path, chosen: dict[str, int] | None, split: str
) -> None:
    card = card_of(dataclasses.replace(results, proxy={"chosen": chosen}), tmp_path)
    assert f"| in the search, {split} |" in card


@pytest.mark.parametrize(
    ("value", "spread", "noise"),
    [(0.9, 0.01, "2 points"), (87.5, 0.4, "0.8"), (-0.3, 0.1, "0.2")],
)
def test_what_is_noise_is_told_on_the_scale_of_the_quality(
    results: Results, tmp_path: Path, value: float, spread: float, noise: str
) -> None:
    plain, *others = results.winners[0].variants
    other = dataclasses.replace(
        plain, values={**plain.values, "accuracy": Measurement(value, spread, "", "", 40)}
    )
    write_card(tmp_path, results, dataclasses.replace(results.winners[0], variants=(other, *others)))
    card = (tmp_path / "README.md").read_text().replace("\\", "")
    assert f"differences of about {noise} are noise" in card


@pytest.mark.parametrize("shipped", [True, False])
def test_a_card_tells_how_to_load_what_is_delivered(results: Results, tmp_path: Path, shipped: bool) -> None:
    plain, *others = results.winners[0].variants
    variants = (plain, *(dataclasses.replace(variant, shipped=shipped) for variant in others))
    write_card(tmp_path, results, dataclasses.replace(results.winners[0], variants=variants))
    card = (tmp_path / "README.md").read_text()
    assert "quantized to int8" in card
    assert ("variant='int8'" in card) == shipped


def test_text_of_a_user_does_not_break_a_card(results: Results, tmp_path: Path) -> None:
    facts = {**results.facts, "intended_use": "---\nlicense: x\n---\n: [odd] | text | {with} `marks`"}
    odd = dataclasses.replace(results, facts=facts)
    write_card(tmp_path, odd, odd.winners[0])
    assert ModelCard.load(tmp_path / "README.md").data.license != "x"


NASTY = "a|b\n---\nlicense: x\n---\n# h <script>alert(1)</script> `c` [l](http://evil.example) \x1b[31m"


def test_no_text_of_a_user_is_markup_in_what_is_written(results: Results, tmp_path: Path) -> None:
    facts = {
        **results.facts,
        "data": {**results.facts["data"], "name": NASTY},
        "task": {
            **results.facts["task"],
            **{"item": NASTY, "reading": NASTY, "outputs": [NASTY], "names": [NASTY, "dog"]},
        },
        "intended_use": NASTY,
        "command": NASTY,
        "ended": NASTY,
        "doubts": [NASTY],
    }
    taken = {"search": [[1, 2], [0, 1]], "test": [[1, 2], [0, 1]]}
    winner = dataclasses.replace(results.winners[0], choices={NASTY: NASTY}, confusions=taken)
    odd = dataclasses.replace(results, facts=facts, failures=[NASTY], winners=(winner,))
    write_card(tmp_path, odd, winner)
    for text in ((tmp_path / "README.md").read_text(), report_markdown(odd), set_card(odd)):
        tokens = MarkdownIt("commonmark").enable("table").parse(text.partition("\n---\n\n")[2] or text)
        children = [child for token in tokens for child in token.children or []]
        assert not [t for t in [*tokens, *children] if t.type in ("html_block", "html_inline", "hr")]
        assert not [c for c in children if "evil" in str(c.attrs.get("href", ""))]
        assert "\x1b" not in text
    assert ModelCard.load(tmp_path / "README.md").data.license == "other"


@pytest.mark.parametrize(
    ("name", "stated", "expected"),
    [
        ("digits", None, None),
        ("FashionMNIST, 6,000 of 60,000", None, None),
        ("ylecun/mnist", None, "ylecun/mnist"),
        ("cats/dogs/birds", None, None),
        ("cats / dogs", None, None),
        ("a--b/c", None, None),
        ("my photos", "me/photos", "me/photos"),
        ("MNIST", "mnist", "mnist"),
    ],
)
def test_a_card_names_a_data_set_of_the_hub_or_none(
    results: Results, tmp_path: Path, name: str, stated: str | None, expected: str | None
) -> None:
    facts = {**results.facts, "data": {**results.facts["data"], "name": name}, "hub_dataset": stated}
    odd = dataclasses.replace(results, facts=facts)
    write_card(tmp_path, odd, odd.winners[0])
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.datasets == (expected and [expected])
    assert all(re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", e.dataset_type, re.ASCII) for e in data.eval_results)
    assert {e.dataset_name for e in data.eval_results} == {name}
    assert f"{name}: " in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "content", ["no metadata at all", "---\nlicense: other\n---\ntext", "---\n: [\n---\ntext", ""]
)
def test_a_card_that_lacks_something_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "README.md").write_text(content)
    with pytest.raises(ExportError):
        validate_card(tmp_path / "README.md")


def test_the_sets_card_lists_the_final_front(results: Results) -> None:
    card = set_card(results)
    for winner in results.winners:
        for variant in winner.variants:
            row = f"| [{winner.id}]({winner.id}/README.md) | {variant.name} |"
            assert (row in card) == variant.on_front
