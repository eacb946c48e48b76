"""This machine's CPU, with MNN."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import onnx

from nas.devices.other_runtimes import Feed, Loaded, OtherRuntime

_CONVERT = "import sys, _tools; sys.exit(not _tools.mnnconvert(sys.argv))"
"""Not ``mnnconvert`` of the command line, which installs packages with pip and reports what it converts to a server."""
_HIGH = 1
"""MNN's number for float32 throughout."""
_CONVERSION_SECONDS = 600
"""Most networks take a tenth of a second."""


@final
@dataclass(frozen=True)
class Mnn(OtherRuntime):
    """MNN on this machine's CPU, in float32. An extra: ``nas[mnn]``.

    MNN runs files of its own, into which each network is converted first, in a process of its own, because the
    converter ends its process over what it can't take.

    Args:
        threads: Threads of one operator; operators run one after another.

    Raises:
        StudyError: a setting is out of range.
    """

    title: ClassVar[str] = "MNN"
    package: ClassVar[str] = "mnn"

    def load_network(self, model: bytes, feed: Feed) -> Loaded:
        """Load a model and set its inputs."""
        names = [output.name for output in onnx.load_model_from_string(model).graph.output]
        with tempfile.TemporaryDirectory(prefix="nas-mnn-") as folder, _without_standard_output():
            import MNN  # an extra

            settings = {"backend": MNN.expr.Backend.CPU, "precision": _HIGH, "numThread": self.threads}
            network = MNN.nn.load_module_from_file(
                str(_convert(model, Path(folder))),
                list(feed),
                names,
                runtime_manager=MNN.nn.create_runtime_manager((settings,)),
                shape_mutable=False,
            )
            loaded = _Network(network, [_variable(array) for array in feed.values()])
            if len(loaded.answers()) < len(names):  # it prints why, on the standard output
                raise RuntimeError("running it fails")
        return loaded


@final
@dataclass(frozen=True)
class _Network:
    network: Any
    inputs: Sequence[Any]

    def run(self) -> Any:
        return self.network.forward(self.inputs)

    def answers(self) -> list[np.ndarray]:
        import MNN

        return [np.array(MNN.expr.convert(made, MNN.expr.NCHW).read()) for made in self.run()]


def _variable(array: np.ndarray) -> Any:
    """Return an array as MNN takes it; ids have 32 bits there."""
    import MNN

    is_float = array.dtype == np.float32
    kind = MNN.expr.float if is_float else MNN.expr.int
    numbers = array if is_float else array.astype(np.int32)
    return MNN.expr.const(numbers, list(numbers.shape), MNN.expr.NCHW, kind)


def _convert(model: bytes, folder: Path) -> Path:
    """Return MNN's file of a network.

    Raises:
        RuntimeError: the converter can't.
    """
    given, made = folder / "model.onnx", folder / "model.mnn"
    given.write_bytes(model)
    files = ["--modelFile", str(given), "--MNNModel", str(made)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CONVERT, "-f", "ONNX", *files, "--bizCode", "nas"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CONVERSION_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"its converter ends with code {done.returncode}")
    if not made.exists():
        raise RuntimeError("its converter refuses it")
    return made


@contextlib.contextmanager
def _without_standard_output() -> Iterator[None]:
    """Drop what C code prints, which would stand among what a command prints for a program to read."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
