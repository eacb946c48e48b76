"""FMAS (Xiong 2023) on CamVid: a trained DeepLabV3+ is cut to smaller ones without training, and the front finished.

Needs ``camvid/camvid_160x120.npz`` in the folder that ``NAS_DATA`` names: 367 + 101 + 233 street scenes in 11 classes
(Brostow 2009), the parts of Badrinarayanan 2017. The first run trains the network, before anything else, and keeps its
weights in the folder ``NAS_CACHE``; ``study(weights=...)`` takes those of a network that was trained elsewhere.

On one core the training takes half an hour, five hundred evaluations as long again, and a winner five minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import torch
from torchvision.transforms import v2

from nas import LatencyMs, Macs, NoTraining, ProxySubset, Recipe, Study, SurrogateSearch, Trust, Winners
from nas.data.fingerprint import fingerprint
from nas.data.locations import cache_folder, data_root
from nas.errors import DataError
from nas.evaluation import MeanIoU, ModelledGap8Ms
from nas.export.folder import save_weights
from nas.files import digest
from nas.space import Architecture
from nas.splits import Split, Splits
from nas.strategy import Strategy
from nas.study import stable_repr
from nas.supernet import Supernet, order_by_importance
from nas.tasks import SemanticSegmentation
from nas.training import make_supervised_step, train
from search_spaces.deeplabv3plus import deeplabv3plus
from surrogates.mixture import Mixture

_FILE = "camvid/camvid_160x120.npz"
_HEIGHT, _WIDTH = 120, 160
_CLASSES, _VOID = 11, 11
_RARITY = 1.02
"""Keeps the weights of classes between 1 and 50."""


@final
@dataclass(frozen=True)
class CamVid:
    """Street scenes of 160x120 pixels with a class for each, in their official parts.

    In the loss a class weighs 1 / ln(1.02 + its share), so that rare ones count (Paszke 2016, section 5.2).

    Args:
        root: The folder of data sets; None for the one that ``NAS_DATA`` names.
        limit: How many images of each part to take; None for all.
    """

    root: str | Path | None = None
    limit: int | None = None

    def load(self) -> Splits:
        """Read the file.

        Raises:
            DataError: it is missing, or something else.
        """
        path = data_root(self.root, "CamVid") / _FILE
        try:
            with np.load(path, allow_pickle=False) as stored:
                parts = [
                    (stored[f"{part}_images"], stored[f"{part}_labels"]) for part in ("train", "val", "test")
                ]
                names = tuple(str(name) for name in stored["class_names"][:_CLASSES])
        except (OSError, KeyError, ValueError) as error:
            raise DataError(
                f"{path} is not CamVid at 160x120 ({error}): put the file there, or name another folder in NAS_DATA."
            ) from error
        pixels, labels = parts[0]
        mean, std = (tuple(map(float, found)) for found in (pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))))
        splits = [
            Split(
                torch.from_numpy(images[: self.limit]).permute(0, 3, 1, 2).contiguous(),
                torch.from_numpy(targets[: self.limit]),
                mean,
                std,
            )
            for images, targets in parts
        ]
        shares = np.bincount(labels[labels != _VOID], minlength=_CLASSES) / (labels != _VOID).sum()
        weights = tuple(map(float, 1 / np.log(_RARITY + shares)))
        return Splits(
            "CamVid",
            train=splits[0],
            search=splits[1],
            test=splits[2],
            task=SemanticSegmentation(_CLASSES, names, _VOID, weights),
            mean=mean,
            std=std,
            fingerprint=fingerprint("CamVid", splits, official_test=True, official_search=True),
        )


def study(
    data: CamVid | None = None,
    weights: Path | None = None,
    scale: float = 0.5,
    training_epochs: int = 60,
    recalibration: int = 16,
    latencies: int | None = 80,
    strategy: Strategy | None = None,
    evaluations: int = 500,
    winners: int = 6,
    fine_tuning_epochs: int = 20,
    gap8: bool = False,
) -> Study:
    """Return the study; a run of it trains the network first, unless given weights or an earlier run's are there.

    Args:
        data: Where the images are; None for all that ``NAS_DATA`` holds.
        weights: Weights of a trained ``deeplabv3plus`` of this scale; None to train it.
        scale: Scale of the network's widths.
        training_epochs: Epochs of the training of the network, whole.
        recalibration: Images that a candidate's batch-norm statistics are computed anew on; 0 to evaluate it with
            those of the whole network, as Xiong 2023 does. With 16 the mean IoU of candidates is that with all images,
            within a tenth of a point (``benchmarks/fmas.py``).
        latencies: How many latencies a search measures, from which it predicts the others; None to measure all. To
            export a candidate and to measure it takes three times as long as all else of an evaluation.
        strategy: How architectures are proposed; None for ours. ``OptunaSampler("NSGAIISampler")`` is the paper's.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
        gap8: Whether the front is that of mean IoU and latency on a GAP8, the second one of Xiong 2023. Ours is
            modelled, not the device's.
    """
    data = data or CamVid()
    network = partial(deeplabv3plus, classes=_CLASSES, channels=3, resolution=_HEIGHT, scale=scale)
    crop = v2.RandomResizedCrop((_HEIGHT, _WIDTH), scale=(0.4, 1), ratio=(_WIDTH / _HEIGHT,) * 2)
    augment = v2.Compose([crop, v2.RandomHorizontalFlip()])
    recipe = Recipe(epochs=training_epochs, batch_size=8, label_smoothing=0, augment=augment)
    return Study(
        name="fmas_camvid",
        network=network,
        data=data,
        objectives=(MeanIoU(), ModelledGap8Ms())
        if gap8
        else (MeanIoU(), Macs(), LatencyMs(measurements=latencies)),
        recipe=recipe,
        strategy=strategy or SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(
                epochs=fine_tuning_epochs,
                batch_size=8,
                learning_rate=1e-3,
                label_smoothing=0,
                augment=augment,
            ),
        ),
        training=NoTraining(),
        warm_start=(_whole(network),),
        weights=weights or partial(_train_network, data, network, recipe),
        proxy=ProxySubset(),
        recalibration=recalibration,
        trust=Trust(count=0),  # nothing but the front is fine-tuned
        intended_use="Telling what is where in street scenes of 160x120 pixels; a benchmark.",
    )


def _whole(network: partial[torch.nn.Module]) -> Architecture:
    """Return the architecture of the network as it was trained: nothing else tells a search what it starts from."""
    with torch.device("meta"):
        return Supernet(network()).space.largest()


def _train_network(
    data: CamVid, network: partial[torch.nn.Module], recipe: Recipe, device: torch.device
) -> Path:
    """Return the file with the weights of the whole network, its channels in the order of their importance."""
    splits = data.load()
    known = [splits.fingerprint, stable_repr(recipe), stable_repr(network)]
    path = cache_folder() / f"deeplabv3plus-{digest(known)}.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            supernet = Supernet(network())
        train(
            supernet,
            make_supervised_step(supernet, splits.task, recipe),
            splits.train,
            recipe,
            seed=0,
            device=device,
            checkpoint=path.with_suffix(".checkpoint"),
        )
        order_by_importance(supernet.to("cpu").eval(), splits.train.batch(slice(0, 2)))
        save_weights(path, supernet.module)
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return path
