"""Weight-sharing networks: elastic layers, the supernet, its training and its recalibration."""

from nas.supernet.convert import elastic_module
from nas.supernet.no_training import NoTraining
from nas.supernet.one_output import OneOutput
from nas.supernet.ordering import order_by_importance
from nas.supernet.pretraining import Contrastive, MaskedLanguage, SpecializedEmbedding
from nas.supernet.recalibrate import recalibrate
from nas.supernet.sandwich import SandwichRule
from nas.supernet.shrinking import ProgressiveShrinking
from nas.supernet.single_path import SinglePath
from nas.supernet.supernet import Supernet

__all__ = [
    "Contrastive",
    "MaskedLanguage",
    "NoTraining",
    "OneOutput",
    "ProgressiveShrinking",
    "SandwichRule",
    "SinglePath",
    "SpecializedEmbedding",
    "Supernet",
    "elastic_module",
    "order_by_importance",
    "recalibrate",
]
