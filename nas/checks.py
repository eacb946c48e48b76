"""Slips in the description of an experiment, told in one sentence before anything is paid for."""

from __future__ import annotations

import re
import reprlib
from typing import Any

from nas.errors import StudyError

_HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
"""As huggingface_hub checks a part of an id."""


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


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a data set's id on the Hugging Face Hub: ``owner/name`` or a single name."""
    parts = text.split("/")
    return len(parts) <= 2 and all(_HUB_NAME.fullmatch(part) for part in parts)
