"""Multi-objective neural architecture search: a network with choices in, a Pareto set of models out."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.choices import Choice, choice
    from nas.compression import FineTune, Int8, Pipeline, Prune
    from nas.errors import NasError
    from nas.evaluation import Accuracy, Flops, LatencyMs, Macs, NumParams, TrainingMacs, WeightBytes
    from nas.evaluation.from_scratch import FromScratch
    from nas.evaluation.hurdles import Hurdles
    from nas.evaluation.proxy import ProxySubset
    from nas.evaluation.zero_cost import ZeroCost
    from nas.export import load
    from nas.objective import Measurement, Objective
    from nas.objectives import Constraint
    from nas.search import LocalSearch, OptunaSampler, ResponseSurfaceSearch, SurrogateSearch, TwoStage
    from nas.space import Architecture, SearchSpace
    from nas.study import Adaptation, Study, Trust, Winners
    from nas.supernet import (
        Contrastive,
        MaskedLanguage,
        NoTraining,
        ProgressiveShrinking,
        SandwichRule,
        SinglePath,
        SpecializedEmbedding,
        Supernet,
    )
    from nas.supernet.scaling import Scaling
    from nas.training import Recipe
else:
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.choices": "Choice choice",
            "nas.compression": "FineTune Int8 Pipeline Prune",
            "nas.errors": "NasError",
            "nas.evaluation": "Accuracy Flops LatencyMs Macs NumParams TrainingMacs WeightBytes",
            "nas.evaluation.from_scratch": "FromScratch",
            "nas.evaluation.hurdles": "Hurdles",
            "nas.evaluation.proxy": "ProxySubset",
            "nas.evaluation.zero_cost": "ZeroCost",
            "nas.export": "load",
            "nas.objective": "Measurement Objective",
            "nas.objectives": "Constraint",
            "nas.search": "LocalSearch OptunaSampler ResponseSurfaceSearch SurrogateSearch TwoStage",
            "nas.space": "Architecture SearchSpace",
            "nas.study": "Adaptation Study Trust Winners",
            "nas.supernet": (
                "Contrastive MaskedLanguage NoTraining ProgressiveShrinking SandwichRule SinglePath "
                "SpecializedEmbedding Supernet"
            ),
            "nas.supernet.scaling": "Scaling",
            "nas.training": "Recipe",
        },
    )

__all__ = [
    "Accuracy",
    "Adaptation",
    "Architecture",
    "Choice",
    "Constraint",
    "Contrastive",
    "FineTune",
    "Flops",
    "FromScratch",
    "Hurdles",
    "Int8",
    "LatencyMs",
    "LocalSearch",
    "Macs",
    "MaskedLanguage",
    "Measurement",
    "NasError",
    "NoTraining",
    "NumParams",
    "Objective",
    "OptunaSampler",
    "Pipeline",
    "ProgressiveShrinking",
    "ProxySubset",
    "Prune",
    "Recipe",
    "ResponseSurfaceSearch",
    "SandwichRule",
    "Scaling",
    "SearchSpace",
    "SinglePath",
    "SpecializedEmbedding",
    "Study",
    "Supernet",
    "SurrogateSearch",
    "TrainingMacs",
    "Trust",
    "TwoStage",
    "WeightBytes",
    "Winners",
    "ZeroCost",
    "choice",
    "load",
]
