"""The config of an extracted network of transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from nas.errors import ExportError
from nas.space import Architecture
from nas.supernet import Supernet
from nas.supernet.convert.example import tensors
from nas.supernet.convert.reference import difference

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = {"input_ids": torch.arange(12).view(2, 6)}
Options = dict[str, Any]


def bert() -> tuple[Any, dict[str, Tensor]]:
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**SMALL, vocab_size=50, max_position_embeddings=16)
    ), WORDS


def llama() -> tuple[Any, dict[str, Tensor]]:
    config = transformers.LlamaConfig(**SMALL, vocab_size=50, num_key_value_heads=2, use_cache=False)
    return transformers.LlamaForCausalLM(config), WORDS


def qwen() -> tuple[Any, dict[str, Tensor]]:
    """Its config has a list with one item for each layer."""
    config = transformers.Qwen3Config(
        **SMALL, vocab_size=50, num_key_value_heads=2, head_dim=8, use_cache=False
    )
    return transformers.Qwen3ForCausalLM(config), WORDS


def gemma() -> tuple[Any, dict[str, Tensor]]:
    """Multiplies by the root of its config's width, which stays what it was in the extracted network."""
    config = transformers.GemmaConfig(
        **SMALL, vocab_size=50, num_key_value_heads=4, head_dim=8, use_cache=False
    )
    return transformers.GemmaForCausalLM(config), WORDS


def t5() -> tuple[Any, dict[str, Tensor]]:
    """Its position biases hold numbers that could be taken for sizes."""
    config = transformers.T5Config(
        vocab_size=50,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        relative_attention_max_distance=32,
    )
    return transformers.T5EncoderModel(config), WORDS


def vit() -> tuple[Any, dict[str, Tensor]]:
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    config = transformers.ViTConfig(**SMALL, image_size=16, patch_size=8)
    return transformers.ViTForImageClassification(config), {"pixel_values": images}


def converted(model: nn.Module, example: Any) -> Supernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for (
            parameter
        ) in model.parameters():  # random weights are close to zero, so that little depends on heads
            nn.init.normal_(parameter, std=0.3)
    return Supernet.from_module(model.eval(), example).eval()


@torch.no_grad()
def check_round_trip(supernet: Supernet, architecture: Architecture, example: Any, folder: Path) -> Any:
    """Save, read, compare with the active subnet, and return what was read."""
    small: Any = supernet.extract(architecture)
    small.save_pretrained(folder)
    read = type(small).from_pretrained(folder).eval()
    with supernet.active(architecture):
        expected = tensors(supernet(**example))
    assert difference(tensors(small(**example)), expected) < 1e-5
    assert difference(tensors(read(**example)), expected) < 1e-5
    assert said(read) == said(small)
    return read


def said(model: Any) -> dict[str, Any]:
    """Return what a config says, where it was read from aside."""
    return {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}


def alike(supernet: Supernet, position: int, *endings: str) -> Architecture:
    """Return the largest architecture with one option for all choices of a kind."""
    changed = {c.name: c.options[position] for c in supernet.space.choices if c.name.endswith(endings)}
    return supernet.space.architecture({**supernet.space.largest(), **changed})


@pytest.mark.filterwarnings("ignore")  # on what transformers uses that will be gone from torch
@pytest.mark.parametrize(
    ("make", "smallest"),
    [
        (bert, {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}),
        (
            llama,
            {
                "hidden_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 8,
            },
        ),
        (t5, {"num_heads": 1, "d_kv": 8, "d_ff": 16, "d_model": 32, "relative_attention_max_distance": 32}),
        (qwen, {"hidden_size": 8, "num_hidden_layers": 1, "head_dim": 8, "layer_types": ["full_attention"]}),
        (vit, {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}),
    ],
)
def test_what_a_config_describes_is_saved_and_read(
    make: Callable[[], tuple[Any, Any]], smallest: Options, tmp_path: Path
) -> None:
    model, example = make()
    given = copy.deepcopy(model.config.to_dict())
    supernet = converted(model, example)
    whole = check_round_trip(supernet, supernet.space.largest(), example, tmp_path / "largest")
    assert {name: whole.config.to_dict()[name] for name in smallest} == {
        name: given[name] for name in smallest
    }
    small = check_round_trip(supernet, supernet.space.smallest(), example, tmp_path / "smallest")
    assert {name: getattr(small.config, name) for name in smallest} == smallest
    shallow = check_round_trip(supernet, alike(supernet, 0, ".depth"), example, tmp_path / "shallow")
    changed = {name for name, value in said(shallow).items() if given.get(name) != value}
    assert changed <= {
        "num_hidden_layers",
        "layer_types",
        "architectures",
        "dtype",
    }  # and nothing that needn't
    assert model.config.to_dict() == given


@pytest.fixture(scope="module")
def berts() -> Supernet:
    return converted(*bert())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"bert.encoder.layer.1.intermediate.dense.width": 16}, "one number for all layers.*64×32.*16×32"),
        ({"bert.encoder.layer.0.attention.self.heads": 2}, "one number for all layers"),
        ({f"bert.encoder.layer.{n}.attention.self.heads": 2 for n in (0, 1)}, "no config of its class"),
        ({"bert.pooler.dense.width": 8}, "no config of its class"),
    ],
)
def test_what_no_config_describes_refuses_to_be_saved(
    berts: Supernet, options: Options, reason: str, tmp_path: Path
) -> None:
    small: Any = berts.extract(berts.space.architecture({**berts.space.largest(), **options}))
    with pytest.raises(ExportError, match=reason):
        small.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    small(**WORDS)
    with pytest.raises(ExportError, match=reason):
        copy.deepcopy(small).save_pretrained(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_config_with_which_the_class_computes_something_else_is_refused(tmp_path: Path) -> None:
    model, example = gemma()
    supernet = converted(model, example)
    small: Any = supernet.extract(alike(supernet, 0, "embed_tokens.width"))
    with pytest.raises(ExportError, match="computes something else"):
        small.save_pretrained(tmp_path)
    assert small.config.to_dict() == model.config.to_dict()


class Wrapped(nn.Module):
    """As studies need it: a tensor in, a tensor out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = vit()[0]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_a_network_inside_of_another_is_saved_too(tmp_path: Path) -> None:
    images = vit()[1]["pixel_values"]
    supernet = converted(Wrapped(), images)
    small: Any = supernet.extract(supernet.space.smallest())
    small.model.save_pretrained(tmp_path)
    read = type(small.model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(read(pixel_values=images).logits, small(images))
