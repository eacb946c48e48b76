"""Items that belong together, such as pictures of one patient (Shawki 2020), and go into one split."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from nas.checks import quote
from nas.errors import DataError
from nas.space import FloatArray, IntArray

_DRAWS = 100
"""Random divisions of the groups, of which the one with the most even classes is taken."""
_NAMED = 3
"""Classes that a sentence names, of those that are missing."""

Groups = NDArray[np.str_]
"""``(n,)`` the name of the group of each item."""


def hold_out_groups(labels: IntArray, groups: Groups, share: float, seed: int) -> IntArray:
    """Return the rows of some whole groups, about ``share`` of all.

    Of many draws by scikit-learn's ``GroupShuffleSplit`` it is the one in which the share of the class that differs
    most from ``share`` differs least.

    Args:
        labels: ``(n,)`` classes, or ``(n, num_classes)``: 1 where an item holds a class.
        groups: ``(n,)`` their names.
        share: Part of the groups to hold out.
        seed: Seed of the draws.

    Raises:
        DataError: there are too few groups.
    """
    count = len(np.unique(groups))
    if count < 2 or not 1 <= round(share * count) < count:
        raise DataError(
            f"{count} groups can't be divided so that {share:.0%} of them are held out and none is in two splits: give "
            "items of more groups, or other shares."
        )
    splitter = GroupShuffleSplit(_DRAWS, test_size=round(share * count), random_state=seed)
    whole = np.maximum(_class_counts(labels, labels), 1)
    drawn = [held_out for _, held_out in splitter.split(labels, groups=groups)]
    # A group may hold one class alone, so a random draw of groups may be very uneven in classes.
    uneven = [np.abs(_class_counts(labels[rows], labels) / whole - share).max() for rows in drawn]
    return np.sort(drawn[int(np.argmin(uneven))])


def _class_counts(labels: IntArray, of: IntArray) -> FloatArray:
    if of.ndim == 2:
        return np.asarray(labels.sum(0), dtype=np.float64)
    return np.bincount(labels, minlength=int(of.max()) + 1).astype(np.float64)


def three_shares_of_groups(
    labels: IntArray, groups: Groups, search_share: float, test_share: float, seed: int
) -> list[IntArray]:
    """Return the rows of train, search and test, no group in two of them.

    Raises:
        DataError: there are too few groups.
    """
    test = hold_out_groups(labels, groups, test_share, seed)
    rest = np.setdiff1d(np.arange(len(labels)), test)
    held = hold_out_groups(labels[rest], groups[rest], search_share / (1 - test_share), seed)
    return [np.delete(rest, held), rest[held], test]


def cap_classes(labels: IntArray, at_most: int, seed: int) -> IntArray:
    """Return the rows of at most so many random items of each class of ``(n,)`` labels."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.sort(np.concatenate([order[labels[order] == label][:at_most] for label in np.unique(labels)]))


def as_groups(stated: Sequence[object] | NDArray[np.generic], count: int) -> Groups:
    """Return the groups of ``count`` items, as a user states them: a number or a name for each.

    Raises:
        DataError: there are more or fewer.
    """
    groups: Groups = np.array([str(group) for group in stated], dtype=np.str_)
    if len(groups) != count or "" in groups:
        raise DataError(
            f"groups has {len(groups)} entries for {count} items, {int((groups == '').sum())} of them empty: a number "
            "or a name for each item is expected."
        )
    return groups


def check_group_rule(holder: str, rule: object) -> None:
    """Check how groups are read off the names of files: see :func:`groups_of_files`.

    Raises:
        DataError: it is no such rule.
    """
    is_level = isinstance(rule, int) and not isinstance(rule, bool) and rule >= 1
    try:
        is_pattern = isinstance(rule, str) and re.compile(rule).groups <= 1
    except re.error:
        is_pattern = False
    if rule is not None and not is_level and not is_pattern:
        raise DataError(
            f"{holder} has group={quote(rule)}: None, the level of a folder from 1 on, or a regular expression with at "
            "most one group in parentheses is expected."
        )


def groups_of_files(names: Sequence[str], rule: str | int | None) -> Groups | None:
    """Return the group of each file; None where there is no rule.

    Args:
        names: Paths below the data set's folder, with ``/``, which begin with the folder of the class.
        rule: The level of the folder that stands for the group, 1 for one below the class's; or a regular expression
            that is looked for in the name, of which what is in parentheses, or the whole match, is the group.

    Raises:
        DataError: the rule finds nothing in some name.
    """
    if rule is None:
        return None
    found = [_group_of(name, rule) for name in names]
    missing = [name for name, group in zip(names, found, strict=True) if group is None]
    if missing:
        shown = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        raise DataError(
            f"group={rule!r} finds no group in the names of {len(missing)} of {len(names)} files ({shown}): change the "
            "rule, or move those files."
        )
    return np.array(found, dtype=np.str_)


def _group_of(name: str, rule: str | int) -> str | None:
    if isinstance(rule, int):
        folders = name.split("/")[:-1]
        return folders[rule] if rule < len(folders) else None
    match = re.search(rule, name)
    return None if match is None else match.group(match.re.groups)


def check_apart(name: str, train: Groups | None, test: Groups | None) -> None:
    """Check that no group is in an official test part and in the other one too.

    Raises:
        DataError: some are.
    """
    if train is None or test is None:
        return
    shared = np.intersect1d(train, test)
    if len(shared):
        raise DataError(
            f"{len(shared)} groups of {name} have items in the test part and in the training part (such as "
            f"{str(shared[0])!r}): move each to one of them, or give one part and let it be split."
        )


def tell_groups(parts: Sequence[Groups]) -> tuple[str, ...]:
    """Return how many groups train, search and test hold, as a clause for people; nothing where there are none."""
    counts = zip([len(np.unique(groups)) for groups in parts], ("train", "search", "test"), strict=False)
    return ("groups: " + ", ".join(f"{count} in {part}" for count, part in counts),) if parts else ()
