"""Tasks: what networks are for. Each file is one; a user's own is one more, anywhere."""

from nas.tasks.classification import Classification
from nas.tasks.multi_label import MultiLabel
from nas.tasks.regression import Regression
from nas.tasks.segmentation import SemanticSegmentation
from nas.tasks.sequences import SequenceToSequence

__all__ = [
    "Classification",
    "MultiLabel",
    "Regression",
    "SemanticSegmentation",
    "SequenceToSequence",
]
