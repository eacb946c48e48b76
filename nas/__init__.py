"""Multi-objective neural architecture search: a network with choices in, a Pareto set of models out."""

from nas.choices import Choice, choice
from nas.compression import Int8
from nas.errors import NasError
from nas.evaluation import Accuracy, Flops, LatencyMs, Macs, NumParams, WeightBytes
from nas.evaluation.from_scratch import FromScratch
from nas.evaluation.hurdles import Hurdles
from nas.evaluation.proxy import ProxySubset
from nas.export import load
from nas.objective import Measurement, Objective
from nas.protocols import Constraint
from nas.search import LocalSearch, OptunaSampler, Smithson, SurrogateSearch, TwoStage
from nas.space import Architecture, SearchSpace
from nas.study import Study, Trust, Winners
from nas.supernet import NoTraining, ProgressiveShrinking, SandwichRule, SinglePath, Supernet
from nas.training import Recipe

__all__ = [
    "Accuracy",
    "Architecture",
    "Choice",
    "Constraint",
    "Flops",
    "FromScratch",
    "Hurdles",
    "Int8",
    "LatencyMs",
    "LocalSearch",
    "Macs",
    "Measurement",
    "NasError",
    "NoTraining",
    "NumParams",
    "Objective",
    "OptunaSampler",
    "ProgressiveShrinking",
    "ProxySubset",
    "Recipe",
    "SandwichRule",
    "SearchSpace",
    "SinglePath",
    "Smithson",
    "Study",
    "Supernet",
    "SurrogateSearch",
    "Trust",
    "TwoStage",
    "WeightBytes",
    "Winners",
    "choice",
    "load",
]
