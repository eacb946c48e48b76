"""A network that exists: torchvision's ResNet-18, trained on Fashion-MNIST, then cut to smaller ones.

Needs what ``fashion_mnist`` needs. The first run trains the network, before anything else, and keeps its weights in
the folder ``NAS_CACHE``, which all processes of a run must see; later runs find them there.

Whole, it is for one GPU: about an hour, estimated. On two cores an epoch of the supernet takes six minutes of
processor time, measured, and the whole about half a day, estimated; a study file of your own may ask for less with
``study(limit=...)``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torchvision.transforms import v2

from nas import Accuracy, Int8, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import TorchvisionData
from nas.data.locations import cache_folder
from nas.export.folder import save_weights
from nas.files import digest
from nas.study import stable_repr
from nas.supernet import elastic_module
from nas.tasks import Classification
from nas.training import make_supervised_step, train
from search_spaces.resnet18 import plain_resnet18, resnet18
from surrogates.mixture import Mixture

CLASSES = Classification(10)

_CLASSES, _CHANNELS, _RESOLUTION = 10, 1, 28


def study(
    limit: int | None = None,
    test_limit: int | None = None,
    pretraining_epochs: int = 15,
    epochs: int = 15,
    evaluations: int = 200,
    winners: int = 6,
    fine_tuning_epochs: int = 8,
) -> Study:
    """Return the study; a run of it trains the network first, if no earlier one has.

    Args:
        limit: How many of the 60,000 images to train and search with; None for all.
        test_limit: How many of the 10,000 images to test with; None for all.
        pretraining_epochs: Epochs of the training of the network alone.
        epochs: Epochs of the supernet, which begins with its weights.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    data = TorchvisionData("FashionMNIST", limit=limit, test_limit=test_limit)
    shift = v2.Compose([v2.RandomCrop(_RESOLUTION, padding=2), v2.RandomHorizontalFlip()])
    recipe = Recipe(epochs=epochs, batch_size=128, learning_rate=1e-3, augment=shift)
    pretraining = Recipe(epochs=pretraining_epochs, batch_size=128, learning_rate=2e-3, augment=shift)
    return Study(
        name="resnet18_pretrained",
        network=partial(resnet18, classes=_CLASSES, channels=_CHANNELS, resolution=_RESOLUTION),
        data=data,
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=recipe,
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=128, learning_rate=1e-3, augment=shift),
            passes=(Int8(),),
        ),
        weights=partial(_train_network, data, pretraining),
        intended_use="Telling ten kinds of clothing apart on grey images of 28x28 pixels; a benchmark.",
    )


def _train_network(data: TorchvisionData, recipe: Recipe, device: torch.device) -> Path:
    """Return the file with the weights of the elastic network, trained as a plain one."""
    splits = data.load()
    path = cache_folder() / f"resnet18-{digest([splits.fingerprint, stable_repr(recipe)])}.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = plain_resnet18(_CLASSES, _CHANNELS)
        train(
            network,
            make_supervised_step(network, CLASSES, recipe),
            splits.train,
            recipe,
            seed=0,
            device=device,
            checkpoint=path.with_suffix(".checkpoint"),
        )
        example = torch.zeros(2, _CHANNELS, _RESOLUTION, _RESOLUTION)
        save_weights(path, elastic_module(network.to("cpu"), example))
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return path
