"""The demo: scikit-learn's digits, 1.4e9 architectures, about six minutes on two cores."""

from functools import partial

from torchvision.transforms import v2

from nas import Accuracy, LatencyMs, Macs, Recipe, Scaling, Study, SurrogateSearch, Winners
from nas.compression import Cluster
from nas.data import Digits
from search_spaces.convnet import convnet
from surrogates.mixture import Mixture


def study() -> Study:
    """Return the study."""
    shake = v2.RandomAffine(
        degrees=12, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR
    )
    return Study(
        name="digits",
        network=partial(convnet, classes=10, channels=1, resolution=8),
        data=Digits(),
        objectives=(Accuracy(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=32, augment=shake),
        strategy=SurrogateSearch(Mixture),
        evaluations=150,
        winners=Winners(
            count=6, recipe=Recipe(epochs=12, learning_rate=1e-3, augment=shake), passes=(Cluster(bits=4),)
        ),
        scaling=Scaling(width=("*.width",), depth={"stage*.extra_depth": 1}, divisor=4),
        intended_use="Reading single handwritten digits of 8x8 pixels; a demonstration of the search.",
    )
