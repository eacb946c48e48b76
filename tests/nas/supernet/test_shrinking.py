from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from fakes import tiny_network
from short_training import run_one_batch

from nas import ProgressiveShrinking, Recipe, Supernet
from nas.errors import StudyError
from nas.supernet.shrinking import choice_roles
from nas.tasks import Classification
from nas.testing import check_supernet_training
from nas.training.phases import Phase

CLASSES = Classification(10)


def names(phases: Sequence[Phase]) -> list[str]:
    return [phase.name for phase in phases]


def test_choices_are_told_apart_by_what_they_decide() -> None:
    roles = choice_roles(Supernet(tiny_network()))
    assert roles == {
        "width": "width",
        "kernel": "kernel",
        "depth": "depth",
        "0.kernel": "kernel",
        "1.kernel": "kernel",
    }


def test_shrinking_adds_kernels_then_depth_then_width() -> None:
    supernet = Supernet(tiny_network())
    phases = ProgressiveShrinking(num_random=8).phases(supernet, Recipe(epochs=10), CLASSES)
    assert names(phases) == ["largest", "elastic kernel", "elastic depth", "elastic width"]
    largest, roles = supernet.space.largest(), choice_roles(supernet)
    assert run_one_batch(supernet, phases[0]) == [largest]
    allowed: set[str] = set()
    for role, phase in zip(("kernel", "depth", "width"), phases[1:], strict=True):
        allowed.add(role)
        run = [a for seed in range(4) for a in run_one_batch(supernet, phase, seed)]
        # What a shallow network doesn't use is canonical, whatever its role.
        differing = {name for a in run for name in a if a[name] != largest[name] and a["depth"] == 2}
        assert {roles[name] for name in differing} <= allowed
        assert role == "depth" or role in {roles[name] for name in differing}
        assert len({a["depth"] for a in run}) == (1 if role == "kernel" else 3)


def test_shrinking_draws_all_kernels_alike_while_the_depth_is_the_largest() -> None:
    supernet = Supernet(tiny_network())
    elastic_kernel = ProgressiveShrinking(num_random=64).phases(supernet, Recipe(epochs=10), CLASSES)[1]
    run = [a for seed in range(4) for a in run_one_batch(supernet, elastic_kernel, seed)]
    largest = supernet.space.largest()
    for name in ("kernel", "0.kernel", "1.kernel"):
        assert np.mean([a[name] == largest[name] for a in run]) == pytest.approx(0.5, abs=0.15)


def test_shrinking_shares_out_the_recipes_epochs_and_slows_down() -> None:
    supernet = Supernet(tiny_network())
    recipe = Recipe(epochs=10, learning_rate=0.01)
    phases = ProgressiveShrinking(largest_share=0.4, shrinking_rate=0.5).phases(supernet, recipe, CLASSES)
    assert [phase.recipe.epochs for phase in phases] == [4, 2, 2, 2]
    assert [phase.recipe.learning_rate for phase in phases] == [0.01, 0.005, 0.005, 0.005]
    with pytest.raises(StudyError, match="at least 4"):
        ProgressiveShrinking().phases(supernet, Recipe(epochs=3), CLASSES)


def test_shrinking_learns_from_the_largest_as_the_first_phase_left_it() -> None:
    torch.manual_seed(0)
    supernet = Supernet(tiny_network())
    phases = ProgressiveShrinking(num_random=1).phases(
        supernet, Recipe(epochs=4, label_smoothing=0.0), CLASSES
    )
    head = supernet.module[-1]  # type: ignore[index]
    with torch.no_grad():
        head.bias[3] = 20.0  # type: ignore[union-attr, index]  # the first phase leaves: always class 3
    step = phases[1].step()
    with torch.no_grad():
        head.bias[3] = -20.0  # type: ignore[union-attr, index]  # the teacher doesn't follow
    images, threes = torch.randn(8, 1, 8, 8), torch.full((8,), 3)
    for made in (step, phases[2].step()):
        (loss,) = made(images, threes, torch.Generator().manual_seed(0))
        assert loss.item() > 15  # labels and teacher both say 3


def test_the_contract_is_kept() -> None:
    check_supernet_training(ProgressiveShrinking())


@pytest.mark.parametrize(
    "settings",
    [{"largest_share": 0.0}, {"largest_share": 1.0}, {"shrinking_rate": 0.0}, {"num_random": 0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"{next(iter(settings))}="):
        ProgressiveShrinking(**settings)
