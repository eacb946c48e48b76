from __future__ import annotations

import io

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nas.inputs import Inputs
from nas.tasks import SequenceToSequence
from nas.tasks.sequences import END, SPECIAL, decode_greedily, read_tokens


def test_padding_of_answers_neither_teaches_nor_counts() -> None:
    task, outputs = SequenceToSequence((*SPECIAL, "a", "b")), torch.randn(4, 7, 3)
    targets = torch.tensor([[5, 6, END], [END, 0, 0], [6, END, 0], [5, 4, END]])
    changed = outputs.clone()
    changed[1, :, 1:] += 5 * torch.randn(7, 2)  # behind the end of an empty answer
    assert torch.equal(task.loss(outputs, targets), task.loss(changed, targets))
    assert task.loss(outputs, targets).item() == pytest.approx(
        F.cross_entropy(outputs, targets, reduction="none")[targets != 0].mean().item()
    )


def test_an_answer_is_written_from_its_own_beginning_to_its_end() -> None:
    """The network of this test answers with the source, one position at a time, and ends where that ends."""
    passes = []

    def copy_source(inputs: Inputs) -> Tensor:
        source, answer = inputs
        passes.append(answer.clone())
        padded = F.pad(source, (0, answer.shape[1] - source.shape[1]))
        return F.one_hot(torch.where(padded == 0, END, padded), 7).transpose(1, 2).float()

    tokens = (*SPECIAL, "a", "b")
    sources = torch.tensor([[5, 6, 6, 0], [6, 0, 0, 0]])
    outputs = decode_greedily(copy_source, sources, 9)
    assert [read_tokens(ids, tokens) for ids in outputs.argmax(1)] == ["abb", "b"]
    assert len(passes) == 4  # three letters and an end, not nine
    assert passes[-1].tolist() == [[2, 5, 6, 6, 0, 0, 0, 0, 0], [2, 6, 3, 3, 0, 0, 0, 0, 0]]


@pytest.mark.draws
def test_answers_are_drawn_also_where_matplotlib_would_see_a_formula() -> None:
    task = SequenceToSequence((*SPECIAL, "$", "\\"))
    source, targets = torch.tensor([[5, 6, 0]] * 2), torch.tensor([[5, 6, END], [5, 5, END]])
    picture = task.draw_examples((source, targets), targets, torch.randn(2, 7, 3))
    assert Image.open(io.BytesIO(picture)).format == "PNG"
