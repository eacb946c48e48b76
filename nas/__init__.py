"""Multi-objective neural architecture search: a network with choices in, a Pareto set of models out."""

from nas.compression import Int8
from nas.errors import NasError
from nas.evaluation import Accuracy, Flops, LatencyMs, Macs, NumParams, WeightBytes
from nas.export import load
from nas.objective import Measurement, Objective
from nas.protocols import Constraint
from nas.search import LocalSearch, OptunaSampler, Smithson, SurrogateSearch, TwoStage
from nas.space import Architecture, Choice, SearchSpace, choice
from nas.study import Study, Winners
from nas.supernet import Supernet
from nas.training import Recipe

__all__ = [
    "Accuracy",
    "Architecture",
    "Choice",
    "Constraint",
    "Flops",
    "Int8",
    "LatencyMs",
    "LocalSearch",
    "Macs",
    "Measurement",
    "NasError",
    "NumParams",
    "Objective",
    "OptunaSampler",
    "Recipe",
    "SearchSpace",
    "Smithson",
    "Study",
    "Supernet",
    "SurrogateSearch",
    "TwoStage",
    "WeightBytes",
    "Winners",
    "choice",
    "load",
]
