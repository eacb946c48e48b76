"""Applying a compression pass, and looking at what it made before that is believed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from nas.checks import failing_as
from nas.errors import ExportError
from nas.evaluation import OnnxCandidate
from nas.files import write_bytes
from nas.protocols import CompressionPass, Split

_INPUTS = 2
"""To run a variant on; a single one wouldn't show whether the batch size is free."""


def compress(compression: CompressionPass, source: Path, target: Path, calibration: Split) -> None:
    """Let a pass write its variant of ``source`` to ``target``.

    It works on copies in a folder of its own, so that whatever it does there, winners' files stay as they are.

    Raises:
        ExportError: the pass raised, or wrote no network with the input and the outputs of ``source``.
    """
    part, inputs = f"the pass {compression.name!r}", calibration.sample(_INPUTS)
    advice = "mend it or take it out of winners.passes, and run the same command again; the winners' weights are kept"
    with tempfile.TemporaryDirectory() as folder:
        copied, made = Path(folder, source.name), Path(folder, target.name)
        shutil.copy(source, copied)
        with failing_as(ExportError, f"{part} failed on {source}", advice):
            compression.apply(copied, made, calibration)
        if not made.is_file():
            raise ExportError(f"{part} wrote no file for {target}: {advice}.")
        with failing_as(ExportError, f"what {part} made of {source} can't be run", advice):
            before, after = OnnxCandidate(source), OnnxCandidate(made)
            expected, found = before.predict(inputs).shape, after.predict(inputs).shape
        if after.inputs != before.inputs:
            raise ExportError(
                f"{part} made a network with the inputs {after.inputs.describe()} for {target}, "
                f"{before.inputs.describe()} are expected: {advice}."
            )
        if found != expected:
            raise ExportError(
                f"{part} made a network with outputs of shape {tuple(found)} for {target}, {tuple(expected)} is "
                f"expected: {advice}."
            )
        write_bytes(target, made.read_bytes())
