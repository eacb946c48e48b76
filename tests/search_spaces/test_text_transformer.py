from __future__ import annotations

from functools import partial

import onnxruntime as ort
import pytest
import torch

from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.supernet import Supernet
from nas.tasks import Classification
from nas.testing import check_network
from search_spaces.text_transformer import text_transformer

NETWORK = partial(text_transformer, classes=3, num_tokens=40, length=9)


def test_the_contract_is_kept() -> None:
    check_network(
        partial(NETWORK, scale=0.5, masks=True),
        InputSpec.of_one((9,), torch.int64),
        Classification(3),
        num_random=2,
        num_tokens=40,
    )


def test_the_cardinality_is_what_the_docstring_says() -> None:
    assert Supernet(text_transformer(classes=2)).space.cardinality() == 71_582_784


def test_masks_that_hide_nothing_are_the_network_without_them() -> None:
    plain, masked = Supernet(NETWORK()).eval(), Supernet(NETWORK(masks=True)).eval()
    masked.load_state_dict(plain.state_dict())
    hidden = {
        f"block{n}.{name}": value
        for n in range(6)
        for name, value in (("distance", 0.0), ("direction", "both"))
    }
    ids = torch.randint(0, 40, (5, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), masked.active(masked.space.architecture({**masked.space.largest(), **hidden})):
        assert torch.equal(plain(ids), masked(ids))


@pytest.mark.parametrize("masks", [False, True])
def test_padding_changes_nothing(masks: bool) -> None:
    torch.manual_seed(0)
    supernet = Supernet(NETWORK(masks=masks)).eval()
    ids = torch.tensor([[5, 6, 7, 0, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        before = supernet(ids)
        for parameter in (supernet.module.embedding.weight, supernet.module.positions.weight):
            kept = parameter[0].clone() if parameter.shape[0] == 40 else None
            parameter[0 if kept is not None else slice(3, None)] += 1
        assert torch.allclose(before, supernet(ids), atol=1e-5)


def test_a_sentence_of_padding_alone_stays_finite() -> None:
    supernet = Supernet(NETWORK()).eval()
    with torch.no_grad():
        assert supernet(torch.zeros(2, 9, dtype=torch.int64)).isfinite().all()


@pytest.mark.parametrize("direction", [None, "forward", "backward"])
def test_the_exported_file_says_the_same(direction: str | None, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    supernet = Supernet(NETWORK(masks=direction is not None)).eval()
    masks = {} if direction is None else {"block0.distance": 0.5, "block0.direction": direction}
    plain = supernet.extract(supernet.space.architecture({**supernet.space.smallest(), **masks}))
    session = ort.InferenceSession(export_onnx(plain, InputSpec.of_one((9,), torch.int64)))
    assert "exporter failed" not in caplog.text
    ids = torch.randint(0, 40, (5, 9))
    with torch.no_grad():
        expected = plain(ids)
    got = torch.from_numpy(session.run(None, {"images": ids.numpy()})[0])
    assert torch.allclose(expected, got, atol=1e-5)
