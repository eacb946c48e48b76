"""The segmentation demo: five of scikit-learn's digits on canvases, 98,016 U-Nets, about four minutes on two cores."""

from functools import partial

from torchvision.transforms import v2

from nas import Int8, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Trust, Winners
from nas.data import DigitsSegmentation
from nas.evaluation import MeanIoU
from search_spaces.unet import unet
from surrogates.mixture import Mixture

_DIGITS = 5
_PAPER = 210
"""About the grey of the canvases, where a transform shows what is beyond them."""


def study() -> Study:
    """Return the study."""
    shake = v2.RandomAffine(
        degrees=8, translate=(0.06, 0.06), fill=_PAPER, interpolation=v2.InterpolationMode.BILINEAR
    )
    return Study(
        name="digits_segmentation",
        network=partial(unet, classes=_DIGITS + 1, channels=1, scale=0.125),
        data=DigitsSegmentation(digits=_DIGITS),
        objectives=(MeanIoU(), Macs(), LatencyMs()),
        recipe=Recipe(epochs=20, batch_size=16, augment=shake),
        strategy=SurrogateSearch(Mixture),
        evaluations=40,
        winners=Winners(
            count=4,
            recipe=Recipe(epochs=6, batch_size=16, learning_rate=2e-3, augment=shake),
            passes=(Int8(),),
        ),
        trust=Trust(count=0),
        intended_use="Telling for each pixel of a canvas which handwritten digit it belongs to; a demonstration of the "
        "search.",
    )
