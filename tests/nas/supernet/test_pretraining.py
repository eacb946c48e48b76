from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes import tiny_network
from pretraining_fakes import SHORT, Texts, large_network, some_images, some_texts, specialized
from torch import Tensor, nn

from nas import Recipe, choice
from nas.data import RandomViews
from nas.errors import StudyError
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import InputSpec
from nas.progress import Pretraining
from nas.splits import Split
from nas.supernet import Contrastive, MaskedLanguage, SpecializedEmbedding, elastic
from nas.testing import check_pretraining
from nas.training import Mixup


def test_pretrainings_keep_their_contract(tmp_path: Path) -> None:
    check_pretraining(Contrastive(SHORT), tiny_network, some_images())
    check_pretraining(MaskedLanguage(SHORT), Texts, some_texts())
    check_pretraining(specialized(tmp_path), tiny_network, some_images())


def no_vector() -> nn.Module:
    return nn.Sequential(
        elastic.Conv2d(1, choice("width", 2, 4), 3), elastic.Conv2d(choice("width", 2, 4), 2, 1)
    )


@pytest.mark.parametrize(
    ("how", "network", "items", "message"),
    [
        (Contrastive(SHORT), Texts, some_texts(), "takes views of images and the data hold a text"),
        (
            Contrastive(SHORT),
            no_vector,
            some_images(),
            r"\(2, 4, 6, 6\) in front of its last layer, a Conv2d",
        ),
        (MaskedLanguage(SHORT), tiny_network, some_images(), "takes texts as ids .* the data hold a image"),
        (MaskedLanguage(SHORT), lambda: Texts(19), some_texts() % 19 + 1, "none with 20 rows"),
    ],
)
def test_what_can_not_be_pretrained_is_one_sentence(
    how: Pretraining, network: Callable[[], nn.Module], items: Tensor, message: str
) -> None:
    supernet, spec = fresh_network(network, 0), InputSpec.of_batch(items, ("inputs",))
    with pytest.raises(StudyError, match=message):
        how.pretext(supernet, Split(items, torch.zeros(len(items))), spec)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Contrastive(3), "recipe=3: a Recipe"),  # type: ignore[arg-type]
        (lambda _: Contrastive(SHORT, temperature=0), "both must be positive"),
        (lambda _: Contrastive(SHORT, num_random=-1), "num_random=-1: 0 or more"),
        (lambda _: Contrastive(Recipe(1, mix=Mixup())), "which needs labels"),
        (lambda _: Contrastive(Recipe(1, reduced_space=True)), "layers that subnets share"),
        (lambda _: MaskedLanguage(SHORT, rate=1.0), "rate=1.0: a share between 0 and 1"),
        (lambda _: RandomViews(least_area=0), r"least_area lies in \(0, 1\]"),
        (lambda folder: specialized(folder, sampler="best"), "sampler='best': 'random' or 'kmeans'"),
        (lambda folder: specialized(folder, size=30), "size=30 components of sample=20"),
        (
            lambda folder: SpecializedEmbedding(SHORT, large_network(), folder),
            "a teacher that is no function",
        ),
    ],
)
def test_settings_out_of_range_are_one_sentence(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        make(tmp_path)
