"""Settings of passes that may be choices: one value, or several from small to large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.choices import Choice, Option
from nas.errors import StudyError
from nas.space import SearchSpace


def check_shares(holder: str, name: str, value: Any) -> float | tuple[float, ...]:
    """Return a share, or several from small to large of which the last is 1, as floats.

    Raises:
        StudyError: it is something else.
    """
    given = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(one, bool) or not isinstance(one, int | float) or not 0 < one <= 1 for one in given):
        raise StudyError(f"{holder} has {name}={value!r}: numbers above 0 and up to 1 are expected.")
    shares = tuple(float(one) for one in given)
    if not isinstance(value, tuple | list):
        return shares[0]
    if not shares or list(shares) != sorted(set(shares)) or shares[-1] != 1.0:
        raise StudyError(
            f"{holder} has {name}={value!r}: several are a choice, so name them from small to large, and 1.0 last, "
            "which changes nothing."
        )
    return shares


def share_choices(prefix: str, name: str, value: float | tuple[float, ...]) -> tuple[Choice, ...]:
    """Return the choice of a share, or none where it is a single one."""
    return (Choice(f"{prefix}.{name}", value),) if isinstance(value, tuple) else ()


def check_options(space: SearchSpace, options: Mapping[str, Option]) -> Mapping[str, Option]:
    """Return what is chosen of a pass's own choices.

    Raises:
        SpaceError: the options aren't those of the space.
    """
    return space.architecture(options)
