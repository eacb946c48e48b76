"""The search: an Optuna study as the record, an Optuna sampler as the strategy."""

from nas.search.local_search import LocalSearch
from nas.search.smithson import Smithson
from nas.search.strategies import OptunaSampler, SurrogateSearch
from nas.search.two_stage import TwoStage

__all__ = ["LocalSearch", "OptunaSampler", "Smithson", "SurrogateSearch", "TwoStage"]
