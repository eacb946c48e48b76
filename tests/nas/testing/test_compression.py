from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from nas.choices import Choice, Option
from nas.compression import Lab, Model
from nas.errors import NasError
from nas.space import SearchSpace
from nas.testing import (
    check_compression_pass,
)


@dataclass(frozen=True)
class Pass:
    """Halves the weights where its choice says so, with one fault."""

    fault: str
    name: str = "halve"
    works_on: Literal["module", "file"] = "module"
    trains: bool = False

    def choices(self) -> SearchSpace:
        return SearchSpace((Choice("by" if self.fault == "name" else f"{self.name}.by", (0.5, 1.0)),))

    def apply(self, model: Model, options: Mapping[str, Option], lab: Lab) -> Model:
        (by,) = options.values()
        if by == (0.5 if self.fault == "order" else 1.0) and self.fault != "never the same":
            return model
        module = model.module if self.fault == "given" else copy.deepcopy(model.module)
        assert module is not None
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(float("nan") if self.fault == "nan" else 0.5)
                if self.fault == "random":
                    parameter.add_(torch.rand(()))
        if self.fault == "leftover":
            (lab.folder.parent / "leftover").touch()
        if self.fault == "outputs":
            module = nn.Sequential(module, nn.Linear(10, 9)).eval()
        if self.fault == "nothing":
            return replace(model, module=None)
        applied = () if self.fault == "silent" else ("halved",)
        return replace(model, module=module, applied=(*model.applied, *applied))


@pytest.mark.parametrize(
    "fault",
    [
        *("order", "name", "never the same", "given", "nan", "random", "leftover", "outputs", "nothing"),
        "silent",
    ],
)
def test_a_faulty_pass_is_found(fault: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, NasError)):
        check_compression_pass(Pass(fault), tmp_path)


def test_a_pass_that_does_nothing_wrong_passes(tmp_path: Path) -> None:
    check_compression_pass(Pass(""), tmp_path)
