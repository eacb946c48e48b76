from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.supernet import Supernet

BOTH, END, MIDDLE, NONE = (
    torch.tensor(rows)
    for rows in (
        [[1, 2, 3, 4, 0, 0], [5, 6, 0, 8, 9, 0]],
        [[1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 9, 0]],
        [[1, 2, 0, 0, 5, 6], [5, 6, 7, 8, 9, 1]],
        [[1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9, 1]],
    )
)


def layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)


class Padded(nn.Module):
    """Torch's encoder as it comes, and a mean over what is no padding."""

    def __init__(self, *, masked: bool = True, nested: bool = True) -> None:
        super().__init__()
        self.embed, self.head, self.masked = nn.Embedding(50, 32), nn.Linear(32, 5), masked
        self.encoder = nn.TransformerEncoder(layer(), 4, enable_nested_tensor=nested)

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(x, src_key_padding_mask=mask)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == 0
        x = self.encode(self.embed(ids), padding if self.masked else None)
        kept = (~padding).unsqueeze(-1).to(x)
        return self.head((x[:, : ids.shape[1]] * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


class Looped(Padded):
    """A loop of one's own over torch's layers, which are in a container inside a container."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"text": nn.ModuleList(layer() for _ in range(4))})

    def encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.encoder["text"]:  # type: ignore[union-attr]
            x = block(x, src_key_padding_mask=mask)
        return x


def unmasked() -> Padded:
    return Padded(masked=False)


@pytest.mark.parametrize("example", [BOTH, END, MIDDLE, NONE], ids=["both", "end", "middle", "none"])
@pytest.mark.parametrize("make", [Padded, Looped, unmasked])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor is True")
def test_what_is_elastic_in_a_transformer_does_not_depend_on_padding(
    make: Callable[[], Padded], example: Tensor
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    supernet = Supernet.from_module(model, example, max_choices=12).eval()
    names = {c.name: c.options for c in supernet.space.choices}
    row = "encoder.text" if make is Looped else "encoder.layers"
    assert names[f"{row}.depth"] == (2, 3, 4)
    assert {f"{row}.{n}.self_attn.heads" for n in range(4)} <= set(names)
    with torch.no_grad():
        for ids in (BOTH, END, MIDDLE, NONE):
            torch.testing.assert_close(supernet(ids), model(ids), rtol=1e-4, atol=1e-5)
            for n in range(2):
                architecture = supernet.space.sample(np.random.default_rng(n))
                with supernet.active(architecture):
                    active = supernet(ids)
                torch.testing.assert_close(supernet.extract(architecture).eval()(ids), active)


class Residual(nn.Module):
    def __init__(self, width: int, out: int | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, out or width))
        self.skip = nn.Linear(width, out) if out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)  # type: ignore[no-any-return]


class Alone(nn.Module):
    """A block that stands in no container."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block, self.head = nn.Linear(4, 16), Residual(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.first(x)))  # type: ignore[no-any-return]


def stage(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.Sequential(*blocks), nn.Linear(16, 3))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (Alone, None),
        (lambda: stage(Residual(16)), None),
        (lambda: stage(Residual(16), Residual(16)), (1, 2)),
        (lambda: stage(Residual(16, 16), Residual(16)), (0, 1)),
        (lambda: stage(Residual(16, 16), Residual(16), Residual(16), Residual(16)), (1, 2, 3)),
        (lambda: stage(*(Residual(16) for _ in range(5))), (2, 3, 4, 5)),
    ],
)
def test_at_least_half_of_a_container_stays(
    make: Callable[[], nn.Module], options: tuple[int, ...] | None
) -> None:
    supernet = Supernet.from_module(make(), torch.randn(3, 4))
    depths = [c.options for c in supernet.space.choices if c.name.endswith("depth")]
    assert depths == ([options] if options else [])
    smallest = supernet.extract(supernet.space.smallest())
    assert any(isinstance(module, Residual) for module in smallest.modules())
