from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest

from nas.choices import Choice, choice
from nas.errors import SpaceError
from nas.space import Architecture, Condition, SearchSpace


def all_rows(space: SearchSpace) -> np.ndarray:
    return np.array(list(itertools.product(*map(range, space.num_options))), dtype=np.int64)


def nested() -> SearchSpace:
    """Two stages: the depth of each switches blocks; a block's own depth switches an inner choice."""
    return SearchSpace(
        (
            choice("depth", 1, 2, 3),
            choice("b1.depth", 0, 1),
            choice("b1.inner", "a", "b", "c"),
            choice("b2.kernel", 3, 5),
            choice("free", True, False),
        ),
        {
            "b1.depth": ((Condition("depth", (2, 3)),),),
            "b1.inner": ((Condition("depth", (2, 3)), Condition("b1.depth", (1,))),),
            "b2.kernel": ((Condition("depth", (3,)),),),
        },
    )


def shared() -> SearchSpace:
    """``x`` matters under either of two conditions, which are themselves conditional."""
    return SearchSpace(
        (
            choice("x", 1, 2, 3),
            choice("p", 0, 1, 2),
            choice("q", 0, 1),
            choice("r", 0, 1),
            choice("lonely", 1, 2),
        ),
        {
            "q": ((Condition("p", (1, 2)),),),
            "x": ((Condition("q", (1,)),), (Condition("r", (1,)), Condition("p", (2,)))),
        },
    )


def chain() -> SearchSpace:
    """Each choice is active only when the one after it, listed later, has its last option."""
    names = ["e", "d", "c", "b", "a"]
    return SearchSpace(
        tuple(choice(name, 0, 1, 2) for name in names),
        {name: ((Condition(controller, (2,)),),) for name, controller in itertools.pairwise(names)},
    )


def never() -> SearchSpace:
    """``x`` needs two options of one choice at once, and ``y`` has no alternative at all."""
    return SearchSpace(
        (choice("p", 0, 1), choice("x", 1, 2, 3), choice("y", 1, 2)),
        {"x": ((Condition("p", (0,)), Condition("p", (1,))),), "y": ()},
    )


SPACES = [nested, shared, chain, never, lambda: SearchSpace((choice("a", 1, 2), choice("b", "x")))]


def test_options_come_back_from_json_as_they_went() -> None:
    space = SearchSpace((Choice("rate", (0.5, np.float64(0.25))), Choice("width", (1, np.int64(2)))))
    for architecture in (space.smallest(), space.largest()):
        assert space.architecture(json.loads(json.dumps(dict(architecture)))) == architecture


def test_one_and_true_are_different_options() -> None:
    space = SearchSpace((choice("bias", True, False), choice("width", 1, 2)))
    with pytest.raises(SpaceError, match="no option 1"):
        space.architecture({"bias": 1, "width": 1})
    with pytest.raises(SpaceError, match="no option True"):
        space.architecture({"bias": True, "width": True})
    with pytest.raises(SpaceError, match=r"no option 1\.0"):
        space.architecture({"bias": True, "width": 1.0})


def test_an_unknown_option_names_what_is_known() -> None:
    space = SearchSpace((choice("width", 16, 32),))
    with pytest.raises(SpaceError, match=r"'width'.*24.*\(16, 32\)"):
        space.architecture({"width": 24})


def test_an_architecture_sets_every_choice_and_no_other() -> None:
    space = SearchSpace((choice("width", 16, 32), choice("depth", 1, 2)))
    with pytest.raises(SpaceError, match=r"\['depth'\] are missing"):
        space.architecture({"width": 16})
    with pytest.raises(SpaceError, match=r"'breadth'.*no choice of this space"):
        space.architecture({"width": 16, "depth": 1, "breadth": 1})


def test_two_choices_of_one_name_are_refused() -> None:
    with pytest.raises(SpaceError, match="'a' is in the space twice"):
        SearchSpace((choice("a", 1, 2), choice("a", 3, 4)))


@pytest.mark.parametrize(
    "conditions",
    [
        {"a": ((Condition("nowhere", (1,)),),)},
        {"nowhere": ((Condition("a", (1,)),),)},
        {"a": ((Condition("b", (99,)),),)},
        {"a": ((Condition("b", (True,)),),)},
    ],
)
def test_conditions_are_about_known_choices_and_options(conditions: dict) -> None:
    with pytest.raises(SpaceError):
        SearchSpace((choice("a", 1, 2), choice("b", 1, 2)), conditions)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_cyclic_conditions_are_refused(length: int) -> None:
    names = [f"c{number}" for number in range(length)]
    conditions = {name: ((Condition(names[i - 1], (1,)),),) for i, name in enumerate(names)}
    with pytest.raises(SpaceError, match="cycle"):
        SearchSpace(tuple(choice(name, 1, 2) for name in names), conditions)


def test_a_switched_off_choice_does_not_make_another_network() -> None:
    space = nested()
    off = {"depth": 1, "b1.depth": 1, "b1.inner": "c", "b2.kernel": 5, "free": True}
    plain = {"depth": 1, "b1.depth": 0, "b1.inner": "a", "b2.kernel": 3, "free": True}
    assert space.architecture(off) == space.architecture(plain)
    assert space.architecture(off).id == space.architecture(plain).id
    assert dict(space.architecture(off)) == plain


def test_a_condition_on_an_inactive_choice_does_not_hold() -> None:
    space = chain()
    row = np.array([[2, 2, 2, 2, 1]])  # a is 1, so b is off; c, d and e hang on it
    assert space.active(row).tolist() == [[False, False, False, False, True]]


@pytest.mark.parametrize("make", SPACES)
def test_one_id_per_canonical_form_and_cardinality_counts_them(make: Callable[[], SearchSpace]) -> None:
    space = make()
    rows = all_rows(space)
    canonical = {tuple(row) for row in space.canonical(rows)}
    architectures = space.from_indices(rows)
    assert len({a.id for a in architectures}) == len(set(architectures)) == len(canonical)
    assert space.cardinality() == len(canonical)


@pytest.mark.parametrize("make", SPACES)
def test_canonical_form_is_stable(make: Callable[[], SearchSpace]) -> None:
    space = make()
    canonical = space.canonical(all_rows(space))
    assert np.array_equal(space.canonical(canonical), canonical)
    assert np.array_equal(space.indices(space.from_indices(canonical)), canonical)


def test_a_space_of_more_than_1e20_architectures_works() -> None:
    choices = tuple(choice(f"c{number}", *range(10)) for number in range(21))
    conditions = {f"c{number}": ((Condition("c0", (9,)),),) for number in range(11, 21)}
    space = SearchSpace(choices, conditions)
    assert space.cardinality() == 9 * 10**10 + 10**20
    rng = np.random.default_rng(0)
    assert len({space.sample(rng) for _ in range(100)}) == 100
    assert space.encode(space.sample_indices(5, rng)).shape == (5, 210)


def test_combinations_are_numbered_in_the_order_of_a_table() -> None:
    space = nested()
    numbers = np.arange(space.num_combinations)
    assert np.array_equal(space.combinations(numbers), all_rows(space))
    assert np.array_equal(space.combination_numbers(all_rows(space)), numbers)


@pytest.mark.parametrize("num_options", [1, 2])
def test_combinations_of_a_hundred_choices_have_numbers(num_options: int) -> None:
    one = [choice(f"c{number}", *range(num_options)) for number in range(97)]
    space = SearchSpace((choice("first", 1, 2, 3), *one, choice("last", 1, 2)))
    numbers = space.combination_numbers(space.indices([space.smallest(), space.largest()]))
    assert numbers.tolist() == [0, space.num_combinations - 1] == [0, 3 * num_options**97 * 2 - 1]
    if num_options == 1:
        assert np.array_equal(space.combination_numbers(space.combinations(np.arange(6))), np.arange(6))


@pytest.mark.parametrize("make", SPACES)
def test_an_encoding_is_one_hot_and_zero_where_inactive(make: Callable[[], SearchSpace]) -> None:
    space = make()
    rows = all_rows(space)
    encodings = space.encode(rows)
    assert encodings.shape == (len(rows), space.num_options.sum())
    parts = np.split(encodings, np.cumsum(space.num_options)[:-1], axis=1)
    sums = np.stack([part.sum(axis=1) for part in parts], axis=1)
    assert np.array_equal(sums, space.active(rows))
    for column, part in enumerate(parts):
        on = space.active(rows)[:, column]
        assert np.array_equal(part[on].argmax(axis=1), rows[on, column])


def test_equal_encodings_mean_equal_networks() -> None:
    space = shared()
    rows = all_rows(space)
    num_encodings = len(np.unique(space.encode(rows), axis=0))
    assert num_encodings == space.cardinality()


def test_samples_are_canonical_and_reach_every_option() -> None:
    space = nested()
    rows = space.sample_indices(500, np.random.default_rng(0))
    assert np.array_equal(space.canonical(rows), rows)
    assert all(set(rows[:, j]) == set(range(count)) for j, count in enumerate(space.num_options))


def test_smallest_and_largest_go_by_size_not_by_order() -> None:
    space = SearchSpace(
        (choice("width", 32, 8, 16), choice("act", "relu", "gelu", "silu"), choice("r", 0.5, 0.1))
    )
    assert dict(space.smallest()) == {"width": 8, "act": "relu", "r": 0.1}
    assert dict(space.largest()) == {"width": 32, "act": "silu", "r": 0.5}


def test_an_architecture_is_a_hashable_value_with_a_stable_id() -> None:
    space = SearchSpace((choice("a", 1, 2), choice("b", "x", "y")))
    one, same = space.architecture({"a": 1, "b": "x"}), space.architecture({"b": "x", "a": 1})
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, space.largest()}) == 2
    assert one != {"a": 1, "b": "x"}
    assert one == Architecture(json.loads(json.dumps(dict(one))))


def test_a_space_is_described_in_json_that_tells_every_change() -> None:
    described = [json.dumps(make().describe(), sort_keys=True) for make in SPACES]
    assert len(set(described)) == len(SPACES)
    narrower = SearchSpace((choice("a", 1), choice("b", "x")))
    assert narrower.describe() != SPACES[-1]().describe()
