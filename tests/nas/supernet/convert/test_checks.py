from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import ConversionError
from nas.supernet import Supernet
from nas.supernet.convert import probe


class Cancelling(nn.Module):
    """Single precision loses most digits of its output, and the order of sums decides which."""

    def __init__(self, *, single: bool) -> None:
        super().__init__()
        self.first, self.last, self.single = nn.Linear(4, 64), nn.Linear(64, 3), single

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.first(x).relu())
        x = x.float() if self.single else x
        return (x + 1e3) - 1e3


@pytest.mark.parametrize("single", [False, True])
def test_rounding_is_no_reason_to_refuse_a_network(single: bool) -> None:
    supernet = Supernet.from_module(Cancelling(single=single), torch.randn(256, 4))
    assert [c.name for c in supernet.space.choices] == ["first.width"]


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, 32)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [{"boxes": self.backbone(image)} for image in images]


@pytest.mark.parametrize(
    ("model", "example", "settings", "said"),
    [
        (Detector(), ([torch.randn(3, 4)],), {}, "as detection networks do.*Convert the part"),
        (nn.Linear(4, 4), [torch.randn(3, 4), torch.randn(3, 5)], {}, r"shape \(3, 5\).*goes into a tuple"),
        (nn.GRU(4, 6, batch_first=True), torch.randn(2, 3, 4), {}, r"\(they are the output of the network\)"),
        (
            nn.Sequential(nn.Linear(4, 32), nn.Linear(32, 3)),
            torch.randn(2, 4),
            {"keep": ["0", "1"]},
            "keep fewer",
        ),
    ],
)
def test_why_a_network_is_refused_is_said_with_what_to_do(
    model: nn.Module, example: object, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConversionError, match=said):
        Supernet.from_module(model, example, **settings)  # type: ignore[arg-type]


def test_a_conversion_says_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "nas.supernet.convert"):
        Supernet.from_module(nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)), torch.randn(2, 4))
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "trying 1 possible choices" in said
    assert "0 of 1 possible choices tried" in said
