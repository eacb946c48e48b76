from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import tiny_network
from pretraining_fakes import large_network, some_images, specialized

from nas.errors import StudyError
from nas.evaluation.from_scratch import fresh_network
from nas.inputs import InputSpec
from nas.splits import Split
from nas.supernet.pretraining.specialized_embedding import reduce_embeddings, sample_rows


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


def pictures() -> Split:
    return Split(some_images(), torch.zeros(40))


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
