"""The network of a study: made, and checked against the data and the qualities before anything is trained."""

from __future__ import annotations

import torch

from nas.checks import failing_as
from nas.errors import StudyError, one_line
from nas.evaluation.from_scratch import fresh_network
from nas.evaluation.quality.measuring import statistics_of
from nas.inputs import Inputs, as_tuple, call_network
from nas.splits import Splits
from nas.study import Study
from nas.supernet import Supernet
from nas.task import Quality

_MEND_NETWORK = (
    "mend it; sizes that are choices go to layers of nas.supernet.elastic, torch's own layers take numbers"
)
_MEND_FORWARD = "let its forward use torch's functions alone, without numpy(), item(), detach() and no_grad()"


def make_network(study: Study) -> Supernet:
    """Return the supernet of a study, with the random weights of its seed.

    Raises:
        StudyError: it can't be made, or nothing of it can be trained.
    """
    name = f"the network of study {study.name!r}"
    with failing_as(StudyError, f"{name} can't be made", _MEND_NETWORK):
        supernet = fresh_network(study.network, study.seed)
    parameters = list(supernet.parameters())
    for tensor in [*parameters, *supernet.buffers()]:
        if tensor.is_meta or tensor.layout != torch.strided:
            raise StudyError(
                f"{name} holds a tensor of layout {tensor.layout} on device {tensor.device}: let it hold dense ones, "
                "on the CPU."
            )
    if not any(parameter.requires_grad for parameter in parameters):
        what = "all its parameters are frozen" if parameters else "it has no parameters"
        raise StudyError(
            f"{name} can't be trained, because {what}: set requires_grad on what is to be trained; winners are "
            "fine-tuned also where the supernet is not trained."
        )
    return supernet


def check_learns(study: Study, supernet: Supernet, splits: Splits) -> None:
    """Refuse a network whose outputs no training would change.

    Raises:
        StudyError: its outputs don't depend on its parameters, or it can't be run with gradients.
    """
    name, inputs = f"the network of study {study.name!r}", splits.inputs.blank(1)
    with failing_as(StudyError, f"{name} failed when run with gradients", _MEND_FORWARD), torch.enable_grad():
        output = call_network(supernet.eval(), inputs)
    if not output.requires_grad:
        raise StudyError(
            f"the outputs of {name} don't depend on its parameters as far as torch can see, so that nothing would be "
            f"learned: {_MEND_FORWARD}."
        )


def check_quality(study: Study, supernet: Supernet, splits: Splits) -> None:
    """Refuse qualities that are of another task, which shows in that they can't read this network's outputs.

    Raises:
        StudyError: one is.
    """
    with torch.no_grad():
        outputs = call_network(supernet.eval(), splits.inputs.blank(1)).float().cpu()
    for objective in study.objectives:
        if isinstance(objective, Quality):
            try:
                statistics_of(objective, outputs, splits.train.targets[:1])
            except Exception as error:  # whatever a user's quality raises
                raise StudyError(
                    f"the quality {objective.objective.name!r} doesn't fit the task {type(splits.task).__name__} of "
                    f"{splits.name} ({one_line(error)}): choose one that is of this task."
                ) from error


def check_ids(supernet: Supernet, splits: Splits) -> None:
    """Run the network on the smallest and the largest id, so that too small an embedding doesn't fail in training.

    Raises:
        StudyError: the network can't take them.
    """
    if not splits.inputs.is_ids:
        return
    ends = _list_extreme_inputs(splits)
    was_training = supernet.training
    supernet.eval()
    try:
        with supernet.active(supernet.space.largest()), torch.no_grad():
            for inputs in ends:
                call_network(supernet, inputs)
    except Exception as error:  # whatever a user's forward raises
        ids = [tensor for inputs in ends for tensor in as_tuple(inputs)]
        first, last = min(int(tensor.min()) for tensor in ids), max(int(tensor.max()) for tensor in ids)
        raise StudyError(
            f"the network can't take the ids of {splits.name}, from {first} to {last} "
            f"({one_line(error)}): give its embedding a row for each of them, or the data fewer."
        ) from error
    finally:
        supernet.train(was_training)


def _list_extreme_inputs(splits: Splits) -> list[Inputs]:
    """Return the items, one at a time, that hold the smallest or the largest number of an input in a split."""
    parts = (splits.train, splits.search, splits.test, splits.unlabelled)
    return [
        part.batch(torch.tensor([int(at) // (tensor.numel() // len(tensor))]))
        for part in parts
        if part is not None
        for tensor in as_tuple(part.inputs)
        for at in (tensor.argmin(), tensor.argmax())
    ]
