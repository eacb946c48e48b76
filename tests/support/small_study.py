"""The demo with little of everything, for the command line; on a board whose latencies are the same each time."""

from functools import partial

from boards import Board

from nas import Accuracy, Adaptation, Int8, LatencyMs, Macs, Recipe, Study, SurrogateSearch, Trust, Winners
from nas.data import Digits
from search_spaces.convnet import convnet
from surrogates.mlp_ensemble import MlpEnsemble


def study() -> Study:
    return Study(
        name="small",
        network=partial(convnet, classes=10, channels=1, resolution=8),
        data=Digits(),
        objectives=(Accuracy(), Macs(), LatencyMs(Board(), short_seconds=0.005, long_seconds=0.02)),
        recipe=Recipe(epochs=1),
        strategy=SurrogateSearch(partial(MlpEnsemble, steps=20), num_startup=8, batch_size=4),
        evaluations=12,
        trust=Trust(count=1),
        winners=Winners(
            count=2,
            recipe=Recipe(epochs=1, learning_rate=1e-3),
            adaptation=Adaptation(candidates=8, steps=4),
            passes=(Int8(num_images=64),),
        ),
    )
