from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.choices import choice
from nas.errors import ShapeError
from nas.supernet.attention import Attention
from nas.supernet.cut import Span
from nas.supernet.cut_attention import CutAttention
from nas.supernet.sites import find_sites

GENERATOR = torch.Generator().manual_seed(0)
QUERY, KEY = torch.randn(2, 5, 12, generator=GENERATOR), torch.randn(2, 7, 12, generator=GENERATOR)


def cut(layer: nn.MultiheadAttention, num_heads: int) -> CutAttention:
    made = CutAttention.of(layer, choice("heads", 1, 2, 3))
    (slot,) = find_sites(made)[0].slots
    made.__dict__[slot.attribute] = num_heads
    return made.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", ["no", "floats", "booleans", "padding"])
def test_all_heads_are_torchs_attention(bias: bool, need_weights: bool, masked: str) -> None:
    layer = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).eval()
    booleans = torch.rand(5, 7, generator=GENERATOR) < 0.3
    booleans[:, 0] = False
    masks = {
        "no": {},
        "floats": {"attn_mask": torch.randn(5, 7, generator=GENERATOR)},
        "booleans": {"attn_mask": booleans},
        "padding": {"key_padding_mask": torch.tensor([[False] * 7, [False] * 4 + [True] * 3])},
    }[masked]
    expected, weights = layer(QUERY, KEY, KEY, need_weights=need_weights, **masks)
    for module in (cut(layer, 3), cut(layer, 3).extract()):
        output, found = module(QUERY, KEY, KEY, need_weights=need_weights, **masks)
        torch.testing.assert_close(output, expected)
        assert (found is None) == (weights is None)
        if weights is not None:
            torch.testing.assert_close(found, weights)


def test_sequences_first_and_single_sequences() -> None:
    layer = nn.MultiheadAttention(12, 3).eval()
    query, key = QUERY.transpose(0, 1), KEY.transpose(0, 1)
    torch.testing.assert_close(cut(layer, 3)(query, key, key)[0], layer(query, key, key)[0])
    one = cut(layer, 3)(QUERY[0], KEY[0], KEY[0])
    torch.testing.assert_close(one[0], layer(QUERY[0], KEY[0], KEY[0])[0])
    assert one[1].shape == (5, 7)


def test_fewer_heads_leave_the_others_out() -> None:
    layer = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    silent = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    silent.load_state_dict(layer.state_dict())
    with torch.no_grad():
        silent.out_proj.weight[:, 4:] = 0
    module = cut(layer, 1)
    torch.testing.assert_close(module(QUERY, KEY, KEY)[0], silent(QUERY, KEY, KEY)[0])
    plain = module.extract()
    assert isinstance(plain, Attention)
    assert torch.equal(plain(QUERY, KEY, KEY)[0], module(QUERY, KEY, KEY)[0])
    assert module.num_active_params() == sum(p.numel() for p in plain.parameters())


WIDTH = choice("width", 3, 7)
"""Of a part of the embedding; the rest of it stays."""


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_narrower_embedding_leaves_the_other_channels_out(separate: bool, bias: bool) -> None:
    sizes = {"kdim": 10, "vdim": 11} if separate else {}
    layer = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True, **sizes).eval()
    axis = (Span(0, WIDTH), Span(7, 5))
    names = ("q_proj_weight",) if separate else ("in_proj_weight",)
    axes = {(name, 1): axis for name in names} | {("out_proj.weight", 0): axis, ("out_proj.bias", 0): axis}
    module = CutAttention.of(layer, 2, axes).eval()
    for slot in find_sites(module)[0].slots:
        module.__dict__[slot.attribute] = slot.expression.value({"width": 3})
    kept = torch.tensor([0, 1, 2, 7, 8, 9, 10, 11])
    key, value = (torch.randn(2, 7, sizes.get(n, 12), generator=GENERATOR) for n in ("kdim", "vdim"))
    query = torch.zeros_like(QUERY).index_copy(2, kept, QUERY[..., kept])
    if not separate:
        key, value = (torch.zeros_like(x).index_copy(2, kept, x[..., kept]) for x in (key, value))
    with torch.no_grad():
        layer.out_proj.weight[:, 8:] = 0
    expected = layer(query, key, value)[0][..., kept]
    given = (query[..., kept], *((key, value) if separate else (key[..., kept], value[..., kept])))
    plain = module.extract()
    torch.testing.assert_close(module(*given)[0], expected)
    torch.testing.assert_close(plain(*given)[0], expected)
    assert module.embed_dim == 8
    assert module.num_active_params() == sum(p.numel() for p in plain.parameters())


def test_a_mask_for_every_head_is_refused() -> None:
    layer = cut(nn.MultiheadAttention(12, 3, batch_first=True), 2)
    with pytest.raises(ShapeError, match="three axes"):
        layer(QUERY, KEY, KEY, attn_mask=torch.zeros(6, 5, 7))
