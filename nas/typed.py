"""Plain values as what they are meant to be: dataclasses, mappings, lists, numbers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, final, get_args, get_origin, get_type_hints

from nas.errors import NasError, one_line

T = TypeVar("T")
_Reader = Callable[[object], object]
_SCALARS: dict[object, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (float, int),
    bool: (bool,),
    NoneType: (NoneType,),
}
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    NoneType: "null",
}
_SHOWN = 40
"""Characters of a value in a message, which is a sentence on one line."""


@final
class MismatchError(ValueError):
    """A value is not what it is meant to be.

    Args:
        what: Is wrong: ``is null, a number is expected``.
        place: Where, from the outermost value inwards: ``winners[0].trial``.
    """

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(f"{place.removeprefix('.') or 'it'} {what}")
        self._what, self._place = what, place

    def inside(self, place: str) -> MismatchError:
        """Return the same of a value that lies at ``place`` in another one."""
        return MismatchError(self._what, place + self._place)


def read_as(kind: type[T], value: object) -> T:
    """Return plain values, such as JSON gives, as ``kind``.

    Args:
        kind: A dataclass, ``Mapping`` or ``dict`` of text, ``list``, ``tuple``, ``Literal``, a union of these, ``str``,
            ``int``, ``float``, ``bool``, None or ``Any``; and any of these inside.
        value: For a dataclass, a mapping of its fields. Fields with a default may be missing; what is no field is
            passed over, because later versions may add some.

    Raises:
        MismatchError: it is something else, or its dataclass refuses it; says where.
    """
    return cast(T, _reader(cast(Hashable, kind))(value))


@functools.cache
def _reader(kind: Any) -> _Reader:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return lambda value: value
    if origin in (Union, UnionType):
        return _union(inner)
    if origin is Literal:
        return _literal(inner)
    if origin in (dict, Mapping):
        return _mapping(inner[1])
    if origin is tuple and inner[-1] is not Ellipsis:
        return _row(inner)
    if origin in (list, tuple):
        return _sequence(origin, inner[0])
    return _dataclass(kind) if is_dataclass(kind) else _scalar(kind)


def _refusal(value: object, expected: str) -> MismatchError:
    kinds = {dict: "an object", list: "a list", NoneType: "null"}
    text = kinds.get(type(value), repr(value))
    return MismatchError(f"is {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}, {expected} is expected")


def _scalar(kind: Any) -> _Reader:
    accepted = _SCALARS[kind]

    def read(value: object) -> object:
        is_number = kind is not float or (
            isinstance(value, float | int) and abs(value) <= sys.float_info.max
        )  # no NaN either
        if type(value) not in accepted or not is_number:
            raise _refusal(value, _WORDS[kind])
        return float(value) if kind is float else value  # type: ignore[arg-type]

    return read


def _literal(options: tuple[object, ...]) -> _Reader:
    def read(value: object) -> object:
        if value not in options:
            raise _refusal(value, " or ".join(map(repr, options)))
        return value

    return read


def _union(kinds: tuple[Any, ...]) -> _Reader:
    readers = [_reader(kind) for kind in kinds]

    def read(value: object) -> object:
        found = []
        for kind, reader in zip(kinds, readers, strict=True):
            try:
                return reader(value)
            except MismatchError as error:
                if kind is not NoneType:
                    found.append(error)
        if len(found) == 1:
            raise found[0]
        raise _refusal(value, " or ".join(_WORDS.get(kind, "an object or a list") for kind in kinds))

    return read


def _mapping(kind: Any) -> _Reader:
    inner = _reader(kind)

    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise _refusal(value, "an object")
        return {key: _at(f".{key}", inner, item) for key, item in value.items()}

    return read


def _sequence(make: Any, kind: Any) -> _Reader:
    inner = _reader(kind)

    def read(value: object) -> object:
        if not isinstance(value, list | tuple):
            raise _refusal(value, "a list")
        found = []
        for position, item in enumerate(value):
            try:
                found.append(inner(item))
            except MismatchError as error:
                raise error.inside(f"[{position}]") from error.__cause__
        return make(found)

    return read


def _row(kinds: tuple[Any, ...]) -> _Reader:
    readers = [_reader(kind) for kind in kinds]

    def read(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != len(readers):
            raise _refusal(value, f"a list of {len(readers)}")
        return tuple(
            _at(f"[{position}]", reader, item)
            for position, (reader, item) in enumerate(zip(readers, value, strict=True))
        )

    return read


def _dataclass(kind: Any) -> _Reader:
    hints = get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind) if field.init}
    needed = [
        field.name
        for field in fields(kind)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise _refusal(value, "an object")
        missing = [name for name in needed if name not in value]
        if missing:
            raise MismatchError(f"lacks {missing[0]!r}")
        found = {
            name: _at(f".{name}", reader, value[name]) for name, reader in readers.items() if name in value
        }
        try:
            return kind(**found)
        except NasError as error:
            raise MismatchError(f"is not valid: {one_line(error)}") from error

    return read


def _at(place: str, reader: _Reader, value: object) -> object:
    try:
        return reader(value)
    except MismatchError as error:
        raise error.inside(place) from error.__cause__
