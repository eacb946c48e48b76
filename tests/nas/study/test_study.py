from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from fakes import FewDigits, NearestSurrogate, tiny_network, tiny_study
from optuna.samplers import BaseSampler
from torch import nn

from nas import Accuracy, Constraint, FromScratch, Int8, LatencyMs, Macs, Recipe, SurrogateSearch, Winners
from nas.errors import ObjectiveError, StudyError
from nas.evaluation.proxy import ProxySubset
from nas.evaluation.zero_cost import ZeroCost
from nas.objective import Objective
from nas.search import LocalSearch, OptunaSampler, ResponseSurfaceSearch, TwoStage
from nas.search.stopping import Stopping
from nas.space import SearchSpace
from nas.strategy import Problem, Strategy
from nas.study import Trust
from nas.supernet import SandwichRule


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "named"),
        ({"name": "a/b"}, "named"),
        ({"name": ".hidden"}, "named"),
        ({"name": "two words"}, "named"),
        ({"name": "line\n"}, "named"),
        ({"objectives": ()}, "no objectives"),
        ({"objectives": (Accuracy(), Macs(), Macs())}, "two objectives of one name"),
        ({"objectives": (Macs(), Accuracy())}, "put a measured quality"),
        ({"evaluations": 0}, "at least 1"),
        ({"evaluations": -3}, "at least 1"),
        ({"recalibration": -1}, "recalibrates on -1 items: 0 or more"),
        ({"seed": -1}, "seed -1: it must be from 0 to 2147483647"),
        ({"seed": 2**31}, "from 0 to 2147483647"),
        ({"recipe": Recipe(1, reduced_space=True)}, r"reduced_space=True.* training=FromScratch\(\)"),
    ],
)
def test_a_study_that_can_not_be_run_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        tiny_study(**changes)


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"prior": ("runs/earlier",)}, "prior"),
        ({"zero_cost": ZeroCost(), "training": FromScratch()}, "zero_cost"),
    ],
)
@pytest.mark.parametrize(
    "strategy",
    [
        ResponseSurfaceSearch(NearestSurrogate),
        TwoStage(SurrogateSearch(NearestSurrogate), (("*",), ("a",)), 4),
        LocalSearch(4),
        OptunaSampler("RandomSampler"),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_a_strategy_that_would_ignore_what_is_known_is_refused(
    strategy: Strategy, told: dict[str, object], what: str
) -> None:
    with pytest.raises(StudyError) as refused:
        tiny_study(strategy=strategy, **told)
    assert str(refused.value) == (
        f"study 'tiny' has {what} and the strategy {type(strategy).__name__}, which learns nothing from elsewhere: "
        f"leave {what} out, or give it SurrogateSearch."
    )


def test_a_strategy_of_a_user_s_may_say_that_it_uses_what_is_known() -> None:
    class Learning:
        uses_knowledge = True

        def sampler(self, problem: Problem, seed: int) -> BaseSampler:
            return LocalSearch(4).sampler(problem, seed)

    assert tiny_study(strategy=Learning(), prior=("runs/earlier",)).prior


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": tiny_network()}, "network=a value of type Sequential: a function .* not called"),
        ({"network": None}, "network=None"),
        ({"data": FewDigits}, "data=the class FewDigits: an instance with load"),
        ({"data": "digits"}, "data='digits'"),
        ({"objectives": (Accuracy, Macs)}, r"objectives\[0\]=the class Accuracy: an instance"),
        ({"objectives": (Accuracy(), "macs")}, r"objectives\[1\]='macs'"),
        ({"objectives": Accuracy()}, "objectives=a value of type Accuracy: a tuple"),
        ({"objectives": [Accuracy()]}, "objectives=a value of type list: a tuple"),
        ({"constraints": Constraint(Macs(), 1e6)}, "constraints=a value of type Constraint: a tuple"),
        ({"constraints": (Macs(),)}, r"constraints\[0\]=a value of type Macs"),
        ({"warm_start": {"width": 2}}, "warm_start=a value of type dict: a tuple"),
        ({"warm_start": ("width",)}, r"warm_start\[0\]='width'"),
        ({"recipe": None}, "recipe=None: a Recipe"),
        ({"trust": None}, "trust=None: an instance such as Trust"),
        ({"winners": None}, "winners=None: an instance such as Winners"),
        ({"stopping": None}, "stopping=None"),
        ({"proxy": ProxySubset}, "proxy=the class ProxySubset"),
        ({"strategy": NearestSurrogate}, "strategy=the class NearestSurrogate"),
        ({"strategy": SurrogateSearch}, "strategy=the class SurrogateSearch"),
        ({"training": SandwichRule}, "training=the class SandwichRule"),
        ({"training": "sandwich"}, "training='sandwich'"),
        ({"weights": "weights.safetensors"}, "weights='weights.safetensors': a Path"),
        ({"evaluations": "10"}, "evaluations='10': an integer"),
        ({"evaluations": 5.5}, "evaluations=5.5: an integer"),
        ({"seed": 1.5}, "seed=1.5: an integer"),
        ({"seed": True}, "seed=True: an integer"),
        ({"name": None}, "name=None: a string"),
        ({"changeable": "seed"}, "changeable='seed': a tuple"),
    ],
)
def test_what_is_of_another_kind_is_named_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        tiny_study(**changes)
    assert "\n" not in str(caught.value)


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


class Odd:
    def __init__(self, objective: object) -> None:
        self.objective = objective

    def calibrate(self) -> dict[str, float]:
        return {}

    def measure(self, candidates: object, bench: object) -> list[object]:
        return []


class Raising(Odd):
    objective = property(lambda _self: [][1])

    def __init__(self) -> None: ...


@pytest.mark.parametrize("objective", [3, None, "power", Objective, ("power", "W", "minimize")])
def test_what_an_objective_is_called_is_an_objective(objective: object) -> None:
    with pytest.raises(StudyError, match=r"objectives\[1\] of study 'tiny' has objective=.*a nas.Objective"):
        tiny_study(objectives=(Accuracy(), Odd(objective)))


def test_an_objective_that_fails_to_tell_its_name_is_a_sentence() -> None:
    with pytest.raises(StudyError, match=r"unusable objectives\[1\] \(IndexError"):
        tiny_study(objectives=(Accuracy(), Raising()))


@pytest.mark.parametrize("name", ["", "a/b", "..", "two\nlines", "x" * 200, None, 3, "\ud800"])
def test_a_pass_has_the_name_of_a_file(name: object) -> None:
    with pytest.raises(StudyError, match="a pass is named"):
        Winners(passes=(Int8(name=name),))  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", ["5", None, True, [1], 10**400])
def test_a_limit_is_a_number(limit: object) -> None:
    with pytest.raises(ObjectiveError, match="give a finite number"):
        Constraint(Macs(), limit)  # type: ignore[arg-type]


def test_an_intended_use_can_be_written() -> None:
    with pytest.raises(StudyError, match="UTF-8"):
        tiny_study(intended_use="\ud800")
