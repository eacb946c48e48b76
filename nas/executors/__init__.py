"""Executors run the jobs of a run: in this process, in other processes, or on a cluster."""

from nas.executors.executor import (
    Done,
    Executor,
    Failed,
    Job,
    Lost,
    MakeExecutor,
    MakeWorkplace,
    Outcome,
    Rest,
    Work,
)
from nas.executors.persistent import Persistent, run_all
from nas.executors.processes import Processes
from nas.executors.serial import Serial

__all__ = [
    "Done",
    "Executor",
    "Failed",
    "Job",
    "Lost",
    "MakeExecutor",
    "MakeWorkplace",
    "Outcome",
    "Persistent",
    "Processes",
    "Rest",
    "Serial",
    "Work",
    "run_all",
]
