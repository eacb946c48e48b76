"""Items and targets of any task that already lie in memory, into train, search and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from nas.checks import check_kind, failing_as
from nas.data.assembly import statistics
from nas.data.fingerprint import fingerprint
from nas.data.groups import as_groups, tell_groups, three_shares_of_groups
from nas.data.selection import check_seed, check_shares
from nas.errors import DataError
from nas.inputs import Inputs, as_tuple, take_items
from nas.space import IntArray
from nas.splits import Split, Splits
from nas.task import Task
from nas.tasks.segmentation import find_ignored


def split_tensors(
    name: str,
    inputs: Inputs,
    targets: Tensor,
    task: Task,
    *,
    search_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
    groups: Sequence[object] | None = None,
    input_names: tuple[str, ...] = ("inputs",),
) -> Splits:
    """Split items at random, whatever the task; for classes of images :func:`nas.data.split_images` stratifies.

    Images, a single ``(n, channels, height, width)`` tensor of bytes or floats, are normalised per channel with the
    statistics of train; other inputs stay as they are.

    Args:
        name: Name of the data set, for reports.
        inputs: ``(n, *)`` float32, int64 ids, or uint8 images; several in a tuple are a network's arguments in order.
        targets: ``(n, *)`` as the task has them.
        task: What networks are for.
        search_share: Part of all items that candidates are evaluated on.
        test_share: Part of all items that is kept for the winners.
        seed: Seed of the split.
        groups: For each item a number or a name: those of one group go into one split. None where all are apart.
        input_names: What an exported model calls its inputs.

    Raises:
        DataError: there are too few items, more or fewer inputs than targets, or targets that are not the task's.
        StudyError: an argument is of another kind.
    """
    check_kind("split_tensors", "name", name, str, "a string")
    check_kind("split_tensors", "targets", targets, Tensor, "a tensor")
    check_kind("split_tensors", "task", task, Task, "an instance such as Regression(),")
    check_shares(search_share, test_share)
    check_seed(seed)
    _check_fit(name, inputs, targets, task)
    named = None if groups is None else as_groups(groups, len(targets))
    if named is None:
        rows = _random_parts(name, len(targets), search_share, test_share, seed)
    else:
        rows = three_shares_of_groups(
            np.zeros(len(targets), dtype=np.int64), named, search_share, test_share, seed
        )
    is_image = not isinstance(inputs, tuple) and inputs.ndim == 4
    mean, std = statistics(as_tuple(inputs)[0][np.sort(rows[0])]) if is_image else ((), ())
    parts = [
        Split(
            take_items(inputs, np.sort(chosen)),
            targets[np.sort(chosen)],
            mean,
            std,
            ignored=find_ignored(task),
        )
        for chosen in rows
    ]
    return Splits(
        name,
        train=parts[0],
        search=parts[1],
        test=parts[2],
        task=task,
        mean=mean,
        std=std,
        fingerprint=fingerprint(name, parts, official_test=False),
        input_names=("images",) if is_image and input_names == ("inputs",) else input_names,
        notes=() if named is None else tell_groups([named[part] for part in rows]),
    )


def _random_parts(name: str, count: int, search_share: float, test_share: float, seed: int) -> list[IntArray]:
    sizes = [round(share * count) for share in (search_share, test_share)]
    if min(*sizes, count - sum(sizes)) < 1:
        raise DataError(f"{name} has {count} items, too few for three parts: give more, or other shares.")
    search, test, train = np.split(np.random.default_rng(seed).permutation(count), np.cumsum(sizes))
    return [train, search, test]


def _check_fit(name: str, inputs: Inputs, targets: Tensor, task: Task) -> None:
    lengths = {len(tensor) for tensor in (*as_tuple(inputs), targets)}
    if len(lengths) > 1:
        raise DataError(
            f"inputs and targets of {name} are of the lengths {sorted(lengths)}: one is expected."
        )
    with failing_as(DataError, f"fault() of the task {task!r} failed on {name}", "mend it"):
        fault = task.fault(targets)
    if fault is not None:
        raise DataError(f"{name} doesn't fit its task: {fault}.")
