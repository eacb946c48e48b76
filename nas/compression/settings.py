"""Settings of passes: a value, or options of a choice that is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from nas.choices import Choice, Option
from nas.errors import StudyError
from nas.space import SearchSpace

T = TypeVar("T", bound=Option)


def setting_choices(name: str, **settings: Option | tuple[Option, ...]) -> SearchSpace:
    """Return a choice for every setting that is a tuple of options, named ``name.setting``."""
    found = [Choice(f"{name}.{key}", value) for key, value in settings.items() if isinstance(value, tuple)]
    return SearchSpace(tuple(found))


def setting(name: str, key: str, value: T | tuple[T, ...], options: Mapping[str, Option]) -> T:
    """Return a setting: its value, or what is chosen among its options."""
    return options[f"{name}.{key}"] if isinstance(value, tuple) else value  # type: ignore[return-value]


def check_bits(name: str, bits: int | tuple[int, ...], known: tuple[int, ...]) -> None:
    """Refuse widths that a pass can't make.

    Raises:
        StudyError: one is not among ``known``, or there are none.
    """
    asked = bits if isinstance(bits, tuple) else (bits,)
    if not asked or any(isinstance(one, bool) or one not in known for one in asked):
        raise StudyError(
            f"the pass {name!r} has bits={bits!r}: one of {known}, or a tuple of these, is expected."
        )
