"""The state of a training between two epochs, in a file."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from nas.errors import DamagedFileError, first_line
from nas.files import replacing
from nas.training.ranks import Ranks


class Stateful(Protocol):
    """What has a state: a module, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Take over a state."""


def save_checkpoint(path: Path, parts: Mapping[str, Stateful], plain: Mapping[str, object]) -> None:
    """Write the states of ``parts`` and plain values; what was there is kept beside it as ``.previous``.

    Raises:
        RunDirectoryError: the file can't be written.
    """
    # Through memory, because torch.save reports a full disk as a RuntimeError of its own.
    buffer = io.BytesIO()
    torch.save({**{name: part.state_dict() for name, part in parts.items()}, **plain}, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
        # While the new state is complete beside it: at any time one of the two files is whole.
        if path.exists():
            shutil.copyfile(path, _previous(path))


def load_checkpoint(path: Path, parts: Mapping[str, Stateful], ranks: Ranks) -> dict[str, Any]:
    """Give ``parts`` the states in a file and return everything in it.

    Raises:
        DamagedFileError: it can't be read; says what to do.
    """
    try:
        state: dict[str, Any] = ranks.read_state(path)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state
    except Exception as error:  # a damaged pickle raises almost anything
        previous = _previous(path)
        remedy = (
            f"replace it by {previous.name}, the state one epoch earlier"
            if previous.exists()
            else "delete it to train from the start"
        )
        raise DamagedFileError(
            f"the checkpoint {path} can't be read ({first_line(error)}): {remedy}, and run the same command again."
        ) from error


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint that is not needed any more, with the state before it."""
    for file in (path, _previous(path)):
        file.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")
