"""Items of one group are in one split, and a class has no more items to train on than it may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import DatasetPair, ImageFolder, Masks, TextTable, split_images, split_tensors
from nas.data.groups import cap_classes, hold_out_groups
from nas.errors import DataError, NasError
from nas.splits import Splits
from nas.tasks import Regression
from nas.testing import check_data_source

PATIENTS, CLASSES, EACH = 15, 3, 4


def patients() -> list[tuple[int, int]]:
    """Return patient and class of each item; most patients have two classes, in unlike numbers."""
    return [
        (patient, (patient + second) % CLASSES)
        for patient in range(PATIENTS)
        for second in range(2)
        for _ in range(EACH - second)
    ]


def in_folders(tmp_path: Path, name: str = "{label}/patient{patient}/{item}.png") -> Path:
    """Write images whose red is ten times the patient."""
    for item, (patient, label) in enumerate(patients()):
        path = tmp_path / "images" / name.format(label="abc"[label], patient=patient, item=item)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), (10 * patient, item, 7), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def by_level(tmp_path: Path) -> Splits:
    return ImageFolder(in_folders(tmp_path), group=1).load()


def by_pattern(tmp_path: Path) -> Splits:
    root = in_folders(tmp_path, "{label}/p{patient}_{item}.png")
    return ImageFolder(root, group=r"p(\d+)_").load()


def by_column(tmp_path: Path) -> Splits:
    lines = [f"word{patient} x\t{label}\tauthor {patient}" for patient, label in patients()]
    (tmp_path / "t.tsv").write_text("\n".join(["text\tlabel\twho", *lines]), encoding="utf-8")
    return TextTable(tmp_path / "t.tsv", group="who", min_count=1).load()


def in_memory(_: Path) -> Splits:
    values = torch.tensor([float(patient) for patient, _ in patients()])
    labels = torch.tensor([label for _, label in patients()])
    images = torch.stack([values, torch.arange(float(len(values)))], 1).view(-1, 2, 1, 1).expand(-1, -1, 2, 2)
    return split_images("arrays", images, labels, groups=[patient for patient, _ in patients()])


def of_numbers(_: Path) -> Splits:
    values = torch.tensor([[float(patient)] for patient, _ in patients()])
    groups = np.array([patient for patient, _ in patients()])
    return split_tensors("numbers", values, values, Regression(), groups=groups)


def patients_in(splits: Splits) -> list[set[Any]]:
    """Return by split what tells an item's patient."""

    def told(split: Any) -> set[Any]:
        if splits.vocabulary:  # unknown words are those of patients who are not in train
            return {splits.vocabulary[ids[0]] for ids in split.inputs.tolist()} - {"<unknown>"}
        flat = split.inputs.flatten(2)[:, 0, 0] if split.inputs.ndim == 4 else split.inputs[:, 0]
        return {round(value, 4) for value in flat.tolist()}

    return [told(part) for part in (splits.train, splits.search, splits.test)]


@pytest.mark.parametrize("load", [by_level, by_pattern, by_column, in_memory, of_numbers])
def test_no_group_is_in_two_splits(load: Callable[[Path], Splits], tmp_path: Path) -> None:
    splits = load(tmp_path)
    train, search, test = patients_in(splits)
    assert not train & search
    assert not (train | search) & test
    assert splits.notes == ("groups: 9 in train, 3 in search, 3 in test",)
    assert load(tmp_path).fingerprint == splits.fingerprint


def test_without_groups_patients_are_in_several_splits(tmp_path: Path) -> None:
    train, search, _ = patients_in(ImageFolder(in_folders(tmp_path)).load())
    assert train & search


def test_a_source_with_groups_and_a_cap_keeps_the_contract(tmp_path: Path) -> None:
    check_data_source(ImageFolder(in_folders(tmp_path), group=1, class_cap=5))


def test_groups_are_drawn_so_that_every_class_has_its_share() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([str(group) for group in np.repeat(np.arange(40), 5)])
    labels = np.repeat(rng.choice(4, 40, p=[0.55, 0.25, 0.1, 0.1]), 5)  # each group is of one class
    rows = hold_out_groups(labels, groups, 0.25, seed=0)
    shares = np.bincount(labels[rows], minlength=4) / np.bincount(labels)
    assert len(rows) == 50
    assert np.abs(shares - 0.25).max() < 0.15
    assert not np.array_equal(rows, hold_out_groups(labels, groups, 0.25, seed=1))


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (2, "finds no group in the names of 105 of 105 files (a/patient0/"),
        (r"case(\d)", "finds no group"),
        (0, "group=0"),
        (True, "group=True"),
        ("(a)(b)", "at most one group"),
        ("(", "regular expression"),
        (r"(p)atient", "1 groups can't be divided"),
    ],
)
def test_a_rule_that_tells_no_groups_is_a_sentence(tmp_path: Path, group: Any, said: str) -> None:
    with pytest.raises(NasError) as caught:
        ImageFolder(in_folders(tmp_path), group=group).load()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_patient_in_both_official_parts_is_refused(tmp_path: Path) -> None:
    root, other = in_folders(tmp_path), in_folders(tmp_path / "later")
    with pytest.raises(DataError, match=r"15 groups of images .* 'patient0'"):
        ImageFolder(root, test_root=other, group=1).load()


@pytest.mark.parametrize("groups", [[1, 2], [""] * 105])
def test_groups_in_memory_that_do_not_fit_are_a_sentence(groups: list[object]) -> None:
    labels = torch.tensor([label for _, label in patients()])
    with pytest.raises(DataError, match="for 105 items"):
        split_images("arrays", torch.rand(len(labels), 1, 2, 2), labels, groups=groups)


def test_a_class_has_at_most_so_many_items_in_train_and_as_many_as_ever_elsewhere(tmp_path: Path) -> None:
    labels = torch.tensor([0] * 100 + [1] * 40 + [2] * 10)
    images = torch.arange(150.0).view(150, 1, 1, 1).expand(-1, 1, 2, 2)
    plain = split_images("arrays", images, labels)
    capped = split_images("arrays", images, labels, class_cap=12)
    assert Counter(plain.train.targets.tolist()) == {0: 60, 1: 24, 2: 6}
    assert Counter(capped.train.targets.tolist()) == {0: 12, 1: 12, 2: 6}
    for name in ("search", "test"):
        assert torch.equal(getattr(capped, name).targets, getattr(plain, name).targets)
    folder = ImageFolder(in_folders(tmp_path), class_cap=5).load()
    assert set(Counter(folder.train.targets.tolist()).values()) == {5}
    assert folder.name == "images, at most 5 of a class to train"


def test_a_cap_draws_at_random_and_the_same_each_time() -> None:
    labels = np.repeat([0, 1], 50)
    rows = [cap_classes(labels, 10, seed) for seed in (0, 0, 1)]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert rows[0].max() < 100
    assert len(np.intersect1d(rows[0], np.arange(10))) < 10


@pytest.mark.parametrize("cap", [0, 1.5, "all"])
def test_a_cap_that_is_no_number_is_a_sentence(cap: Any) -> None:
    with pytest.raises(NasError, match="class_cap"):
        ImageFolder("images", class_cap=cap)


def test_masks_of_several_classes_have_no_cap() -> None:
    items = [(torch.zeros(3, 4, 4), torch.arange(16).view(4, 4) % 2) for _ in range(9)]
    with pytest.raises(DataError, match="masks of several classes"):
        DatasetPair(items, masks=Masks(classes=2), class_cap=3).load()  # type: ignore[arg-type]
