"""Tables in files: UTF-8, separated by tabs, with a header line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nas.errors import DataError


def read_columns(path: Path, columns: Mapping[str, str]) -> list[list[str]]:
    """Return some columns of a table.

    Quotation marks mean nothing.

    Args:
        path: The file, with or without a byte-order mark.
        columns: Names of columns, by the arguments with which a user names them.

    Raises:
        DataError: the file can't be read, lacks a column or has it twice, or has lines of other lengths.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"the table {path} can't be read ({reason}): a UTF-8 file is expected there."
        ) from error
    rows = [line.split("\t") if line else [] for line in lines]
    head = rows[0]
    if not set(columns.values()) <= set(head):
        raise DataError(
            f"the table {path} has the columns {head} in its first line: "
            f"{' and '.join(map(repr, columns.values()))} are expected, separated by tabs; name others with "
            f"{' and '.join(f'{argument}=' for argument in columns)}."
        )
    twice = [name for name in columns.values() if head.count(name) > 1]
    if twice:
        raise DataError(
            f"the table {path} has more than one column {twice[0]!r} in its first line: rename all but the one that is "
            "meant."
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(head):
            raise DataError(
                f"line {number} of the table {path} has {len(row)} columns and the first line {len(head)}: every "
                "line must have the same, separated by tabs."
            )
    return [[row[head.index(name)] for row in rows[1:]] for name in columns.values()]
