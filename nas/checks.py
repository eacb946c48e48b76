"""Slips in a study and failures of its parts, each told in one sentence."""

from __future__ import annotations

import numbers
import re
import reprlib
from collections.abc import Callable
from typing import Any, final

from nas.errors import NasError, StudyError, kind_and_line


@final
class failing_as:  # noqa: N801 - a context manager, used like a function
    """Turn whatever a user's part raises inside into one sentence that names the part.

    That is also ``SystemExit``, because no part may end the process. Sentences of ours pass as they are, and so does
    ``KeyboardInterrupt``, with which a user stops a run. (``contextlib`` would let ``StopIteration`` through.)

    Args:
        kind: Kind of the error that is raised instead.
        fault: What failed, the beginning of the sentence: "objective 'power' failed".
        advice: What to do, its end.
        besides: Tells which other errors pass as they are.

    Raises:
        NasError: of that kind; the part failed.
    """

    def __init__(
        self,
        kind: type[NasError],
        fault: str,
        advice: str,
        *,
        besides: Callable[[BaseException], bool] = lambda _error: False,
    ) -> None:
        self._kind, self._fault, self._advice, self._besides = kind, fault, advice, besides

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, NasError | KeyboardInterrupt) or self._besides(error):
            return
        raise self._kind(f"{self._fault} ({kind_and_line(error)}): {self._advice}.") from error


_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
"""As huggingface_hub checks a part of an id."""


def check_kind(holder: str, name: str, value: object, kind: Any, wanted: str) -> None:
    """Refuse a value that is not of its kind, or is a class where an instance is expected.

    Args:
        holder: Begins the sentence: what has the value.
        name: Name of the value there.
        value: Is checked.
        kind: Types, or roles: Protocols that can be checked at run time. True and False are no integers.
        wanted: What is expected, in words.

    Raises:
        StudyError: the value is something else.
    """
    if isinstance(value, type | bool) or not isinstance(value, kind):
        raise StudyError(f"{holder} has {name}={quote(value)}: {wanted} is expected.")


def check_file_name(what: str, name: object) -> None:
    """Refuse a name that can't become a file's or a part of it.

    Args:
        what: Begins the sentence: what has the name.
        name: Is checked.

    Raises:
        StudyError: it can't.
    """
    if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
        raise StudyError(
            f"{what} is named {name!r}: use up to 100 letters, digits, '-', '_' and '.', because the name becomes that "
            "of a file or directory."
        )


def check_integers(settings: object, *names: str) -> None:
    """Refuse settings of these names that are not integers.

    Raises:
        StudyError: one is something else.
    """
    for name in names:
        check_kind(type(settings).__name__, name, getattr(settings, name), int, "an integer")


def check_numbers(settings: object, *names: str) -> None:
    """Refuse settings of these names that are no real numbers, or that no float can hold.

    Raises:
        StudyError: one is something else.
    """
    for name in names:
        value = getattr(settings, name)
        check_kind(type(settings).__name__, name, value, numbers.Real, "a number")
        with failing_as(
            StudyError, f"{type(settings).__name__} has an unusable {name}", "give a smaller one"
        ):
            float(value)


def check_maker(holder: str, name: str, value: object, wanted: str) -> None:
    """Refuse what can't be called, where a function or a class is expected.

    Raises:
        StudyError: it can't be.
    """
    if not callable(value):
        raise StudyError(f"{holder} has {name}={quote(value)}: {wanted} is expected.")


def is_utf8(text: str) -> bool:
    """Whether a string can be written to files and databases; half a surrogate pair can't, nor can odd file names."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quote(value: object) -> str:
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
