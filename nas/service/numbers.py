"""Numbers as forms and addresses hold them, in digits from 0 to 9; Python and pydantic would also read ``5_000``."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BeforeValidator

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def whole_number(text: str) -> int:
    """Return the whole number that ``text`` is, in digits from 0 to 9.

    Raises:
        ValueError: it is none.
    """
    if not _WHOLE.fullmatch(text.strip(" ")):
        raise ValueError("a whole number in digits is expected")
    return int(text)


def number(text: str) -> float:
    """Return the number that ``text`` is, in digits from 0 to 9, with a point and an exponent if it needs them.

    Raises:
        ValueError: it is none; infinities and NaN are none.
    """
    if not _NUMBER.fullmatch(text.strip(" ")):
        raise ValueError("a number in digits is expected")
    if math.isinf(float(text)):
        raise ValueError("a number that is not so large is expected")
    return float(text)


def _in_digits(value: object) -> object:
    return whole_number(value) if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_in_digits)]
"""A whole number in an address."""
