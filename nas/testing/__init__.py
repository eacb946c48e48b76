"""Contract suites: what every part that a user brings must do. Our own parts pass through the same ones.

Call them from a test of your own::

    from nas.testing import check_surrogate
    from surrogates.my_forest import MyForest


    def test_my_forest_keeps_the_contract() -> None:
        check_surrogate(MyForest)

That looks at every promise of the contract, and those that are broken are one ``AssertionError`` that names them all.
No test framework is needed. With pytest, each promise can be a case of its own::

    @pytest.mark.parametrize("promise", check_surrogate.promises(MyForest), ids=str)
    def test_my_forest(promise: Promise) -> None:
        promise()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.lazy import import_on_demand

if TYPE_CHECKING:
    from nas.testing.compression import check_compression_pass
    from nas.testing.data import check_data_source
    from nas.testing.devices import check_device
    from nas.testing.distillation import check_distillation
    from nas.testing.executors import check_executor
    from nas.testing.networks import check_network
    from nas.testing.objectives import check_counted_objective, check_measured_objective
    from nas.testing.pretraining import check_pretraining
    from nas.testing.promises import BrokenPromisesError, Contract, Promise
    from nas.testing.strategies import check_strategy
    from nas.testing.supernet_training import check_supernet_training
    from nas.testing.surrogates import check_surrogate
    from nas.testing.tasks import check_quality, check_task
    from nas.testing.toy import toy_evaluate, toy_problem
else:
    # The jobs of check_executor are imported by workers, which need nothing else of this package.
    __getattr__ = import_on_demand(
        __name__,
        {
            "nas.testing.compression": "check_compression_pass",
            "nas.testing.data": "check_data_source",
            "nas.testing.devices": "check_device",
            "nas.testing.distillation": "check_distillation",
            "nas.testing.executors": "check_executor",
            "nas.testing.networks": "check_network",
            "nas.testing.objectives": "check_counted_objective check_measured_objective",
            "nas.testing.pretraining": "check_pretraining",
            "nas.testing.promises": "BrokenPromisesError Contract Promise",
            "nas.testing.strategies": "check_strategy",
            "nas.testing.supernet_training": "check_supernet_training",
            "nas.testing.surrogates": "check_surrogate",
            "nas.testing.tasks": "check_quality check_task",
            "nas.testing.toy": "toy_evaluate toy_problem",
        },
    )

__all__ = [
    "BrokenPromisesError",
    "Contract",
    "Promise",
    "check_compression_pass",
    "check_counted_objective",
    "check_data_source",
    "check_device",
    "check_distillation",
    "check_executor",
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
