"""Passes in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from nas.choices import Choice, Option
from nas.compression import CompressionPass, FineTune, Int8, Lab, Model, Pipeline
from nas.errors import NasError, StudyError
from nas.space import Condition, SearchSpace


@dataclass(frozen=True)
class Prune:
    """Has two choices, of which one matters only where the other prunes."""

    name: str = "prune"
    works_on: Literal["module", "file"] = "module"
    trains: bool = False

    def choices(self) -> SearchSpace:
        keep, how = Choice(f"{self.name}.keep", (0.5, 1.0)), Choice(f"{self.name}.saliency", ("a", "b"))
        return SearchSpace((keep, how), {how.name: ((Condition(keep.name, (0.5,)),),)})

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        raise NotImplementedError


def test_choices_join_with_their_conditions() -> None:
    space = Pipeline(Prune(), FineTune(), Int8(bits=(8, 32))).space
    assert [choice.name for choice in space.choices] == ["prune.keep", "prune.saliency", "int8.bits"]
    assert space.cardinality() == 3 * 2
    assert not space.active(np.array([[1, 1, 0]]))[0, 1]


def test_an_empty_pipeline_has_nothing_to_choose() -> None:
    assert Pipeline().space.cardinality() == 1
    assert Pipeline().file_name == ""


def test_names_come_from_the_passes() -> None:
    pipeline = Pipeline(Prune(), FineTune(), Int8(), Int8(name="again"))
    assert pipeline.name == "prune-fine_tune-int8-again"
    assert pipeline.file_name == "int8-again"
    assert Pipeline(Int8(), name="small").name == "small"


@pytest.mark.parametrize(
    ("passes", "name", "message"),
    [
        ((Int8(), Prune()), "", "'prune' works on the module and stands behind 'int8'"),
        ((Int8(), FineTune()), "", "'fine_tune' works on the module and stands behind 'int8'"),
        ((Int8(), Int8(num_images=3)), "", "two passes of a pipeline are named 'int8'"),
        ((Prune(), "int8"), "", r"passes\[1\]='int8'"),
        ((Prune,), "", "the class Prune"),
        ((Prune(name="a/b"),), "", "named 'a/b'"),
        ((Prune(),), "x y", "named 'x y'"),
        ((Prune(works_on="both"),), "", "works on 'both'"),  # type: ignore[arg-type]
    ],
)
def test_a_row_that_can_not_work_is_refused_when_it_is_written(
    passes: tuple[CompressionPass, ...], name: str, message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        Pipeline(*passes, name=name)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (SearchSpace((Choice("int8.bits", (1, 2)),)), r"'int8\.bits': call it 'prune\.int8\.bits'"),
        (SearchSpace((Choice("keep", (1, 2)),)), r"'keep': call it 'prune\.keep'"),
        ((Choice("prune.keep", (1, 2)),), "gives a value of type tuple: a SearchSpace is expected"),
        (None, "gives None: a SearchSpace is expected"),
    ],
)
def test_choices_are_a_space_and_carry_the_name_of_their_pass(choices: object, message: str) -> None:
    @dataclass(frozen=True)
    class Impostor(Prune):
        def choices(self) -> SearchSpace:
            return choices  # type: ignore[return-value]

    with pytest.raises(StudyError, match=message):
        Pipeline(Impostor(), Int8(bits=(8, 32)))


def test_two_choices_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Impostor(Prune):
        def choices(self) -> SearchSpace:
            return SearchSpace((Choice("int8.more.bits", (1, 2)),))

    with pytest.raises(NasError, match=r"'int8\.more\.bits' is in the space twice"):
        Pipeline(Impostor(name="int8"), Impostor(name="int8.more"))
