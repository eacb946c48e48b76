"""Fashion-MNIST: accuracy, MACs and CPU latency among 1.4e9 networks.

Needs the data in the folder that the environment variable ``NAS_DATA`` names, as torchvision reads it; once,
``TorchvisionData("FashionMNIST", download=True).load()`` fetches it (30 MB).

Whole, it is for one GPU: an epoch of the supernet takes 23 seconds on an H100, measured, the whole about an hour,
estimated. On two cores an epoch takes ten minutes of processor time, measured, and the whole about a day, estimated. A
study file of your own may ask for less: with
``study(limit=1_500, test_limit=1_000, epochs=3, evaluations=24, winners=2, fine_tuning_epochs=1)`` everything runs
once in two and a half minutes of processor time, measured, and the best network reaches 70 %.
"""

from __future__ import annotations

from functools import partial

from torchvision.transforms import v2

from nas import Accuracy, Int8, LatencyMs, Macs, Recipe, Scaling, Study, SurrogateSearch, Winners
from nas.data import TorchvisionData
from search_spaces.convnet import convnet
from surrogates.mixture import Mixture


def study(
    limit: int | None = None,
    test_limit: int | None = None,
    epochs: int = 40,
    evaluations: int = 300,
    winners: int = 6,
    fine_tuning_epochs: int = 20,
) -> Study:
    """Return the study.

    Args:
        limit: How many of the 60,000 images to train and search with; None for all.
        test_limit: How many of the 10,000 images to test with; None for all.
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
        fine_tuning_epochs: Epochs of the fine-tuning of each winner.
    """
    shift = v2.Compose([v2.RandomCrop(28, padding=2), v2.RandomHorizontalFlip()])
    return Study(
        name="fashion_mnist",
        network=partial(convnet, classes=10, channels=1, resolution=28),
        data=TorchvisionData("FashionMNIST", limit=limit, test_limit=test_limit),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=epochs, batch_size=128, augment=shift),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(
            count=winners,
            recipe=Recipe(epochs=fine_tuning_epochs, batch_size=128, learning_rate=2e-3, augment=shift),
            passes=(Int8(),),
        ),
        scaling=Scaling(width=("*.width",), depth={"stage*.extra_depth": 1}, divisor=4),
        intended_use="Telling ten kinds of clothing apart on grey images of 28x28 pixels; a benchmark.",
    )
