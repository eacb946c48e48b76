"""Everything that ``nas`` raises for a user to read.

::

    NasError
    ├── SpaceError (ValueError)          a search space or an architecture is not valid
    ├── ConversionError (ValueError)     a module can't be turned into a supernet
    ├── ShapeError (ValueError)          tensor shapes do not fit, for some choice
    ├── ObjectiveError (ValueError)      an objective, constraint or measurement is not valid
    ├── InfeasibleError (ValueError)     no architecture can meet the constraints
    ├── DataError (ValueError)           a data set or a split is not valid
    ├── StudyError (ValueError)          a study's description is not valid
    ├── StudyChangedError (ValueError)   the study no longer matches its run directory
    ├── CatalogError (LookupError)       no study of that name or path
    ├── RunDirectoryError (OSError)      the run directory can't be read or written, or is in use
    ├── StorageError (OSError)           the study's database server can't be used
    ├── DamagedFileError (OSError)       a checkpoint, database or result file is damaged
    ├── TrainingError (RuntimeError)     training can't go on (NaN loss)
    ├── OutOfMemoryError (MemoryError)   a single image doesn't fit into memory
    ├── DeviceUnavailableError (ConnectionError)   what a measurement needs is away for now
    ├── DeviceFaultError (RuntimeError)  a device told times that can't be
    ├── DeviceRefusedError (PermissionError)   a device turns the run down: its token, its version
    ├── EvaluationError (RuntimeError)   an objective raised or gave no finite number
    ├── WorkerError (RuntimeError)       a worker can't begin, can't be given its work, or dies at it
    ├── ExportError (RuntimeError)       a network can't be exported or loaded
    ├── OutputError (OSError)            what a command prints can't be written, or its arguments can't be read
    └── ServiceError (RuntimeError)      the service can't start, or a server turned a request down

A message is one sentence that says what, what was found, what was expected, and what to do.
"""

import re
import textwrap


class NasError(Exception):
    """Base of every error that a user can cause and put right."""


class SpaceError(NasError, ValueError):
    """A search space or an architecture is not valid."""


class ConversionError(NasError, ValueError):
    """A module can't be turned into a supernet."""


class ShapeError(NasError, ValueError):
    """Tensor shapes do not fit, for some choice."""


class ObjectiveError(NasError, ValueError):
    """An objective, constraint or measurement is not valid."""


class InfeasibleError(NasError, ValueError):
    """No architecture can meet the constraints."""


class DataError(NasError, ValueError):
    """A data set or a split is not valid."""


class StudyError(NasError, ValueError):
    """A study's description is not valid."""


class StudyChangedError(NasError, ValueError):
    """The study no longer matches what its run directory was made with."""


class CatalogError(NasError, LookupError):
    """No study of that name or path."""


class RunDirectoryError(NasError, OSError):
    """The run directory can't be read or written, or another process uses it."""


class StorageError(NasError, OSError):
    """The study's database server can't be reached, or refuses."""


class DamagedFileError(NasError, OSError):
    """A checkpoint, database or result file is damaged."""


class TrainingError(NasError, RuntimeError):
    """Training can't go on."""


class OutOfMemoryError(NasError, MemoryError):
    """A single image doesn't fit into memory, so that no candidate can be evaluated."""


class DeviceUnavailableError(NasError, ConnectionError):
    """A device that measures is away for now: raised by objectives, waited for by runs."""


class DeviceRefusedError(NasError, PermissionError):
    """A device turns every measurement down: the token is wrong, or its agent too old. The run ends."""


class EvaluationError(NasError, RuntimeError):
    """An objective raised, or its value is not a finite number."""


class DeviceFaultError(NasError, RuntimeError):
    """A device told times that can't be, or does what was not asked of it; another attempt may do better."""


class WorkerError(NasError, RuntimeError):
    """Workers can't begin, can't be given their work, or die at it again and again."""


class ExportError(NasError, RuntimeError):
    """A network can't be exported or loaded."""


class OutputError(NasError, OSError):
    """What a command prints can't be written, or what it was given can't be read."""


class ServiceError(NasError, RuntimeError):
    """The service can't start, or a server turned a request down."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def one_line(error: BaseException) -> str:
    """Return what somebody else's error says in one line, for a sentence of ours; its kind where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of what somebody else's error says, without colours, where the others are details."""
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return (lines or [type(error).__name__])[0].rstrip(".")


def kind_and_line(error: BaseException) -> str:
    """Return the kind of somebody else's error and what it says, in one line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...").rstrip(".:")
