"""The description of an experiment: one frozen value, written in a Python file."""

from nas.study.changes import changed, limitable
from nas.study.parts import Adaptation, Trust, Winners
from nas.study.reference import network_reference, stable_repr
from nas.study.study import CHANGEABLE, Study

__all__ = [
    "CHANGEABLE",
    "Adaptation",
    "Study",
    "Trust",
    "Winners",
    "changed",
    "limitable",
    "network_reference",
    "stable_repr",
]
