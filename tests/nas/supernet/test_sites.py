from __future__ import annotations

import pytest
from torch import nn

from nas.supernet.cut_attention import why_fixed


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.MultiheadAttention(12, 1), "one head"),
        (nn.MultiheadAttention(12, 3, add_bias_kv=True), "keys of its own"),
        (nn.MultiheadAttention(12, 3, add_zero_attn=True), "keys of its own"),
    ],
)
def test_what_cannot_lose_heads_says_why(layer: nn.MultiheadAttention, said: str) -> None:
    assert said in (why_fixed(layer) or "")
