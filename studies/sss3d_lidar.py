"""SSS3D on airborne LiDAR: mean IoU, MACs and CPU latency among 4.5e15 RandLA-Nets, searched in two stages.

After Therrien 2023: RandLA-Net (Hu 2020) is the supernet, and the first stage searches the sampling alone, which
changes no weight's shape; the second goes on from what that found and searches the architecture. Needs
``pointcloud_ign/ign_lidar_50m_tiles.npz`` in the folder that the environment variable ``NAS_DATA`` names: six tiles of
50 m, of which three train, candidates are evaluated on one, and two test.

On one core an epoch of the supernet takes 20 seconds of processor time, measured, and the whole about half an hour,
estimated.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from nas import LatencyMs, Macs, Recipe, Study, SurrogateSearch, TwoStage, Winners
from nas.data import PointCloudFolder
from nas.evaluation import MeanIoU
from search_spaces.randla_net import randla_net
from surrogates.mixture import Mixture

CLASSES = ("other", "ground", "low or medium vegetation", "high vegetation", "building")
SAMPLING = ("points", "stage?.neighbours", "stage?.decimation")
ARCHITECTURE = ("layers", "stem.*", "head.*", "decoder?.width", "stage?.width", "stage?.extra_units")


def turn(clouds: Tensor) -> Tensor:
    """Return ``(n, points, 3 + features)`` clouds turned around the vertical, mirrored and scaled by up to a tenth."""
    count = len(clouds)
    angle, size = 2 * math.pi * torch.rand(count, 1), 0.9 + 0.2 * torch.rand(count, 1)
    x, y, z = clouds[..., :3].unbind(-1)
    y = torch.where(torch.rand(count, 1) < 0.5, -y, y)
    cos, sin = size * angle.cos(), size * angle.sin()
    places = torch.stack((cos * x - sin * y, sin * x + cos * y, size * z), -1)
    return torch.cat((places, clouds[..., 3:]), -1)


def study(
    epochs: int = 20,
    evaluations: int = 100,
    winners: int = 4,
    fine_tuning_epochs: int = 6,
    two_stage: bool = True,
) -> Study:
    """Return the study.

    Args:
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
        two_stage: Whether the sampling is searched before the architecture, as in the paper, or all at once, which
            finds more in 60 evaluations of mean IoU and MACs (``benchmarks/sss3d.py``).
    """
    inner = SurrogateSearch(Mixture)
    staged = TwoStage(inner, (SAMPLING, ARCHITECTURE), first_evaluations=max(1, evaluations // 4))
    return Study(
        name="sss3d_lidar",
        network=partial(
            randla_net,
            classes=len(CLASSES),
            features=3,
            points=1024,
            first_width=8,
            width=16,
            neighbours=12,
            dropout=0.0,
        ),
        data=PointCloudFolder(
            "pointcloud_ign/ign_lidar_50m_tiles.npz",
            class_names=CLASSES,
            search=("*/3",),
            test=("*/[45]",),
            features=("intensity", "return_number", "number_of_returns"),
            coordinates=("xyz",),
            tile="tile",
            grid=0.5,
            cuts=4,
            name="IGN LiDAR, six tiles",
        ),
        objectives=(MeanIoU(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=8, learning_rate=5e-3, augment=turn),
        strategy=staged if two_stage else inner,
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=8, learning_rate=1e-3, augment=turn),
        ),
        intended_use="Telling ground, vegetation and buildings apart in airborne LiDAR of a town; a benchmark.",
    )
