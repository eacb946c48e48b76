"""The description of an experiment: one frozen value, written in a Python file."""

from nas.study.after_search import Adaptation, Trust, Winners
from nas.study.changes import change_study, limitable
from nas.study.reference import network_reference, stable_repr
from nas.study.study import CHANGEABLE, Study

__all__ = [
    "CHANGEABLE",
    "Adaptation",
    "Study",
    "Trust",
    "Winners",
    "change_study",
    "limitable",
    "network_reference",
    "stable_repr",
]
