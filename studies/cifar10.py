"""CIFAR-10: accuracy, MACs and CPU latency among 1.1e12 networks.

Needs the data in the folder that the environment variable ``NAS_DATA`` names, as torchvision reads it; once,
``TorchvisionData("CIFAR10", download=True).load()`` fetches it (170 MB).

Whole, it is for one GPU: about two hours, estimated. On two cores an epoch of the supernet takes 14 minutes of
processor time, measured, and the whole about two days, estimated; a study file of your own may ask for less with
``study(limit=...)``.
"""

from __future__ import annotations

from functools import partial

from torchvision.transforms import v2

from nas import Accuracy, Int8, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Winners
from nas.data import TorchvisionData
from search_spaces.convnet import convnet
from surrogates.mixture import Mixture

_MEAN_COLOUR = (125, 123, 114)
"""Mean of the images' channels, which surrounds a shifted image."""


def study(
    limit: int | None = None,
    test_limit: int | None = None,
    epochs: int = 60,
    evaluations: int = 300,
    winners: int = 6,
    fine_tuning_epochs: int = 30,
) -> Study:
    """Return the study.

    Args:
        limit: How many of the 50,000 images to train and search with; None for all.
        test_limit: How many of the 10,000 images to test with; None for all.
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    shift = v2.Compose([v2.RandomCrop(32, padding=4, fill=_MEAN_COLOUR), v2.RandomHorizontalFlip()])
    return Study(
        name="cifar10",
        network=partial(convnet, classes=10, channels=3, resolution=32),
        data=TorchvisionData("CIFAR10", limit=limit, test_limit=test_limit),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=128, augment=shift),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=128, learning_rate=2e-3, augment=shift),
            passes=(Int8(),),
        ),
        intended_use="Telling ten kinds of things apart on colour images of 32x32 pixels; a benchmark.",
    )
