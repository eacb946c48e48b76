"""Contrastive learning of representations (Chen 2020, "SimCLR")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers, check_kind, check_numbers
from nas.data.views import RandomViews
from nas.errors import StudyError
from nas.inputs import Inputs, InputSpec
from nas.progress import Pretext
from nas.splits import Split
from nas.supernet.pretraining.features import Features, Leading, check_settings, draw_subnets
from nas.supernet.supernet import Supernet
from nas.training import Losses, Recipe


@final
@dataclass(frozen=True)
class Contrastive:
    """Two views of an image are to be nearer to each other than to all other views in the batch (Chen 2020).

    What is compared is made, by a projection that is thrown away afterwards, of what goes into the network's last
    layer. Every batch trains the largest subnet, the smallest and random ones, which share the projection.

    Args:
        recipe: How long and how fast. Large batches hold more views to tell apart; parts of an accumulated batch, and
            the shares of several processes, are batches of their own here.
        views: Returns a random view of each image in a normalised batch.
        temperature: What similarities are divided by.
        size: Numbers in what is compared.
        num_random: Subnets between the largest and the smallest.

    Raises:
        StudyError: a setting is out of range.
    """

    recipe: Recipe
    views: Callable[[Tensor], Tensor] = field(default_factory=RandomViews)
    temperature: float = 0.5
    size: int = 64
    num_random: int = 1

    files: ClassVar[tuple[Path, ...]] = ()

    def __post_init__(self) -> None:
        check_kind("Contrastive", "recipe", self.recipe, Recipe, "a Recipe such as Recipe(epochs=30)")
        check_kind("Contrastive", "views", self.views, Callable, "a function such as RandomViews()")
        check_integers(self, "size", "num_random")
        check_numbers(self, "temperature")
        check_settings("Contrastive", self.recipe, self.num_random)
        if not (self.temperature > 0 and self.size > 0):
            raise StudyError(
                f"Contrastive has temperature={self.temperature} and size={self.size}: both must be positive."
            )

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        """Return the task of telling views of different images apart.

        Raises:
            StudyError: items are no images, or there are no features in front of the network's last layer.
        """
        if not inputs.is_image:
            raise StudyError(
                f"Contrastive() takes views of images and the data hold a {inputs.item} of the shapes {inputs.shapes}: "
                "leave it out, or use MaskedLanguage() for texts."
            )
        features = Features(supernet, inputs, "the network")
        projection = nn.Sequential(
            Leading(features.width, features.width), nn.ReLU(), nn.Linear(features.width, self.size)
        )

        def step(images: Inputs, _targets: Tensor, generator: torch.Generator) -> Losses:
            assert isinstance(images, Tensor)
            both = torch.cat([self.views(images), self.views(images)])
            for architecture in draw_subnets(supernet, self.num_random, generator):
                with supernet.active(architecture):
                    yield nt_xent(projection(features.of(both)), self.temperature)

        return Pretext(nn.ModuleList([supernet, projection]), data, step)


def nt_xent(vectors: Tensor, temperature: float) -> Tensor:
    """Return the normalized temperature-scaled cross-entropy (Chen 2020, equation 1), a mean over all views.

    Args:
        vectors: ``(2 n, size)``: rows ``i`` and ``i + n`` are of views of one image.
        temperature: What the cosines are divided by.
    """
    unit = F.normalize(vectors, dim=1)
    similarities = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    # Row i and row i + n are of one image, so the partner is half of the rows away, either way.
    partners = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return F.nll_loss(similarities.masked_fill(itself, -torch.inf).log_softmax(1), partners)
