from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch
from fakes import tiny_study

from nas import FineTune, Pipeline, SearchSpace
from nas.choices import Choice, Option
from nas.compression import Lab, LowRank, Model
from nas.compression.pipeline import CompressionPass
from nas.runner.compressing import check_passes
from nas.runner.preparation import prepare


@dataclass(frozen=True)
class Round:
    """Rounds all weights."""

    name: str = "round"
    works_on: Literal["module", "file"] = "module"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace((Choice("round.digits", (1, 9)),))

    @torch.no_grad()
    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        if options["round.digits"] == 9:
            return model
        module = copy.deepcopy(model.module)
        assert module is not None
        for parameter in module.parameters():
            parameter.copy_(parameter.round(decimals=1))
        return replace(model, module=module, applied=(*model.applied, "rounded"))


@pytest.mark.parametrize(
    ("passes", "warned"),
    [
        ((Round(),), True),
        ((LowRank(share=0.5), Round()), True),
        ((FineTune(), Round()), False),
        ((Round(), FineTune()), False),  # as its author wants it
        ((LowRank(share=0.5),), False),
    ],
)
def test_a_pass_whose_work_the_fine_tuning_would_undo_is_warned_of(
    passes: tuple[CompressionPass, ...], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare(tiny_study(pipeline=Pipeline(*passes)), torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        check_passes(prepared)
    assert ("the pass 'round' sets numbers of the network" in caplog.text) == warned
