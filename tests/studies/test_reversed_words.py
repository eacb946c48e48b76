from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from fakes import run_in

import nas
from nas.files import read_json
from nas.inputs import Inputs, call_network
from nas.tasks.sequences import decode_greedily, read_tokens
from studies.reversed_words import ReversedWords, study


def test_words_come_from_scikit_learn_or_from_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = ReversedWords().load()
    assert len(splits.train) > 500
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    lines = ["text\tlabel", *[f"Say {letter}bcd, 'TWO {letter}fgh'!\tham" for letter in "jklmnopqrs"]]
    (tmp_path / "sms.tsv").write_text("\n".join(lines), encoding="utf-8")
    splits = ReversedWords("sms.tsv").load()
    words = {
        read_tokens(ids, splits.vocabulary)
        for part in (splits.train, splits.search, splits.test)
        for ids in part.targets
    }
    assert words == {"yas", "owt", *(f"{end}{letter}" for letter in "jklmnopqrs" for end in ("dcb", "hgf"))}
    assert splits.name == "22 words of sms.tsv backwards"


def test_the_card_has_the_error_rate_of_what_the_exported_file_writes_alone(tmp_path: Path) -> None:
    tiny = study(limit=60, epochs=2, evaluations=2, winners=1, fine_tuning_epochs=1)
    tiny = replace(tiny, objectives=tiny.objectives[:2])  # without the latency
    winner = run_in(tiny, tmp_path).winners[0]
    folder = tmp_path / "winners" / winner.id
    session = ort.InferenceSession(folder / "model.onnx")
    module, tokens, test = nas.load(folder), read_json(folder / "vocabulary.json"), tiny.data.load().test
    source, answers = test.inputs

    def exported(inputs: Inputs) -> torch.Tensor:
        named = zip(("source", "answer"), inputs, strict=True)
        return torch.from_numpy(session.run(None, {name: ids.numpy() for name, ids in named})[0])

    def loaded(inputs: Inputs) -> torch.Tensor:
        with torch.no_grad():
            return call_network(module, inputs)

    written = [decode_greedily(predict, source, answers.shape[1]) for predict in (exported, loaded)]
    found, again = ([read_tokens(ids, tokens) for ids in outputs.argmax(1)] for outputs in written)
    assert found == again
    true = [read_tokens(ids, tokens) for ids in test.targets]
    wrong = np.mean([answer != word for answer, word in zip(found, true, strict=True)])
    assert winner.variants[0].values["word_error_rate"].value == pytest.approx(wrong)
    card = (folder / "README.md").read_text()
    assert "Input `source`: int64 `(batch, 8)`; Input `answer`: int64 `(batch, 9)`" in card
    assert "pipeline_tag: text-generation" in card
    assert (folder / "examples.png").read_bytes().startswith(b"\x89PNG")
