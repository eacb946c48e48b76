"""The search: an Optuna study as the record, an Optuna sampler as the strategy."""

from nas.search.strategies import OptunaSampler, SurrogateSearch

__all__ = ["OptunaSampler", "SurrogateSearch"]
