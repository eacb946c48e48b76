from __future__ import annotations

import pytest
from fakes import FewDigits, NearestSurrogate, tiny_network, tiny_study

from nas import Accuracy, Constraint, Macs, Recipe, SurrogateSearch
from nas.errors import StudyError
from nas.evaluation.proxy import ProxySubset
from nas.objective import Objective
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


def test_an_intended_use_can_be_written() -> None:
    with pytest.raises(StudyError, match="UTF-8"):
        tiny_study(intended_use="\ud800")
