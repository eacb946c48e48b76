"""The search: an Optuna study as the record, an Optuna sampler as the strategy."""

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.search.local_search import LocalSearch
    from nas.search.smithson import Smithson
    from nas.search.strategies import OptunaSampler, SurrogateSearch
    from nas.search.two_stage import TwoStage
else:
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.search.local_search": "LocalSearch",
            "nas.search.smithson": "Smithson",
            "nas.search.strategies": "OptunaSampler SurrogateSearch",
            "nas.search.two_stage": "TwoStage",
        },
    )

__all__ = ["LocalSearch", "OptunaSampler", "Smithson", "SurrogateSearch", "TwoStage"]
