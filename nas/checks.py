"""Slips in the description of an experiment, told in one sentence before anything is paid for."""

from __future__ import annotations

import reprlib
from typing import Any

from nas.errors import StudyError


def check_kind(holder: str, name: str, value: object, kind: Any, wanted: str) -> None:
    """Refuse a value that is not of its kind, or is a class where an instance is expected.

    Args:
        holder: Begins the sentence: what has the value.
        name: Of the value there.
        value: Is checked.
        kind: Types, or roles: Protocols that can be checked at run time. True and False are no integers.
        wanted: What is expected, in words.

    Raises:
        StudyError: the value is something else.
    """
    if isinstance(value, type | bool) or not isinstance(value, kind):
        raise StudyError(f"{holder} has {name}={told(value)}: {wanted} is expected.")


def check_integers(settings: object, *names: str) -> None:
    """Refuse settings of these names that are not integers.

    Raises:
        StudyError: one is something else.
    """
    for name in names:
        check_kind(type(settings).__name__, name, getattr(settings, name), int, "an integer")


def check_maker(holder: str, name: str, value: object, wanted: str) -> None:
    """Refuse what can't be called, where a function or a class is expected.

    Raises:
        StudyError: it can't be.
    """
    if not callable(value):
        raise StudyError(f"{holder} has {name}={told(value)}: {wanted} is expected.")


def told(value: object) -> str:
    """Return what a value is, in a few words."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, bool | int | float | str):
        return reprlib.repr(value)
    return f"a value of type {type(value).__name__}"
