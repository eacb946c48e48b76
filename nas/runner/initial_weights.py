"""Initial weights of a study, from a file or from a function that makes one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from nas.checks import failing_as, quote
from nas.errors import StudyError, one_line
from nas.export.folder import read_weights
from nas.study import Study
from nas.training.ranks import Ranks


def find_weights(study: Study, training_device: torch.device, ranks: Ranks) -> Path | None:
    """Return the file of a study's initial weights, made by its function where it has one; None where it has none.

    Raises:
        StudyError: the function failed, or returned something else.
    """
    if not callable(study.weights):
        return study.weights
    part, advice = f"the function that makes the weights of study {study.name!r}", "mend it, or name a file"
    with failing_as(StudyError, f"{part} failed", advice):
        made = ranks.after_first(partial(study.weights, training_device))
    if not isinstance(made, Path):
        raise StudyError(f"{part} returned {quote(made)}: a pathlib.Path is expected.")
    return made


def take_weights(path: Path, network: nn.Module) -> None:
    """Give a network the weights in a file.

    Raises:
        StudyError: they don't fit.
    """
    try:
        network.load_state_dict(read_weights(path))
    except Exception as error:  # safetensors, torch and the file system each have their own
        reason = one_line(error)
        raise StudyError(
            f"the study's weights {path} don't fit its network ({reason}): name a safetensors file with the "
            "state_dict of network(), or leave weights out."
        ) from error
