from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import Inputs, InputSpec, call_network
from nas.supernet import Supernet
from nas.tasks import SequenceToSequence
from nas.tasks.sequences import END, SPECIAL, decode_greedily
from nas.testing import check_network
from search_spaces.sequence_transformer import sequence_transformer

TOKENS = (*SPECIAL, *"abcdef")
NETWORK = partial(sequence_transformer, len(TOKENS), source_length=6, length=7)
FORM = InputSpec(("source", "answer"), ((6,), (7,)), (torch.int64, torch.int64))


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    made = Supernet(NETWORK()).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "embedding" in name or "positions" in name:
                parameter *= 50  # so that answers differ before anything is learned
    return made


def batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(  # type: ignore[return-value]
        torch.randint(5, len(TOKENS), (count, length), generator=generator) for length in (6, 7)
    )


def test_the_contract_is_kept() -> None:
    target = torch.tensor([[5, 6, END, 0, 0, 0, 0]])
    check_network(NETWORK, FORM, SequenceToSequence(TOKENS), target, num_random=2, num_tokens=len(TOKENS))


def test_a_position_does_not_see_later_tokens_of_the_answer(supernet: Supernet) -> None:
    source, answer = batch(8)
    changed = answer.clone()
    changed[:, 4:] = changed[:, 4:].flip(0)
    with torch.no_grad():
        before, after = supernet(source, answer), supernet(source, changed)
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4:], after[:, :, 4:])


def test_padding_of_the_source_is_not_seen(supernet: Supernet) -> None:
    source, answer = batch(8)
    source[:, 3:] = 0
    moved = supernet.get_parameter("module.source_positions.weight")
    with torch.no_grad():
        before = supernet(source, answer)
        moved[3:] += 1
        after = supernet(source, answer)
        moved[3:] -= 1
    assert torch.allclose(before, after, atol=1e-5)


def test_the_exported_file_writes_the_same_answers(supernet: Supernet) -> None:
    for architecture in (supernet.space.largest(), supernet.space.smallest()):
        module = supernet.extract(architecture)
        exported = OnnxCandidate(export_onnx(module, FORM))
        names = [entry.name for entry in ort.InferenceSession(exported.onnx_model).get_inputs()]
        assert names == ["source", "answer"]
        source, answer = batch(9)

        def predict(inputs: Inputs, module: torch.nn.Module = module) -> Tensor:
            with torch.no_grad():
                return call_network(module, inputs)

        assert torch.allclose(predict((source, answer)), exported.predict((source, answer)), atol=1e-4)
        written = [decode_greedily(one, source, 7).argmax(1) for one in (predict, exported.predict)]
        assert torch.equal(*written)
        assert len(written[0].unique(dim=0)) > 1
