from __future__ import annotations

import itertools

import numpy as np
import pytest

from nas.choices import choice
from nas.space import Condition, SearchSpace


def all_rows(space: SearchSpace) -> np.ndarray:
    return np.array(list(itertools.product(*map(range, space.num_options))), dtype=np.int64)


@pytest.mark.parametrize("seed", range(12))
def test_cardinality_is_exact_on_random_conditional_spaces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(25):
        choices = tuple(choice(f"c{n}", *range(rng.integers(1, 4))) for n in range(6))
        conditions = {}
        for position in range(1, 6):
            if rng.random() < 0.7:
                alternatives = [
                    tuple(
                        Condition(f"c{other}", tuple(o for o in choices[other].options if rng.random() < 0.6))
                        for other in rng.integers(position, size=rng.integers(1, 3))
                    )
                    for _ in range(rng.integers(1, 4))
                ]
                conditions[f"c{position}"] = tuple(alternatives)
        space = SearchSpace(choices[::-1], conditions)
        assert space.cardinality() == len(np.unique(space.canonical(all_rows(space)), axis=0)), space


def test_blocks_within_blocks_are_counted() -> None:
    choices, conditions = [choice("depth", *range(1, 17))], {}
    for block in range(16):
        exists = Condition("depth", tuple(range(block + 1, 17)))
        choices.append(choice(f"b{block}.depth", 1, 2, 3))
        conditions[f"b{block}.depth"] = ((exists,),)
        for layer in range(3):
            deep = Condition(f"b{block}.depth", tuple(range(layer + 1, 4)))
            choices.append(choice(f"b{block}.{layer}.kernel", 1, 3))
            conditions[f"b{block}.{layer}.kernel"] = ((exists, deep),)
    expected = sum((2 + 4 + 8) ** depth for depth in range(1, 17))
    assert SearchSpace(tuple(choices), conditions).cardinality() == expected


def test_stages_under_one_switch_are_counted() -> None:
    choices, conditions = [choice("switch", 0, 1)], {}
    for stage in range(16):
        choices.append(choice(f"s{stage}.depth", 1, 2, 3, 4))
        for block in range(4):
            deep = Condition(f"s{stage}.depth", tuple(range(block + 1, 5)))
            choices.append(choice(f"s{stage}.{block}.kernel", 3, 5, 7))
            conditions[f"s{stage}.{block}.kernel"] = ((deep, Condition("switch", (1,))),)
    assert SearchSpace(tuple(choices), conditions).cardinality() == 4**16 + (3 + 9 + 27 + 81) ** 16


def test_a_long_chain_is_counted() -> None:
    names = [f"c{number}" for number in range(40)]
    conditions = {name: ((Condition(before, (1, 2, 3)),),) for before, name in itertools.pairwise(names)}
    space = SearchSpace(tuple(choice(name, 0, 1, 2, 3) for name in names), conditions)
    assert space.cardinality() == sum(3**length for length in range(41))
