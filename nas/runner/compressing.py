"""Applies a study's passes to a network: those that take seconds in the search, all of them to a winner."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from torch import nn

from nas.compression.applying import apply_pass, apply_passes
from nas.compression.pipeline import CompressionPass, Lab, Model, as_pipeline
from nas.compression.structure import sets_numbers_alone
from nas.errors import DeviceUnavailableError, one_line
from nas.evaluation.candidate import OnnxCandidate
from nas.evaluation.counts import count_macs, count_params
from nas.evaluation.stored import count_stored_bytes
from nas.objectives import Candidate, Counts, OnDevice
from nas.runner.preparation import Prepared
from nas.space import Architecture

logger = logging.getLogger(__name__)

BYTES_PER_PARAM = 4
"""Size of a float32, in which every network is exported."""


@final
@dataclass(frozen=True)
class Compressed:
    """The result of passes on a network.

    Args:
        model: The result.
        plain: The result before passes on the file: the module, with a list of what was done to it.
        network: Counts of the module, one row.
    """

    model: Model
    plain: Model
    network: Counts

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the module."""
        return int(self.network.macs[0])

    @property
    def num_params(self) -> int:
        """Number of the module's parameters."""
        return int(self.network.num_params[0])

    @property
    def module(self) -> nn.Module:
        """The module, before it became a file of other numbers."""
        assert self.plain.module is not None, "passes on the module give one"
        return self.plain.module

    def counts(self) -> Counts:
        """Return them as counts of one network; a plain export has 4 bytes for each parameter, as the search counts."""
        onnx = self.model.onnx
        stored = BYTES_PER_PARAM * self.num_params if onnx is None else count_stored_bytes(onnx)
        return replace(self.network, stored_bytes=np.array([stored], dtype=np.int64))

    def candidate(self, prepared: Prepared) -> Candidate:
        """Return the result as it is evaluated in the search: ONNX Runtime alone can run a file."""
        if self.model.onnx is None:
            return prepared.candidate(self.module)
        return OnnxCandidate(self.model.onnx)


def compress_in_search(prepared: Prepared, architecture: Architecture, module: nn.Module) -> Compressed:
    """Return what the passes that don't train make of a candidate."""
    passes = [made for made in prepared.study.pipeline.passes if not made.trains]
    with tempfile.TemporaryDirectory() as folder:
        return compress(prepared, passes, architecture, module, lab_of(prepared, Path(folder)))


def compress(
    prepared: Prepared,
    passes: Sequence[CompressionPass],
    architecture: Architecture,
    module: nn.Module,
    lab: Lab,
) -> Compressed:
    """Return what passes make of an architecture's module, with its options.

    Args:
        prepared: The study.
        passes: In order.
        architecture: Holds the options of the passes; the module is cut already.
        module: In evaluation mode; not changed.
        lab: What the passes may use.

    Raises:
        ExportError: a pass can't do it.
    """
    given = Model(prepared.splits.inputs, module)
    plain = apply_passes([made for made in passes if made.works_on == "module"], given, architecture, lab)
    counts = prepared.counts(prepared.problem.space.indices([architecture]))
    result = apply_passes([made for made in passes if made.works_on == "file"], plain, architecture, lab)
    return Compressed(result, plain, counts if plain is given else _counts_after(plain, counts))


def _counts_after(plain: Model, before: Counts) -> Counts:
    """Return the counts of a network that passes changed, whose training is that of before."""
    assert plain.module is not None, "passes on the module give one"
    macs, num_params = count_macs(plain.module, plain.inputs), count_params(plain.module)
    return replace(before, macs=np.array([macs]), num_params=np.array([num_params]))


def check_passes(prepared: Prepared) -> None:
    """Let every pass that doesn't train work on the largest network, and every device load what comes out.

    So what they can't do is reported now, and not after the training. A device that can't be reached is only logged.
    A pass whose work the fine-tuning of winners would undo is reported in the log.

    Raises:
        ExportError: a pass or a device can't do it.
    """
    study, space = prepared.study, prepared.problem.space
    hardest = space.architecture({**space.largest(), **study.pipeline.space.smallest()})
    module = prepared.supernet.extract(prepared.network_of(hardest), config=False).eval()
    made: list[Candidate] = [prepared.candidate(module)]
    for row in (study.pipeline, *map(as_pipeline, study.winners.passes)):
        passes = [one for one in row.passes if not one.trains]
        if passes:
            with tempfile.TemporaryDirectory() as folder:
                lab = lab_of(prepared, Path(folder))
                made.append(compress(prepared, passes, hardest, module, lab).candidate(prepared))
    _warn_of_undone(prepared, hardest, module)
    for objective in prepared.measured:
        if isinstance(objective, OnDevice):
            try:
                objective.check_models([candidate.onnx_model for candidate in made])
            except DeviceUnavailableError as error:
                logger.warning("whether a device runs these networks is seen later: %s", one_line(error))


def _warn_of_undone(prepared: Prepared, options: Architecture, module: nn.Module) -> None:
    """Warn of passes that set numbers of a module, where winners are trained behind them by themselves."""
    on_module = prepared.study.pipeline.on_module
    if any(made.trains for made in on_module):
        return
    model = Model(prepared.splits.inputs, module)
    with tempfile.TemporaryDirectory() as folder:
        lab = lab_of(prepared, Path(folder))
        for made in on_module:
            before, model = (
                model,
                apply_pass(made, model, options, replace(lab, folder=lab.folder / made.name)),
            )
            assert before.module is not None, "a pass on the module is given one"
            assert model.module is not None, "a pass on the module gives one"
            if model is not before and sets_numbers_alone(before.module, model.module):
                logger.warning(
                    "the pass %r sets numbers of the network and leaves its structure as it is; winners are fine-tuned "
                    "behind it, which sets them again: put FineTune() before it where they must stay",
                    made.name,
                )


def lab_of(
    prepared: Prepared,
    folder: Path,
    teacher: nn.Module | None = None,
    assistants: Callable[[], Sequence[nn.Module]] = tuple,
) -> Lab:
    """Return what passes may use in a study."""
    study, splits = prepared.study, prepared.splits
    return Lab(
        train=splits.train,
        task=splits.task,
        recipe=study.winners.recipe,
        training_device=prepared.training_device,
        seed=study.seed,
        folder=folder,
        teacher=teacher,
        assistants=assistants,
    )
