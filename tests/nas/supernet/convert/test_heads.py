"""Attention of any class loses whole heads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from nas.evaluation import NetworkCounter
from nas.supernet import Supernet
from nas.supernet.convert.example import tensors
from nas.supernet.convert.reference import difference

WIDTH, HEADS = 32, 4
TOKENS = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))


class Fused(nn.Module):
    """Takes the size of a head from its input, as most attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.scale = HEADS, (WIDTH // HEADS) ** -0.5
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, length, width))


class Split(nn.Module):
    """One projection, split by a number of its own; causal."""

    def __init__(self) -> None:
        super().__init__()
        self.n_head, self.n_embd = HEADS, WIDTH
        self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.size()
        parts = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(n, length, self.n_head, width // self.n_head).transpose(1, 2) for t in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(n, length, width))


class Grouped(nn.Module):
    """Queries share keys and values, two by two."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim = WIDTH // HEADS
        self.q_proj, self.o_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.k_proj, self.v_proj = (nn.Linear(WIDTH, WIDTH // 2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj))
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1))


class Crossed(nn.Module):
    """Queries of a part of the input alone; keys and values in one layer; a norm over all heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.inner_dim = HEADS, WIDTH
        self.to_q, self.to_kv = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.norm, self.to_out = nn.LayerNorm(WIDTH), nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        q, (k, v) = self.to_q(x[:, :2]), self.to_kv(x).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        mixed = self.to_out(self.norm(y))
        return torch.cat([mixed, mixed, mixed], 1)


class Biased(nn.Module):
    """A table with a column per head, kept for later calls; a scale per head; weights that are read, not called."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.cache = HEADS, {}
        self.table = nn.Parameter(torch.randn(11, HEADS))
        self.logit_scale = nn.Parameter(torch.rand(HEADS, 1, 1))
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def bias(self, length: int) -> Tensor:
        if "bias" not in self.cache or self.training:
            places = torch.arange(length)
            self.cache["bias"] = self.table[places[:, None] - places + 5].permute(2, 0, 1)
        return self.cache["bias"]

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = F.linear(x, self.qkv.weight, self.qkv.bias)
        qkv = qkv.view(n, length, 3, self.num_heads, width // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.logit_scale
        y = (weights + self.bias(length)).softmax(-1) @ v
        return F.linear(y.transpose(1, 2).reshape(n, length, width), self.proj.weight, self.proj.bias)


class Sibling(nn.Module):
    """The layer behind the heads is not inside the module that makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.making, self.output = Making(), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.making(x)[0])


class Making(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size, self.all_head_size = HEADS, WIDTH // HEADS, WIDTH
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        shape = (*x.shape[:-1], self.num_attention_heads, self.attention_head_size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        weights = (q @ k.transpose(-2, -1) / self.attention_head_size**0.5).softmax(-1)
        return ((weights @ v).transpose(1, 2).reshape(*x.shape[:-1], self.all_head_size),)


class Encoder(nn.Module):
    def __init__(self, attention: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.embed, self.attention = nn.Linear(5, WIDTH), attention()
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        return self.head((x + self.attention(self.norm(x))).mean(1))


KINDS = {kind.__name__: kind for kind in (Fused, Split, Grouped, Crossed, Biased, Sibling)}


@pytest.fixture(scope="module")
def converted() -> dict[str, tuple[nn.Module, Supernet]]:
    found = {}
    for name, kind in KINDS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Encoder(kind).eval()
        found[name] = (model, Supernet.from_module(model, TOKENS).eval())
    return found


def attention_choice(supernet: Supernet) -> str:
    (name,) = (choice.name for choice in supernet.space.choices if choice.name.endswith(".heads"))
    return name


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_any_attention_loses_heads_exactly(
    name: str, converted: dict[str, tuple[nn.Module, Supernet]]
) -> None:
    model, supernet = converted[name]
    heads = HEADS // 2 if name == "Grouped" else HEADS
    assert max(supernet.space[attention_choice(supernet)].options) == heads
    torch.testing.assert_close(supernet(TOKENS), model(TOKENS))
    rng = np.random.default_rng(0)
    for architecture in [supernet.space.smallest(), *(supernet.space.sample(rng) for _ in range(8))]:
        plain = supernet.extract(architecture)
        with supernet.active(architecture):
            torch.testing.assert_close(supernet(TOKENS), plain(TOKENS), rtol=0, atol=1e-6)
        assert [type(m) for m in plain.modules() if "supernet.cut" in type(m).__module__] == []


@pytest.mark.parametrize("name", KINDS)
def test_costs_of_heads_are_tabulated(name: str, converted: dict[str, tuple[nn.Module, Supernet]]) -> None:
    supernet = converted[name][1]
    counter = NetworkCounter(supernet, tuple(TOKENS.shape[1:]))
    architectures = [supernet.space.smallest(), supernet.space.largest()]
    counts = counter.counts(supernet.space.indices(architectures))
    assert counter.tables is not None or name == "Biased"  # its own products depend on two choices at once
    for params, architecture in zip(counts.num_params, architectures, strict=True):
        assert params == sum(p.numel() for p in supernet.extract(architecture).parameters())
    assert counts.macs[0] < counts.macs[1]


def test_fewer_heads_are_those_of_a_network_whose_other_heads_are_silent(
    converted: dict[str, tuple[nn.Module, Supernet]],
) -> None:
    supernet = converted["Split"][1]
    silent: Any = copy.deepcopy(supernet.extract(supernet.space.largest()))
    name = attention_choice(supernet)
    with torch.no_grad():
        silent.attention.c_proj.weight[:, WIDTH // HEADS :] = 0
    one = supernet.space.architecture({**supernet.space.largest(), name: 1})
    torch.testing.assert_close(supernet.extract(one)(TOKENS), silent(TOKENS))


def test_the_extracted_attention_is_of_the_users_class(
    converted: dict[str, tuple[nn.Module, Supernet]],
) -> None:
    supernet = converted["Sibling"][1]
    one = supernet.space.architecture({**supernet.space.largest(), attention_choice(supernet): 1})
    making: Any = supernet.extract(one).attention.making  # type: ignore[union-attr]
    assert type(making) is Making
    assert (making.num_attention_heads, making.all_head_size) == (1, WIDTH // HEADS)
    assert making.query.out_features == WIDTH // HEADS
    assert not [attribute for attribute in vars(making) if "active" in attribute]


def test_kept_attention_keeps_its_heads() -> None:
    model = Encoder(lambda: nn.Sequential(Fused(), nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, WIDTH)))
    report = Supernet.from_module(model, TOKENS, keep=["attention.0.qkv"]).report
    assert report is not None
    assert "heads fixed: attention.0.qkv is to be kept" in report["attention.0"].reasons


class Forgetful(Fused):
    """Writes into itself what it saw, so that a later call depends on an earlier one of another length."""

    longest = 6

    def forward(self, x: Tensor) -> Tensor:
        self.longest = min(self.longest, x.shape[1])
        return super().forward(x) * (1.0 if self.longest == 6 else 2.0)


def test_what_a_forward_writes_into_itself_stays_as_it_was() -> None:
    model = Encoder(Forgetful).eval()
    supernet = Supernet.from_module(model, TOKENS).eval()
    torch.testing.assert_close(supernet(TOKENS), model(TOKENS))


def llama() -> tuple[nn.Module, dict[str, Tensor]]:
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return transformers.LlamaForCausalLM(config), {"input_ids": torch.arange(12).view(2, 6)}


def gpt2() -> tuple[nn.Module, dict[str, Tensor]]:
    config = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4, n_positions=16)
    return transformers.GPT2Model(config), {"input_ids": torch.arange(12).view(2, 6)}


def swin() -> tuple[nn.Module, dict[str, Tensor]]:
    """Of transformers, whose blocks write into themselves."""
    config = transformers.SwinConfig(
        image_size=16, patch_size=2, embed_dim=16, depths=[2], num_heads=[2], window_size=4
    )
    return transformers.SwinModel(config), {"pixel_values": torch.randn(2, 3, 16, 16)}


def vit() -> tuple[nn.Module, dict[str, Tensor]]:
    model = timm.models.VisionTransformer(16, 8, embed_dim=32, depth=1, num_heads=4, num_classes=3)
    return model, {"x": torch.randn(2, 3, 16, 16)}


@pytest.mark.filterwarnings("ignore")  # on what these libraries use that will be gone from torch
@pytest.mark.parametrize("make", [llama, gpt2, swin, vit])
@torch.no_grad()
def test_public_networks_lose_heads_exactly(make: Callable[[], tuple[nn.Module, dict[str, Tensor]]]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, example = make()
    model.eval()
    supernet = Supernet.from_module(model, example).eval()
    assert any(choice.name.endswith(".heads") for choice in supernet.space.choices)
    assert difference(tensors(supernet(**example)), tensors(model(**example))) < 1e-5
    smallest = supernet.space.smallest()
    plain = supernet.extract(smallest)
    assert type(plain) is type(model)
    with supernet.active(smallest):
        assert difference(tensors(supernet(**example)), tensors(plain(**example))) < 1e-5
