"""Copies of modules, made quickly."""

from __future__ import annotations

import copy
from collections import OrderedDict

from torch import nn


def copy_module(root: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """Return ``copy.deepcopy(root, memo)`` in half the time.

    A module holds a dozen dictionaries for hooks, nearly all of them empty, and most of the time goes into those.

    Args:
        root: To copy.
        memo: As that of ``copy.deepcopy``; changed.
    """
    memo = {} if memo is None else memo
    for module in root.modules():
        for value in vars(module).values():
            if type(value) in (dict, OrderedDict) and not value:
                memo[id(value)] = type(value)()
    return copy.deepcopy(root, memo)
