"""The residual stream of networks made of torch's own attention is elastic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from nas.evaluation import NetworkCounter
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.onnx_export import export_onnx
from nas.inputs import InputSpec
from nas.supernet import Supernet

IDS = torch.randint(1, 50, (2, 7), generator=torch.Generator().manual_seed(0))
IDS[:, -2:] = 0
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Encoder(nn.Module):
    def __init__(self, *, batch_first: bool, norm_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) if self.batch_first else self.embed(ids).transpose(0, 1)
        return self.head(self.encoder(x, src_key_padding_mask=ids == 0).mean(1 if self.batch_first else 0))


class Translator(nn.Module):
    """Torch's whole Transformer, with masks; queries are fewer than keys where the streams meet."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, 32), nn.Embedding(50, 32)
        self.transformer = nn.Transformer(32, 4, 1, 1, 64, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        mask = torch.ones(4, 4, dtype=torch.bool, device=ids.device).triu(1)
        x, y = self.source(ids), self.target(ids[:, :4])
        return self.head(self.transformer(x, y, tgt_mask=mask, tgt_is_causal=True))


class Crossed(nn.Module):
    """Keys and values of other sizes; one head; the weights of every head are returned, and the width is read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.memory = nn.Embedding(50, 32), nn.Embedding(50, 16)
        self.cross = nn.MultiheadAttention(32, 4, kdim=16, vdim=16, bias=False, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.single = nn.MultiheadAttention(32, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Tensor) -> Tensor:
        x, memory = self.embed(ids), self.memory(ids)
        made, weights = self.cross(x, memory, memory, average_attn_weights=False)
        x = (self.norm(x + made) / self.cross.embed_dim).transpose(0, 1)
        x = x + self.single(x, x, x, need_weights=False)[0]
        return self.head(x.mean(0)) + weights.mean((1, 2, 3))[:, None]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor, set[str]]] = {
    "encoder": (lambda: Encoder(batch_first=True, norm_first=False), IDS, {"embed.width"}),
    "sequences first": (lambda: Encoder(batch_first=False, norm_first=True), IDS, {"embed.width"}),
    "encoder and decoder": (Translator, IDS, {"source.width"}),
    "other keys": (Crossed, IDS, {"embed.width", "memory.width"}),
    "torchvision": (lambda: VisionTransformer(32, 16, 2, 4, 48, 64), IMAGES, {"conv_proj.width"}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_residual_stream_of_torchs_attention_is_elastic(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, example, widths = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    supernet = Supernet.from_module(model, example).eval()
    assert widths <= {choice.name for choice in supernet.space.choices}
    with torch.no_grad(), supernet.active(supernet.space.largest()):
        torch.testing.assert_close(supernet(example), model(example), atol=1e-4, rtol=1e-4)
    spec = InputSpec.of_one(tuple(example.shape[1:]), example.dtype)
    for architecture in (supernet.space.smallest(), supernet.space.sample(np.random.default_rng(0))):
        plain = supernet.extract(architecture).eval()
        with torch.no_grad(), supernet.active(architecture):
            torch.testing.assert_close(supernet(example), plain(example))
        counts = NetworkCounter(supernet, spec).counts(supernet.space.indices([architecture]))
        assert counts.macs[0] == count_macs(plain, spec)
        assert counts.num_params[0] == count_params(plain)
    smallest = supernet.extract(supernet.space.smallest())
    export_onnx(smallest.eval(), spec)
    assert count_macs(smallest, spec) < 0.3 * count_macs(model, spec)
    with supernet.active(supernet.space.smallest()):
        supernet.train()(example).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in supernet.parameters())


def test_attention_with_keys_of_its_own_keeps_its_width_and_says_why() -> None:
    model = nn.Sequential(nn.Linear(5, 32), Biased(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 5))
    report = Supernet.from_module(model, torch.randn(2, 6, 5)).report
    assert report is not None
    assert not report["1.attention"].choices
    assert "keys of its own" in " ".join(report["1.attention"].reasons)


class Biased(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, add_bias_kv=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x)[0]
