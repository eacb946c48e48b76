from __future__ import annotations

import pytest
import torch

from nas import choice
from nas.choices import Choice, Option
from nas.errors import SpaceError
from nas.supernet.attention_mask import DIRECTIONS, AttentionMask
from nas.supernet.token_layers import HeadMixing

PADDING = torch.tensor([[0.0, 0.0, 0.0, -1e4], [0.0, 0.0, 0.0, 0.0]])[:, None, None, :]


def mix(mask: AttentionMask, tokens: torch.Tensor) -> torch.Tensor:
    mixed: torch.Tensor = HeadMixing(2, 4)(tokens, tokens, tokens, mask(PADDING))
    return mixed


def test_no_distance_and_both_directions_are_plain_attention() -> None:
    tokens = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        mix(AttentionMask(0.0, "both"), tokens), HeadMixing(2, 4)(tokens, tokens, tokens, PADDING)
    )


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_score_loses_its_distance_and_the_other_direction_is_hidden(
    distance: float, direction: str
) -> None:
    got = AttentionMask(distance, direction)(PADDING).expand(2, 1, 4, 4).softmax(-1)
    for item, length in ((0, 3), (1, 4)):
        for query in range(length):
            seen = {"both": range(length), "forward": range(query + 1), "backward": range(query, length)}[
                direction
            ]
            expected = torch.zeros(4)
            for key in seen:
                expected[key] = torch.tensor(-distance * abs(query - key)).exp()
            assert torch.allclose(got[item, 0, query], expected / expected.sum(), atol=1e-6)


def test_the_forward_mask_lets_no_token_see_what_follows() -> None:
    tokens = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 2] += 1
    before, after = (mix(AttentionMask(0.5, "forward"), one) for one in (tokens, changed))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_sentence_of_padding_alone_stays_finite(direction: str) -> None:
    assert AttentionMask(1.5, direction)(torch.full((1, 1, 1, 4), -1e4)).softmax(-1).isfinite().all()


@pytest.mark.parametrize(
    ("distance", "direction"),
    [
        (-0.1, "both"),
        (float("inf"), "both"),
        (True, "both"),
        ("0.5", "both"),
        (choice("d", 0.0, -1.0), "both"),
        (0.5, "left"),
        (0.5, choice("e", "both", "up")),
    ],
)
def test_an_option_that_is_no_mask_is_a_sentence(
    distance: Option | Choice, direction: Option | Choice
) -> None:
    with pytest.raises(SpaceError, match="is expected"):
        AttentionMask(distance, direction)
