"""Specialized embedding approximation (Srivastava 2021, "SEA")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, final

import numpy as np
import safetensors.torch
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers, check_kind, failing_as
from nas.errors import StudyError
from nas.inputs import Inputs, InputSpec, place_inputs
from nas.progress import Pretext
from nas.space import FloatArray, IntArray
from nas.splits import Split
from nas.supernet.pretraining.features import (
    Features,
    Leading,
    check_settings,
    draw_subnets,
    run_in_evaluation,
)
from nas.supernet.supernet import Supernet
from nas.training import Losses, Recipe

_AT_A_TIME = 256
"""Items that the teacher sees at a time, which bounds the memory that its layers take."""
_CLUSTERS = 16
"""Clusters of k-means. A choice, not measured: enough for classes and what differs within them, few enough to have many
items each."""

Sampler = Literal["random", "kmeans"]


@final
@dataclass(frozen=True)
class SpecializedEmbedding:
    """Networks learn what a large one makes of the items of a domain, as far as it differs there (Srivastava 2021).

    The teacher's embedding is what goes into its last layer. Its principal components on a sample of the items are
    what is learned, by the mean squared error, from all of the items, before a classifier is trained on top.

    A *variant*: the paper's student gives the embedding itself, ours what goes into its last layer, of which a linear
    map, which is thrown away afterwards, makes the embedding, so that subnets of every width can learn it; and the
    training of the classifier changes the whole network.

    Args:
        recipe: How long and how fast.
        teacher: Makes the large network.
        weights: Its safetensors file.
        size: Components that are kept.
        sampler: Whether items for the components are drawn at random, or as many from each cluster (k-means).
        sample: How many.
        num_random: Subnets between the largest and the smallest.

    Raises:
        StudyError: a setting is out of range.
    """

    recipe: Recipe
    teacher: Callable[[], nn.Module]
    weights: Path
    size: int = 64
    sampler: Sampler = "random"
    sample: int = 1000
    num_random: int = 1

    def __post_init__(self) -> None:
        holder = "SpecializedEmbedding"
        check_kind(holder, "recipe", self.recipe, Recipe, "a Recipe such as Recipe(epochs=30)")
        check_kind(holder, "weights", self.weights, Path, "the pathlib.Path of a safetensors file")
        check_integers(self, "size", "sample", "num_random")
        check_settings(holder, self.recipe, self.num_random)
        if not callable(self.teacher) or isinstance(self.teacher, nn.Module):
            raise StudyError(f"{holder} has a teacher that is no function: give one that makes the network.")
        if self.sampler not in ("random", "kmeans"):
            raise StudyError(f"{holder} has sampler={self.sampler!r}: 'random' or 'kmeans' is expected.")
        if not 1 <= self.size <= self.sample:
            raise StudyError(
                f"{holder} keeps size={self.size} components of sample={self.sample} items: at least 1, and no more "
                "than items, are expected."
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The teacher's weights."""
        return (self.weights,)

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        """Return the task of giving the teacher's components; the teacher sees every item once, here.

        Raises:
            StudyError: the teacher can't be made, fits neither its weights nor the items, or has fewer features than
                components are asked for; or there are no features in front of the network's last layer.
        """
        features = Features(supernet, inputs, "the network")
        device = next(supernet.parameters()).device
        targets = reduce_embeddings(self._embeddings(data, inputs, device), self)
        projection = Leading(features.width, self.size)

        def step(batch: Inputs, wanted: Tensor, generator: torch.Generator) -> Losses:
            for architecture in draw_subnets(supernet, self.num_random, generator):
                with supernet.active(architecture):
                    yield F.mse_loss(projection(features.of(batch)), wanted)

        return Pretext(nn.ModuleList([supernet, projection]), replace(data, targets=targets), step)

    def _embeddings(self, data: Split, inputs: InputSpec, device: torch.device) -> FloatArray:
        mend = "let it take the study's data, and name its own weights"
        with failing_as(StudyError, "the teacher of SpecializedEmbedding failed", mend):
            teacher = self.teacher()
            teacher.load_state_dict(safetensors.torch.load(self.weights.read_bytes()))
            teacher.to(device)
            features = Features(teacher, inputs, "the teacher")
            parts = [
                run_in_evaluation(teacher, partial(features.of, place_inputs(batch, device))).cpu()
                for batch in data.batches(_AT_A_TIME)
            ]
        return np.asarray(torch.cat(parts).double().numpy())


def reduce_embeddings(embeddings: FloatArray, how: SpecializedEmbedding) -> Tensor:
    """Return ``(n, size)`` float32 components of ``(n, width)`` embeddings, found on a sample.

    All are divided by one number, so that their mean square is 1: a learning rate then means the same for any teacher.

    Raises:
        StudyError: there are fewer features or items than components.
    """
    rows = sample_rows(embeddings, how.sample, how.sampler)
    if how.size > min(len(rows), embeddings.shape[1]):
        raise StudyError(
            f"SpecializedEmbedding keeps size={how.size} components of {embeddings.shape[1]} features, found on "
            f"{len(rows)} items: ask for no more than the smaller number."
        )
    found = PCA(how.size, svd_solver="full").fit(embeddings[rows]).transform(embeddings)
    scale = np.sqrt(np.mean(np.square(found))) or 1.0
    return torch.from_numpy((found / scale).astype(np.float32))


def sample_rows(embeddings: FloatArray, count: int, sampler: Sampler) -> IntArray:
    """Return the rows of ``count`` embeddings, or of all: random ones, or as many from each cluster as it has.

    The same ones every time.
    """
    order = np.random.default_rng(0).permutation(len(embeddings))
    if count >= len(embeddings) or sampler == "random":
        return np.sort(order[:count])
    clusters = KMeans(min(_CLUSTERS, count), n_init=1, random_state=0).fit_predict(embeddings)[order]
    places = np.empty(len(order), dtype=np.int64)  # of each in its cluster
    for cluster in np.unique(clusters):
        places[clusters == cluster] = np.arange((clusters == cluster).sum())
    return np.sort(order[np.argsort(places, kind="stable")[:count]])
