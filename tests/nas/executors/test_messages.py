"""What goes between processes, without any other process."""

from __future__ import annotations

import logging
from typing import NoReturn

import jobs
import pytest

from nas.errors import NasError, StudyError, WorkerError
from nas.executors import Done, Failed
from nas.executors.messages import (
    Begun,
    Fault,
    Said,
    Value,
    message_bytes,
    outcome_of,
    pack,
    read_message,
    unpack,
)


class OwnError(Exception):
    """Of a user's own, whose module another process may lack."""


class TwoPartsError(ValueError):
    """Can't be made from its text."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what} {number}")


TwoPartsError.__module__ = "nas.errors"


@pytest.mark.parametrize("message", [Begun(), Value([1, 2]), Said("nas.far_away", 30, "a word")])
def test_a_message_comes_back_as_it_was(message: object) -> None:
    assert read_message(message_bytes(message)) == message


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), StudyError("no such study"), KeyError("a")])
def test_an_error_of_python_or_ours_travels_itself(error: Exception) -> None:
    found = Fault.of(error).as_error()
    assert type(found) is type(error)
    assert str(found) == str(error)


@pytest.mark.parametrize("error", [OwnError("was an accident"), TwoPartsError("accident", 7)])
def test_an_error_that_may_not_survive_the_way_leaves_its_name_and_its_words(error: Exception) -> None:
    fault = Fault.of(error)
    assert fault.error is None
    found = fault.as_error()
    assert isinstance(found, WorkerError)
    assert type(found).__name__ == type(error).__name__
    assert str(found) == str(error)


def test_a_worker_that_can_not_begin_ends_the_run_in_a_sentence() -> None:
    with pytest.raises(WorkerError, match=r"can't begin \(ModuleNotFoundError: No module named 'away'\)"):
        outcome_of(3, Fault.of(ModuleNotFoundError("No module named 'away'"), at_begin=True))
    with pytest.raises(StudyError, match="has changed"):  # our own sentence needs no other around it
        outcome_of(3, Fault.of(StudyError("it has changed"), at_begin=True))


def test_an_outcome_is_of_its_job() -> None:
    assert outcome_of(3, Value("found")) == Done(3, "found")
    failed = outcome_of(3, Fault.of(ZeroDivisionError("by zero")))
    assert isinstance(failed, Failed)
    assert failed.key == 3
    assert isinstance(failed.error, ZeroDivisionError)


def test_what_can_not_be_sent_is_a_sentence_and_an_error_of_ours_its_own() -> None:
    with pytest.raises(WorkerError, match="the work can't be sent to another process") as caught:
        pack(lambda: 1, "the work")
    assert "\n" not in str(caught.value)

    class Refuses:
        def __reduce__(self) -> NoReturn:
            raise StudyError("not to be sent")

    with pytest.raises(NasError, match="not to be sent"):
        pack(Refuses(), "the work")


def test_what_can_be_sent_and_not_received_is_a_fault_of_the_job() -> None:
    other_place = pack(Value(jobs.AtHome(-1)), "a value")  # -1 is no process, so it is never at home
    found = read_message(other_place)
    assert isinstance(found, Fault)
    assert not found.at_begin
    assert "can't be received (EOFError: it is at home)" in str(found.as_error())


def test_what_is_packed_is_unpacked() -> None:
    assert unpack(pack({"a": (1, 2.0)}, "it")) == {"a": (1, 2.0)}


def test_what_was_logged_elsewhere_is_logged_here_word_for_word(caplog: pytest.LogCaptureFixture) -> None:
    Said("nas.far_away", logging.WARNING, "100 %s of it").pass_on()
    assert caplog.record_tuples == [("nas.far_away", logging.WARNING, "100 %s of it")]
