"""Who does a run's work, as the command line names it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from nas.errors import StudyError

if TYPE_CHECKING:
    import torch

    from nas.executors import MakeExecutor
    from nas.executors.ray_ranks import RayRanks
    from nas.runner.workplace import Workplace


def executor_of(
    jobs: int | None, ray: str | None, training_device: torch.device
) -> MakeExecutor[Workplace] | None:
    """Return what makes the workers of a run; None where it does everything by itself."""
    if ray is not None:
        from nas.executors.ray import RayCluster
        from nas.executors.ray_connection import check_cluster

        check_cluster(ray)
        return partial(RayCluster, address=ray, num_gpus=float(training_device.type == "cuda"), jobs=jobs)
    from nas.executors import Processes

    return None if jobs in (None, 1) else partial(Processes, jobs=jobs, gpus=_gpus(training_device))


def _gpus(training_device: torch.device) -> Sequence[str]:
    """Return the GPUs that processes share where they may use any; a device with a number is for all of them."""
    import torch

    if training_device.type != "cuda" or training_device.index is not None:
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(visible.split(",") if visible else map(str, range(torch.cuda.device_count())))


def trainers_of(ranks: int | None, ray: str | None, training_device: torch.device) -> RayRanks | None:
    """Return who trains a supernet on a cluster; None where the run's own process does."""
    if ranks is None:
        return None
    if ray is None:
        raise StudyError(
            f"--ranks is for a cluster: add --ray, or begin the run with 'torchrun --nproc-per-node {ranks}'."
        )
    from nas.executors.ray_ranks import RayRanks

    return RayRanks(ray, ranks, num_gpus=float(training_device.type == "cuda"))
