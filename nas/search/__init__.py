"""The search: an Optuna study as the record, an Optuna sampler as the strategy."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.search.strategies.local_search import LocalSearch
    from nas.search.strategies.optuna_sampler import OptunaSampler
    from nas.search.strategies.response_surface import ResponseSurfaceSearch
    from nas.search.strategies.surrogate_search import SurrogateSearch
    from nas.search.strategies.two_stage import TwoStage
else:
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.search.strategies.local_search": "LocalSearch",
            "nas.search.strategies.response_surface": "ResponseSurfaceSearch",
            "nas.search.strategies.optuna_sampler": "OptunaSampler",
            "nas.search.strategies.surrogate_search": "SurrogateSearch",
            "nas.search.strategies.two_stage": "TwoStage",
        },
    )

__all__ = ["LocalSearch", "OptunaSampler", "ResponseSurfaceSearch", "SurrogateSearch", "TwoStage"]
