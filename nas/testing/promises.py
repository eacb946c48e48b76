"""What contract suites are made of: promises, each of which is looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Generic, ParamSpec, final

from nas.errors import kind_and_line

P = ParamSpec("P")


@final
@dataclass(frozen=True)
class Promise:
    """One thing that a part must do. Calling it raises where the part does something else.

    Args:
        name: What is promised, in words; ``ids=str`` makes it the name of a case of pytest.
        check: Raises where it is broken.
    """

    name: str
    check: Callable[[], object] = field(repr=False, compare=False)

    def __call__(self) -> None:
        """Look whether it is kept."""
        self.check()

    def __str__(self) -> str:
        return self.name


@final
class BrokenPromisesError(ExceptionGroup[Exception], AssertionError):
    """All promises that a part breaks: the message names each, and the exceptions say where."""

    def __str__(self) -> str:
        # Not that of a group, which puts the number of its exceptions behind the last promise.
        return self.message


@final
class Contract(Generic[P]):
    """A suite of promises: called with a part, it looks at all of them and raises one error for those that are broken.

    Args:
        list_promises: Returns the promises of a part and does nothing else, so that cases of a test can be made of
            them before a test begins; raises what makes a part none of the kind.
    """

    def __init__(self, list_promises: Callable[P, Sequence[Promise]]) -> None:
        self._list_promises = list_promises
        update_wrapper(self, list_promises)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Look at all promises of a part.

        Raises:
            BrokenPromisesError: the part breaks some.
        """
        promises = self._list_promises(*args, **kwargs)
        broken: list[Exception] = []
        lines = []
        for promise in promises:
            try:
                promise()
            except Exception as error:  # whatever a part raises breaks the promise that was looked at
                broken.append(error)
                lines.append(f"- {promise.name}: {_describe(error)}")
        if broken:
            head = f"{len(broken)} of {len(promises)} promises are broken:"
            raise BrokenPromisesError("\n".join([head, *lines]), broken)

    def promises(self, *args: P.args, **kwargs: P.kwargs) -> Sequence[Promise]:
        """Return the promises of a part, for tests that look at each by itself."""
        return self._list_promises(*args, **kwargs)


def check_repr(part: object) -> None:
    """Refuse a part whose ``repr`` doesn't tell its settings, on which the fingerprint of a study rests."""
    assert " at 0x" not in repr(part), "repr must tell the settings: make it a frozen dataclass"


def _describe(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else kind_and_line(error)
