"""Contract suites: what every part that a user brings must do. Our own parts pass through the same ones.

Call them from a test of your own::

    from nas.testing import check_surrogate
    from surrogates.my_forest import MyForest


    def test_my_forest_keeps_the_contract() -> None:
        check_surrogate(MyForest)

A broken promise is an ``AssertionError`` that says which. No test framework is needed.
"""

from __future__ import annotations

from nas.testing.compression import check_compression_pass
from nas.testing.data import check_data_source
from nas.testing.devices import check_device
from nas.testing.distillation import check_distillation
from nas.testing.networks import check_network
from nas.testing.objectives import check_counted_objective, check_measured_objective
from nas.testing.pretraining import check_pretraining
from nas.testing.strategies import check_strategy, toy_evaluate, toy_problem
from nas.testing.supernet_training import check_supernet_training
from nas.testing.surrogates import check_surrogate
from nas.testing.tasks import check_quality, check_task

__all__ = [
    "check_compression_pass",
    "check_counted_objective",
    "check_data_source",
    "check_device",
    "check_distillation",
    "check_measured_objective",
    "check_network",
    "check_pretraining",
    "check_quality",
    "check_strategy",
    "check_supernet_training",
    "check_surrogate",
    "check_task",
    "toy_evaluate",
    "toy_problem",
]
