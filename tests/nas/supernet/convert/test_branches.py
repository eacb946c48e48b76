from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import ConversionError
from nas.supernet import Supernet

NEVER = 1e6
"""A mean that no variation of the example has."""


class Branching(nn.Module):
    """A network whose middle is to be written."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1)
        self.inner = nn.Sequential(nn.Conv2d(32, 48, 1), nn.ReLU(), nn.Conv2d(48, 32, 1))
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor, extra: Tensor | None = None) -> Tensor:
        x = F.relu(self.stem(images))
        x = self.middle(x, images, extra)
        return self.head(self.inner(x).mean((2, 3)))

    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        raise NotImplementedError


class BySize(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.a(x) if images.shape[-1] > 32 else self.b(x)


class ByMean(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return x + (self.a(x) if images.mean() > 0 else self.b(x))


class ByHugeMean(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.a(x) if images.mean() > NEVER else self.b(x)


class ByTraining(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.a(x) if self.training else self.b(x)


class ByArgument(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.b(x) if extra is None else self.a(x) * extra


class InAHolder(Branching):
    """The layer lies in a module that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = nn.Module()
        self.holder.conv = nn.Conv2d(32, 32, 1)

    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.holder.conv(x) if images.mean() > NEVER else self.b(self.a(x))  # type: ignore[no-any-return]


class ByIndex(Branching):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Conv2d(32, 32, 1) for _ in range(2))

    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.b(self.a(x)) + self.experts[int(images.mean() > NEVER)](x)  # type: ignore[no-any-return]


class ByOwnParameter(Branching):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(32, 1, 1))

    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.a(x) * self.scale if images.mean() > NEVER else self.b(self.a(x))


class OtherOrder(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        return self.b(self.a(x)) if images.mean() > 0 else self.a(self.b(x))


class Flipped(Branching):
    """No layer tells the branches apart."""

    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        x = self.b(F.relu(self.a(x)))
        return x.flip(1) if images.mean() > 0 else x


class Sliced(Branching):
    def middle(self, x: Tensor, images: Tensor, extra: Tensor | None) -> Tensor:
        x = self.b(F.relu(self.a(x)))
        return torch.cat([x[:, 16:], x[:, :16]], 1) if images.shape[-1] > 16 else x


IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
BRIGHT, DARK, LARGE, HUGE = IMAGES.abs(), -IMAGES.abs(), IMAGES.repeat(1, 1, 3, 3), IMAGES + 2 * NEVER
EXTRA = torch.full((2, 1, 1, 1), 2.0)
CASES: list[tuple[Callable[[], Branching], object, list[tuple[Tensor, ...]], set[str]]] = [
    # how to build it, the example, what else to run it on, and layers whose width must stay elastic
    (BySize, LARGE, [(IMAGES,)], {"stem", "a", "b", "inner.0"}),
    (BySize, IMAGES, [(LARGE,)], {"inner.0"}),
    (BySize, [IMAGES, LARGE], [], {"stem", "a", "b", "inner.0"}),
    (ByMean, BRIGHT, [(DARK,)], {"stem", "a", "b", "inner.0"}),
    (ByHugeMean, IMAGES, [(HUGE,)], {"inner.0"}),
    (ByHugeMean, [IMAGES, (HUGE,), (HUGE,)], [(HUGE,)], {"stem", "a", "b", "inner.0"}),
    (ByTraining, IMAGES, [], {"stem", "a", "b", "inner.0"}),
    (ByArgument, (IMAGES, EXTRA), [(IMAGES,)], {"stem", "a", "b", "inner.0"}),
    (ByArgument, IMAGES, [(IMAGES, EXTRA)], {"inner.0"}),
    (InAHolder, IMAGES, [(HUGE,)], {"inner.0"}),
    (ByIndex, IMAGES, [(HUGE,)], {"inner.0"}),
    (ByOwnParameter, IMAGES, [(HUGE,)], {"inner.0"}),
    (OtherOrder, BRIGHT, [(DARK,)], {"stem", "a", "b", "inner.0"}),
    (Flipped, BRIGHT, [(DARK,)], {"stem", "a", "inner.0"}),
    (Sliced, IMAGES, [(LARGE,)], {"stem", "a", "inner.0"}),
]


@pytest.mark.parametrize(("make", "example", "others", "elastic"), CASES)
def test_every_branch_computes_what_it_did_and_runs_in_every_architecture(
    make: Callable[[], Branching], example: object, others: list[tuple[Tensor, ...]], elastic: set[str]
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    supernet = Supernet.from_module(model, example)
    report = supernet.report
    assert report is not None
    assert {path for path in ("stem", "a", "b", "inner.0") if report[path].choices} >= elastic
    first = example[0] if isinstance(example, list) else example
    given = [first if isinstance(first, tuple) else (first,), *others]
    draws = [supernet.space.sample(np.random.default_rng(n)) for n in range(3)]
    for mode in (True, False):
        model.train(mode), supernet.train(mode)
        for inputs in given:
            with torch.no_grad():
                torch.testing.assert_close(supernet(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)
                for architecture in [supernet.space.smallest(), *draws]:
                    with supernet.active(architecture):
                        active = supernet(*inputs)
                    torch.testing.assert_close(supernet.extract(architecture)(*inputs), active)


@pytest.mark.parametrize(
    ("make", "layer"),
    [(ByHugeMean, "a"), (InAHolder, "holder.conv"), (ByIndex, "experts.1"), (ByOwnParameter, "scale")],
)
def test_a_layer_that_no_branch_uses_is_named(make: Callable[[], Branching], layer: str) -> None:
    report = Supernet.from_module(make(), IMAGES).report
    assert report is not None
    assert f"{layer}, which the example doesn't use, may use them" in report["stem"].reasons[-1]


def test_an_empty_list_of_examples_is_refused() -> None:
    with pytest.raises(ConversionError, match="empty list"):
        Supernet.from_module(ByMean(), [])
