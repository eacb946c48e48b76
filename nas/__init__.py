"""Multi-objective neural architecture search. See README.md."""

from nas.space import Architecture, Choice, SearchSpace, choice
from nas.supernet import Supernet

__all__ = ["Architecture", "Choice", "SearchSpace", "Supernet", "choice"]
