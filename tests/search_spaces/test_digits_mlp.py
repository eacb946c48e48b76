from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import DamagedFileError
from search_spaces.digits_mlp import (
    FILE,
    digits_mlp,
    digits_mlp_space,
    digits_mlp_table,
    implementation_cost,
)


def test_the_space_is_every_network_of_one_to_three_layers() -> None:
    space = digits_mlp_space()
    assert space.cardinality() == 6 + 6**2 + 6**3
    shallow = {"depth": 1, "layer1.width": 8, "layer2.width": 4, "layer3.width": 4}
    assert space.architecture(shallow) == space.architecture({**shallow, "layer3.width": 128})


def test_cost_by_hand() -> None:
    """40 units in one layer: 64 × 40 + 40 × 10 weights, 50 biases."""
    assert implementation_cost((40,)) == 139 * (2960 + 50) + 2960


@pytest.mark.parametrize("widths", [(4,), (8, 32), (64, 4, 128)])
def test_cost_counts_what_the_network_has(widths: tuple[int, ...]) -> None:
    parameters = list(digits_mlp(widths).parameters())
    weights = sum(p.numel() for p in parameters if p.ndim == 2)
    assert implementation_cost(widths) == 139 * sum(p.numel() for p in parameters) + weights


def test_the_network_maps_pixels_to_logits() -> None:
    network = digits_mlp((16, 8))
    assert network(torch.zeros(5, 64)).shape == (5, 10)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_the_table_holds_what_the_file_says() -> None:
    table = digits_mlp_table()
    lines = [line.split(",") for line in FILE.read_text().splitlines()]
    cost, *accuracies = next(line[1:] for line in lines if line[0] == "16-32")
    found = table.evaluate(
        table.space.architecture({"depth": 2, "layer1.width": 16, "layer2.width": 32, "layer3.width": 4})
    )
    assert found["cost"].value == int(cost) == implementation_cost((16, 32))
    assert found["error"].value == pytest.approx(1 - np.mean([float(a) for a in accuracies]))
    assert found["error"].repeats == len(accuracies) >= 5


def test_the_table_trades_error_for_cost() -> None:
    table = digits_mlp_table()
    assert table.counted == {"cost"}
    assert 5 <= len(table.true_front) <= 30
    assert table.values[:, 0].min() < 0.05
    assert table.spread is not None
    assert (table.spread[:, 0] > 0).all()
    assert (table.spread[:, 1] == 0).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text.replace("accuracy_seed", "seed"),
        lambda text: text.replace("16-32", "16-33"),
        lambda text: "",
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "digits.csv"
    path.write_text(damage(FILE.read_text()))  # type: ignore[operator]
    with pytest.raises(DamagedFileError, match=r"digits\.csv .* benchmarks\.digits_table"):
        digits_mlp_table(path)
