"""Handwritten digits row by row: the more surprising a row, the more is computed for it.

Accuracy against the operations that an image takes on average. The model that predicts a row from those above it is
fitted before anything else, to the train split, and kept in the folder ``NAS_CACHE``. A few minutes on two cores,
estimated.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from nas import Accuracy, Recipe, Study, SurrogateSearch, Winners
from nas.data import Digits
from nas.data.locations import cache_folder
from nas.evaluation import ExpectedFlops
from nas.export.folder import save_weights
from nas.files import digest
from search_spaces.surprisal_gated import SurprisalGated, surprisal_gated
from surrogates.mixture import Mixture


def study(epochs: int = 40, evaluations: int = 60, winners: int = 4) -> Study:
    """Return the study.

    Args:
        epochs: Epochs of the supernet's training.
        evaluations: How many architectures to evaluate.
        winners: How many to finish.
    """
    data = Digits()
    return Study(
        name="digits_gated",
        network=partial(surprisal_gated, classes=10),
        data=data,
        objectives=(Accuracy(), ExpectedFlops()),
        recipe=Recipe(epochs=epochs, learning_rate=3e-3),
        strategy=SurrogateSearch(Mixture),
        evaluations=evaluations,
        winners=Winners(count=winners, recipe=Recipe(epochs=10, learning_rate=1e-3)),
        weights=partial(_write_fitted_gate, data),
        intended_use="Reading single handwritten digits of 8x8 pixels; a demonstration of gated computation.",
    )


def _write_fitted_gate(data: Digits, _device: torch.device) -> Path:
    """Return the file of a network's first weights, with the gate fitted to the train split."""
    splits = data.load()
    path = cache_folder() / f"digits-gated-{digest([splits.fingerprint, 1])}.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = surprisal_gated(classes=10)
        assert isinstance(network, SurprisalGated)
        images = splits.train.batch(slice(None))
        assert isinstance(images, torch.Tensor)
        network.gate.fit(images)
        save_weights(path, network)
    return path
