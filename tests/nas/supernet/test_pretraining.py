from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import tiny_network
from torch import Tensor, nn

from nas import Recipe, choice
from nas.data import RandomViews
from nas.errors import StudyError
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import InputSpec
from nas.progress import Pretraining
from nas.splits import Split
from nas.supernet import Contrastive, MaskedLanguage, SpecializedEmbedding, elastic
from nas.supernet.pretraining.contrastive import nt_xent
from nas.supernet.pretraining.masked_language import hide_words
from nas.supernet.pretraining.specialized_embedding import reduce_embeddings, sample_rows
from nas.supernet.tokens import Embedding, LayerNorm
from nas.testing import check_pretraining
from nas.training import Mixup

SHORT = Recipe(epochs=1, batch_size=8)


class Texts(nn.Module):
    """A vector for each token, the mean of them, and two classes."""

    def __init__(self, words: int = 20) -> None:
        super().__init__()
        width = choice("width", 4, 8)
        self.embedding = Embedding(words, width)
        self.norm = LayerNorm(width)
        self.head = elastic.Linear(width, 2)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.embedding(ids)).mean(1))
        return logits


def large_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


def specialized(folder: Path, **changes: Any) -> SpecializedEmbedding:
    path = folder / "teacher.safetensors"
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        path.write_bytes(safetensors.torch.save(large_network().state_dict()))
    settings: dict[str, Any] = {"size": 3, "sample": 20, **changes}
    return SpecializedEmbedding(SHORT, large_network, path, **settings)


def some_images(count: int = 40) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def some_texts(count: int = 12) -> Tensor:
    return torch.randint(0, 20, (count, 7), generator=torch.Generator().manual_seed(0))


def test_pretrainings_keep_their_contract(tmp_path: Path) -> None:
    check_pretraining(Contrastive(SHORT), tiny_network, some_images())
    check_pretraining(MaskedLanguage(SHORT), Texts, some_texts())
    check_pretraining(specialized(tmp_path), tiny_network, some_images())


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_contrast_is_equation_1_of_the_paper(temperature: float) -> None:
    count, vectors = 3, torch.randn(6, 5, dtype=torch.float64)
    cosine = nn.functional.cosine_similarity

    def loss(i: int, j: int) -> float:
        similar = [math.exp(cosine(vectors[i], vectors[k], dim=0).item() / temperature) for k in range(6)]
        return -math.log(similar[j] / sum(similar[k] for k in range(6) if k != i))

    wanted = sum(loss(k, k + count) + loss(k + count, k) for k in range(count)) / (2 * count)
    assert nt_xent(vectors, temperature).item() == pytest.approx(wanted, rel=1e-9)


def test_views_are_of_each_image_by_itself_and_may_be_the_image() -> None:
    images = some_images(2).repeat_interleave(6, 0)
    still = RandomViews(least_area=1.0, mirror=False, jitter=0.0)
    torch.testing.assert_close(still(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
    views = RandomViews()(images)
    assert views.shape == images.shape
    assert len(torch.unique(views.flatten(1).round(decimals=4), dim=0)) == len(images)
    mirrored = RandomViews(least_area=1.0, jitter=0.0)(some_images(1).repeat(50, 1, 1, 1))
    assert 10 < sum(view.sub(some_images(1)[0]).abs().max() > 0.5 for view in mirrored) < 50


def test_eight_in_ten_words_to_be_predicted_are_hidden_and_one_is_replaced() -> None:
    ids = torch.randint(0, 1000, (400, 50), generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        hidden, chosen = hide_words(ids, 0.15, 1000)
    words = ids > 1
    assert not (chosen & ~words).any()
    assert torch.equal(hidden[~chosen], ids[~chosen])
    assert chosen.sum() / words.sum() == pytest.approx(0.15, abs=0.01)
    assert (hidden[chosen] == 1).double().mean() == pytest.approx(0.8, abs=0.02)
    assert (hidden[chosen] == ids[chosen]).double().mean() == pytest.approx(0.1, abs=0.02)
    assert hidden[chosen].min() >= 1


@pytest.mark.parametrize("ids", [[[1, 1, 0]], [[2, 0, 0]]])
def test_some_word_of_any_text_is_predicted(ids: list[list[int]]) -> None:
    _, chosen = hide_words(torch.tensor(ids), 1e-9, 3)
    assert chosen.any()
    assert not (chosen & (torch.tensor(ids) == 0)).any()


def test_narrow_subnets_predict_words_by_the_embedding_that_they_share() -> None:
    supernet = fresh_network(Texts, 0)
    spec = InputSpec.of_batch(some_texts(), ("ids",))
    pretext = MaskedLanguage(SHORT).pretext(supernet, Split(some_texts(), torch.zeros(12)), spec)
    largest, *_, smallest = pretext.step(some_texts(), torch.zeros(12), torch.Generator().manual_seed(0))
    smallest.backward()
    weights = supernet.module.embedding.weight
    assert weights.grad is not None
    assert weights.grad[:, 4:].any()  # as what is predicted, though not as what goes in
    assert largest.item() == pytest.approx(math.log(20), rel=0.5)


def test_components_are_those_of_the_sample_and_give_embeddings_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 24)) + 3
    found = reduce_embeddings(plane, specialized(tmp_path, size=2)).double().numpy()
    assert np.square(found).mean() == pytest.approx(1)
    known = np.column_stack([found, np.ones(200)])
    map_back, *_ = np.linalg.lstsq(known, plane, rcond=None)
    np.testing.assert_allclose(known @ map_back, plane, atol=1e-5)


def test_kmeans_takes_rare_items_that_chance_leaves_out() -> None:
    embeddings = np.zeros((1000, 2))
    embeddings[:10] = 50 + np.arange(20).reshape(10, 2) / 1000
    embeddings[10:] += np.random.default_rng(0).normal(size=(990, 2)) / 10
    rare = {how: (sample_rows(embeddings, 100, how) < 10).sum() for how in ("random", "kmeans")}
    assert rare["random"] < 5
    assert rare["kmeans"] >= 6
    assert len(np.unique(sample_rows(embeddings, 100, "kmeans"))) == 100


def test_the_teacher_is_learned(tmp_path: Path) -> None:
    """The components of a linear teacher are what a linear student of full width can give exactly."""
    how, images = specialized(tmp_path, size=2), some_images()
    supernet = fresh_network(tiny_network, 0)
    data = how.pretext(supernet, Split(images, torch.zeros(40)), InputSpec.of_one((1, 8, 8))).data
    with torch.no_grad():
        teacher = large_network()
        teacher.load_state_dict(safetensors.torch.load(how.files[0].read_bytes()))
        embeddings = teacher[:3](images).double().numpy()
    rows = sample_rows(embeddings, 20, "random")
    centred = embeddings - embeddings[rows].mean(0)
    directions = np.linalg.svd(centred[rows], full_matrices=False)[2][:2]
    wanted = centred @ directions.T
    wanted /= np.sqrt(np.square(wanted).mean())
    np.testing.assert_allclose(np.abs(data.targets.numpy()), np.abs(wanted), atol=1e-4)


def no_vector() -> nn.Module:
    return nn.Sequential(
        elastic.Conv2d(1, choice("width", 2, 4), 3), elastic.Conv2d(choice("width", 2, 4), 2, 1)
    )


def pictures() -> Split:
    return Split(some_images(), torch.zeros(40))


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 20, "sample": 30}, None),
        ({"size": 24, "sample": 30}, None),
        ({"size": 25, "sample": 30}, "size=25 components of 24 features, found on 30 items"),
    ],
)
def test_a_teacher_gives_no_more_components_than_it_has(
    tmp_path: Path, change: dict[str, int], message: str | None
) -> None:
    how, spec = specialized(tmp_path, **change), InputSpec.of_one((1, 8, 8))
    if message is None:
        assert how.pretext(fresh_network(tiny_network, 0), pictures(), spec).data.targets.shape == (
            40,
            change["size"],
        )
        return
    with pytest.raises(StudyError, match=message):
        how.pretext(fresh_network(tiny_network, 0), pictures(), spec)


def test_a_teacher_of_other_weights_is_one_sentence(tmp_path: Path) -> None:
    how = specialized(tmp_path)
    how.weights.write_bytes(safetensors.torch.save({"other": torch.zeros(1)}))
    with pytest.raises(
        StudyError, match=r"the teacher of SpecializedEmbedding failed .*name its own weights"
    ):
        how.pretext(fresh_network(tiny_network, 0), pictures(), InputSpec.of_one((1, 8, 8)))
