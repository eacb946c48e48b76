from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from fakes import NearestSurrogate, tiny_study
from torch import nn

from nas import Constraint, Int8, LatencyMs, Macs, Recipe, SurrogateSearch, Winners
from nas.errors import ObjectiveError, StudyError
from nas.search import LocalSearch, ResponseSurfaceSearch, TwoStage
from nas.search.stopping import Stopping
from nas.space import SearchSpace
from nas.study import Trust
from nas.supernet import SandwichRule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recipe(epochs=1.5), "Recipe has epochs=1.5: an integer"),  # type: ignore[arg-type]
        (lambda: Winners(passes=Int8()), "passes=a value of type Int8: a tuple"),  # type: ignore[arg-type]
        (lambda: Winners(passes=(Int8,)), r"passes\[0\]=the class Int8"),  # type: ignore[arg-type]
        (lambda: Winners(recipe=None), "recipe=None"),  # type: ignore[arg-type]
        (lambda: Winners(count="3"), "count='3'"),  # type: ignore[arg-type]
        (lambda: Stopping(minutes="3"), "minutes='3': a number"),  # type: ignore[arg-type]
        (lambda: Stopping(plateau="3"), "plateau='3': a number"),  # type: ignore[arg-type]
        (lambda: Stopping(horizon=2.5), "horizon=2.5: an integer"),  # type: ignore[arg-type]
        (lambda: SandwichRule(num_random="2"), "num_random='2': an integer"),  # type: ignore[arg-type]
        (lambda: LatencyMs(short_seconds="1"), "short_seconds='1': a number"),  # type: ignore[arg-type]
        (lambda: Recipe(epochs=1, augment=3), "augment=3: a transform"),  # type: ignore[arg-type]
        (lambda: Recipe(epochs=1, augment=nn.Identity), "augment=the class Identity"),  # type: ignore[arg-type]
        (lambda: Recipe(epochs=1, learning_rate="1"), "learning_rate='1': a number"),  # type: ignore[arg-type]
        (lambda: Recipe(epochs=1, weight_decay=None), "weight_decay=None: a number"),  # type: ignore[arg-type]
        (lambda: Recipe(epochs=1, ema_decay="0.9"), "ema_decay='0.9': a number"),  # type: ignore[arg-type]
        (lambda: Trust(recipe=3), "recipe=3: a Recipe or None"),  # type: ignore[arg-type]
        (lambda: SurrogateSearch("Mixture"), "surrogate='Mixture': a class"),  # type: ignore[arg-type]
        (lambda: SurrogateSearch(NearestSurrogate, batch_size=2.5), "batch_size=2.5"),  # type: ignore[arg-type]
        (lambda: ResponseSurfaceSearch("Mixture"), "surrogate='Mixture': a class"),  # type: ignore[arg-type]
        (lambda: LocalSearch(num_startup=2.5), "num_startup=2.5"),  # type: ignore[arg-type]
        (lambda: TwoStage(LocalSearch, (("a",), ("b",)), 3), "inner=the class LocalSearch"),  # type: ignore[arg-type]
    ],
)
def test_so_are_a_studys_parts(make: Callable[[], object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        make()


def test_a_constraint_is_on_an_instance() -> None:
    with pytest.raises(ObjectiveError, match="neither counted nor measured"):
        Constraint(Macs, 1e6)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf])
def test_a_limit_is_finite(limit: float) -> None:
    with pytest.raises(ObjectiveError, match="give a finite number"):
        Constraint(Macs(), at_most=limit)


def test_parts_of_a_users_own_need_the_methods_alone() -> None:
    class Own:
        name = "own"

        def load(self) -> None: ...

        def sampler(self, problem: object, seed: int) -> None: ...

        def phases(self, supernet: object, recipe: Recipe) -> None: ...

    class OwnPass:
        name = "own"
        works_on = "file"
        trains = False

        def choices(self) -> SearchSpace:
            return SearchSpace(())

        def apply(self, model: object, options: object, lab: object) -> None: ...

    study = tiny_study(data=Own(), strategy=Own(), training=Own(), winners=Winners(passes=(OwnPass(),)))
    assert isinstance(study.training, Own)


def test_winners_are_at_least_one_and_their_variants_have_names_of_their_own() -> None:
    with pytest.raises(StudyError, match="at least one"):
        Winners(count=0)
    with pytest.raises(StudyError, match="same name"):
        Winners(passes=(Int8(), Int8(num_images=9)))
    with pytest.raises(StudyError, match="same name"):
        Winners(passes=(Int8(name="fp32"),))
    assert len(Winners(passes=(Int8(), Int8(num_images=9, name="int8-few"))).passes) == 2


@pytest.mark.parametrize("name", ["", "a/b", "..", "two\nlines", "x" * 200, None, 3, "\ud800"])
def test_a_pass_has_the_name_of_a_file(name: object) -> None:
    with pytest.raises(StudyError, match="a pass is named"):
        Winners(passes=(Int8(name=name),))  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", ["5", None, True, [1], 10**400])
def test_a_limit_is_a_number(limit: object) -> None:
    with pytest.raises(ObjectiveError, match="give a finite number"):
        Constraint(Macs(), limit)  # type: ignore[arg-type]
