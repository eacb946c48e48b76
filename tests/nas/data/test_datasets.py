from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_data import digit_images, write_emnist, write_fashion_mnist, write_image_folder
from PIL import Image
from torch.utils.data import IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData
from torchvision.datasets import ImageFolder as Folder
from torchvision.transforms import v2

from nas.data import DatasetPair, TorchvisionData
from nas.errors import DataError
from nas.testing import check_data_source


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_fashion_mnist(tmp_path)
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    return tmp_path


def refused(source: DatasetPair | TorchvisionData) -> str:
    with pytest.raises(DataError) as caught:
        source.load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_data_set_is_found_by_its_name(root: Path) -> None:
    check_data_source(TorchvisionData("FashionMNIST"))
    splits = TorchvisionData("FashionMNIST").load()
    assert (len(splits.train), len(splits.search), len(splits.test)) == (960, 240, 500)
    assert splits.inputs.shapes == ((1, 28, 28),)
    assert splits.facts.names[-1] == "Ankle boot"
    images, labels = digit_images(28)
    assert torch.equal(splits.test.inputs, images[1200:1700])
    assert torch.equal(splits.test.targets, labels[1200:1700])


def test_limits_are_stratified_and_in_the_name(root: Path) -> None:
    splits = TorchvisionData("FashionMNIST", limit=200, test_limit=100).load()
    assert splits.name == "FashionMNIST, 200 of 1,200, 100 of 500 to test"
    assert (len(splits.train), len(splits.search), len(splits.test)) == (160, 40, 100)
    for part in (splits.train, splits.search, splits.test):
        counts = torch.bincount(part.targets)
        assert counts.max() - counts.min() <= 0.02 * len(part) + 1


def test_the_argument_wins_over_the_setting(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_DATA", "/nowhere")
    assert len(TorchvisionData("FashionMNIST", root=root).load().test) == 500


def test_missing_data_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_DATA", raising=False)
    assert "NAS_DATA" in refused(TorchvisionData("FashionMNIST"))
    for name in ("FashionMNIST", "CIFAR10", "EuroSAT", "SVHN", "ImageNet"):
        message = refused(TorchvisionData(name, root=tmp_path))
        assert str(tmp_path) in message
        assert ("download=True" in message) == (name != "ImageNet")


def test_an_unknown_name_is_met_with_known_ones() -> None:
    assert "FashionMNIST" in refused(TorchvisionData("FashonMNIST"))
    assert "no data set" in refused(TorchvisionData("VisionDataset"))


def test_an_option_that_torchvision_does_not_know_is_a_sentence(root: Path) -> None:
    assert "colour" in refused(TorchvisionData("FashionMNIST", options={"colour": 1}))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("EMNIST", {"split": "bogus"}, "'bogus'"),
        ("EMNIST", {}, "split"),
        ("Flowers102", {"split": "trian"}, "'trian'"),
        ("FakeData", {}, "DatasetPair("),
    ],
)
def test_options_that_torchvision_refuses_are_a_sentence(
    root: Path, name: str, options: dict[str, str], said: str
) -> None:
    assert said in refused(TorchvisionData(name, options=options))


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("content", [b"", bytes(16)], ids=["empty", "zeros"])
def test_a_damaged_file_is_a_sentence_in_either_part(root: Path, part: str, content: bytes) -> None:
    (root / "FashionMNIST" / "raw" / f"{part}-images-idx3-ubyte").write_bytes(content)
    message = refused(TorchvisionData("FashionMNIST"))
    assert f"'train': {part == 'train'}" in message
    assert str(root) in message


def write_dtd(root: Path) -> None:
    """Write images of two classes where and as torchvision reads DTD."""
    folder = root / "dtd" / "dtd"
    write_image_folder(folder / "images", per_class=20, classes="ab")
    (folder / "labels").mkdir()
    for part, rows in (("train", range(15)), ("test", range(15, 20))):
        lines = [f"{name}/{row:03}.png" for name in "ab" for row in rows]
        (folder / "labels" / f"{part}1.txt").write_text("\n".join(lines))


def test_a_damaged_part_is_not_taken_for_one_that_torchvision_does_not_know(tmp_path: Path) -> None:
    write_dtd(tmp_path)
    assert len(TorchvisionData("DTD", root=tmp_path).load().test) == 10
    (tmp_path / "dtd" / "dtd" / "labels" / "test1.txt").write_text("no path\n")
    assert "'split': 'test'" in refused(TorchvisionData("DTD", root=tmp_path))


def test_labels_that_torchvision_keeps_are_not_read_from_the_images(tmp_path: Path) -> None:
    write_dtd(tmp_path)
    (tmp_path / "dtd" / "dtd" / "images" / "a" / "003.png").write_bytes(b"no image")
    assert "1 of 40" in refused(TorchvisionData("DTD", root=tmp_path))
    splits = TorchvisionData("DTD", root=tmp_path, skip_corrupt=True).load()
    assert len(splits.train) + len(splits.search) + len(splits.test) == 39


def test_changed_files_of_torchvision_are_decoded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.data.decoding.memory_bytes", lambda: 1000)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    write_image_folder(tmp_path / "eurosat" / "2750", per_class=20, classes="ab")
    source = TorchvisionData("EuroSAT", root=tmp_path)
    first = source.load()
    assert source.load().fingerprint == first.fingerprint
    assert len(list((tmp_path / "cache").glob("*.bin"))) == 1, "unchanged files are not decoded again"
    for path in (tmp_path / "eurosat").rglob("*.png"):
        Image.new("RGB", (10, 12), (7, 7, int(path.stem))).save(path)
        os.utime(path, ns=(1, 1))
    assert source.load().fingerprint != first.fingerprint


def test_a_test_limit_holds_without_an_official_test_part(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "eurosat" / "2750", per_class=20, classes="ab")
    splits = TorchvisionData("EuroSAT", root=tmp_path, test_limit=4).load()
    assert (len(splits.train), len(splits.search), len(splits.test)) == (28, 8, 4)
    assert splits.name == "EuroSAT"
    assert len(TorchvisionData("EuroSAT", root=tmp_path, test_limit=40).load().test) == 8


@pytest.mark.parametrize(("split", "first", "names"), [("letters", 1, ("a", "j")), ("digits", 0, ("0", "9"))])
def test_emnist_has_its_official_test_part_and_labels_from_0(
    tmp_path: Path, split: str, first: int, names: tuple[str, str]
) -> None:
    write_emnist(tmp_path, split, first)
    splits = TorchvisionData("EMNIST", root=tmp_path, options={"split": split}).load()
    assert (len(splits.train) + len(splits.search), len(splits.test)) == (260, 104)
    assert torch.equal(splits.test.targets, digit_images(28)[1][260:364])
    assert (splits.facts.names[0], splits.facts.names[9], splits.task.num_classes) == (*names, 10)


def test_download_reaches_a_class_that_hands_it_to_its_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.EMNIST.download", lambda _: write_emnist(tmp_path, "digits", 0))
    source = TorchvisionData("EMNIST", root=tmp_path, download=True, options={"split": "digits"})
    assert len(source.load().test) == 104


def test_the_part_cannot_be_chosen_among_the_options() -> None:
    for train in (True, False):
        with pytest.raises(DataError, match="leave it out"):
            TorchvisionData("FashionMNIST", options={"train": train})


def test_test_items_that_train_or_search_hold_too_are_refused_and_a_few_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images, labels = digit_images(8)
    dataset = TensorDataset(images[:900], labels[:900])
    assert "900 of 900 items of the test split" in refused(DatasetPair(dataset, dataset, name="twice"))
    assert "301 of 600" in refused(DatasetPair(dataset, TensorDataset(images[599:1199], labels[599:1199])))
    assert not caplog.records
    DatasetPair(dataset, TensorDataset(images[897:1300], labels[897:1300])).load()
    assert "3 of 403 items" in caplog.text


def images_of(kind: str, first: int = 0) -> list[tuple[Any, int]]:
    images, labels = digit_images(10, channels=3)
    convert = {
        "pil": lambda image: Image.fromarray(image.permute(1, 2, 0).numpy()),
        "uint8 tensor": lambda image: image,
        "array": lambda image: image.permute(1, 2, 0).numpy(),
    }[kind]
    rows = range(first, 1797, 9)
    return [(convert(images[row]), int(labels[row])) for row in rows]


def test_every_kind_of_image_gives_the_same_splits() -> None:
    kinds = ("pil", "uint8 tensor", "array")
    fingerprints = {DatasetPair(images_of(kind)).load().fingerprint for kind in kinds}
    assert len(fingerprints) == 1
    check_data_source(DatasetPair(images_of("array"), images_of("pil", first=1), name="both"))


def test_floats_stay_floats_and_are_normalised() -> None:
    images, labels = digit_images(8)
    splits = DatasetPair(TensorDataset(images.float() / 255, labels)).load()
    assert splits.train.inputs.dtype == torch.float32
    batch = splits.train.batch(slice(None))
    assert abs(float(batch.mean())) < 1e-4
    assert abs(float(batch.std()) - 1) < 1e-3
    assert float(splits.train.inputs.max()) <= 1


@pytest.mark.parametrize(
    "values", [torch.rand(60, 7), torch.randint(0, 50, (60, 7))], ids=["floats", "tokens"]
)
def test_vectors_are_taken_as_they_are(values: torch.Tensor) -> None:
    source = DatasetPair(TensorDataset(values, torch.arange(60) % 3))
    check_data_source(source)
    splits = source.load()
    assert splits.inputs.shapes == ((7,),)
    assert splits.mean == ()
    seen = torch.cat([splits.train.inputs, splits.search.inputs, splits.test.inputs])
    assert {tuple(row) for row in seen.tolist()} == {tuple(row) for row in values.tolist()}


@pytest.mark.parametrize("shape", [(7,), (1, 4, 4)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_a_sentence(shape: tuple[int, ...], value: float) -> None:
    values = torch.rand(60, *shape)
    values[17].view(-1)[3] = value
    assert "NaN or infinite" in refused(DatasetPair(TensorDataset(values, torch.arange(60) % 3)))


def test_fewer_names_than_classes_are_no_obstacle() -> None:
    dataset = Transformed(lambda image: image)
    dataset.classes = ["zero"]  # type: ignore[attr-defined]
    rare = Subset(dataset, [row for row in range(200) if dataset[row][1] != 7])
    rare.classes = ["zero"]  # type: ignore[attr-defined]
    assert "class 7 " in refused(DatasetPair(rare))


def test_a_subset_has_no_list_of_labels_and_is_read() -> None:
    images, labels = digit_images(8)
    half = Subset(TensorDataset(images, labels), range(0, 600, 2))
    splits = DatasetPair(half, TensorDataset(images[600:900], labels[600:900])).load()
    assert len(splits.train) + len(splits.search) == 300
    assert torch.equal(splits.test.targets, labels[600:900])


class Transformed:
    """Images behind a random transform."""

    def __init__(self, transform: Any) -> None:
        self._images, self._labels = digit_images(8)
        self._transform = transform

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._transform(self._images[index]), int(self._labels[index])


def test_random_transforms_belong_in_the_recipe() -> None:
    torch.manual_seed(0)
    assert "Recipe(augment=" in refused(DatasetPair(Transformed(v2.RandomErasing(p=1.0, value="random"))))


@pytest.mark.parametrize("seed", range(5))
def test_a_random_transform_that_often_does_nothing_is_found(seed: int) -> None:
    torch.manual_seed(seed)
    assert "Recipe(augment=" in refused(DatasetPair(Transformed(v2.RandomHorizontalFlip())))


class Failing(Transformed):
    """Can't read every tenth image."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = super().__getitem__(index)
        return (None if index % 10 == 5 else image), label


def test_items_that_cannot_be_read_are_named_and_left_out_where_allowed() -> None:
    dataset = Failing(lambda image: image)
    assert "20 of 200" in refused(DatasetPair(dataset, name="mine"))
    splits = DatasetPair(dataset, skip_corrupt=True).load()
    assert len(splits.train) + len(splits.search) + len(splits.test) == 180


def folder_of_one_broken_image(root: Path) -> Folder:
    write_image_folder(root, per_class=10)
    (root / "b" / "001.png").write_bytes(b"no image")
    return Folder(str(root))


class Pairs:
    """A data set that says nothing of its labels."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self._dataset[index]
        return image, int(label)


@pytest.mark.parametrize("wrap", [Pairs, lambda folder: Subset(Subset(folder, range(30)), range(30))])
def test_a_corrupt_image_is_named_also_where_labels_must_be_read(tmp_path: Path, wrap: Any) -> None:
    dataset = wrap(folder_of_one_broken_image(tmp_path))
    message = refused(DatasetPair(dataset, name="mine"))
    assert "1 of 30" in message
    assert "item 11 of the train part of mine" in message
    splits = DatasetPair(dataset, skip_corrupt=True).load()
    for part in (splits.train, splits.search, splits.test):
        assert [int(image[0, 0, 0]) // 40 for image in part.inputs] == part.targets.tolist()
    assert len(splits.train) + len(splits.search) + len(splits.test) == 29


def test_a_subset_of_what_knows_its_labels_is_not_read_for_them(tmp_path: Path) -> None:
    folder = folder_of_one_broken_image(tmp_path)
    opened = []
    folder.loader = lambda path: opened.append(path) or Image.open(path)  # type: ignore[func-returns-value]
    parts = DatasetPair(Subset(Subset(folder, range(5, 30)), [0, 1, 5, 9, 20])).find_items()
    assert parts.train.labels.tolist() == [0, 0, 1, 1, 2]
    assert len(opened) == 2 * 5, "each of them twice, to see that it stays the same"


def test_a_subset_beyond_its_data_set_is_a_sentence(tmp_path: Path) -> None:
    write_image_folder(tmp_path, per_class=10)
    message = refused(DatasetPair(Subset(Folder(str(tmp_path)), [*range(30), 99])))
    assert "item 30 of the train part" in message


class Endless(IterableDataset[tuple[torch.Tensor, int]]):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield torch.zeros(1, 4, 4), 0


def labelled(labels: list[Any]) -> list[tuple[Any, Any]]:
    return [(torch.zeros(1, 4, 4, dtype=torch.uint8), label) for label in labels]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (Endless(), "map-style"),
        ([], "no items"),
        (labelled(["cat", "dog"] * 9), "'cat'"),
        (labelled([{"boxes": 1}] * 9), "boxes"),
        (labelled([0.5, 1.0] * 9), "0.5"),
        (labelled([0, 1, None] * 9), "the label None"),
        (labelled([0, 1, 2**70] * 9), f"the label {2**70}"),
        (labelled([torch.tensor([0, 1])] * 9), "tensor"),
        (labelled([-1, 0, 1] * 9), "-1"),
        (labelled([0] * 9), "one class"),
        (labelled([0, 2] * 9), "class 1"),
        ([torch.zeros(1, 4, 4)] * 9, "pair"),
    ],
    ids=[
        "endless",
        "empty",
        "words",
        "boxes",
        "floats",
        "missing",
        "huge",
        "many",
        "negative",
        "one class",
        "gap",
        "no pairs",
    ],
)
def test_what_is_no_classification_is_a_sentence(dataset: Any, said: str) -> None:
    assert said in refused(DatasetPair(dataset))


def test_a_test_part_with_more_classes_is_a_sentence() -> None:
    assert "same classes" in refused(DatasetPair(labelled([0, 1] * 9), labelled([0, 1, 2])))


def test_a_test_part_that_numbers_its_classes_otherwise_is_a_sentence(tmp_path: Path) -> None:
    for part, classes in (("train", ("Dog", "cat")), ("test", ("cat", "dog"))):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(9):
                Image.new("L", (4, 4), number).save(tmp_path / part / name / f"{number}.png")
    source = DatasetPair(Folder(tmp_path / "train"), Folder(tmp_path / "test"))
    assert "label 0 is 'Dog' in the train part of data set and 'cat' in its test part" in refused(source)


def test_a_test_part_that_lacks_a_class_is_a_sentence() -> None:
    assert "no item of class 1" in refused(DatasetPair(labelled([0, 1] * 9), labelled([0, 0])))


def test_without_memory_it_goes_to_a_file_that_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.data.decoding.memory_bytes", lambda: 1000)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    images, labels = digit_images(8)
    held = DatasetPair(TensorDataset(images, labels), memory_share=1e9).load()
    mapped = DatasetPair(TensorDataset(images, labels)).load()
    assert mapped.train.mapped
    assert held.fingerprint == mapped.fingerprint
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.data.decoding.memory_bytes", lambda: 1000)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    images, labels = digit_images(8)
    assert "NAS_CACHE" in refused(DatasetPair(TensorDataset(images, labels)))


def test_fake_data_of_torchvision_is_a_data_set() -> None:
    fake = FakeData(60, (3, 8, 8), num_classes=2)
    splits = DatasetPair(fake, limit=40).load()
    assert splits.inputs.shapes == ((3, 8, 8),)
    assert np.isfinite(splits.mean).all()


@pytest.mark.real_data
@pytest.mark.skipif("NAS_DATA" not in os.environ, reason="NAS_DATA doesn't name a folder of data sets")
def test_fashion_mnist_itself_is_read_whole() -> None:
    splits = TorchvisionData("FashionMNIST").load()
    assert (len(splits.train), len(splits.search), len(splits.test)) == (48_000, 12_000, 10_000)
    assert torch.bincount(splits.train.targets).tolist() == [4800] * 10
    assert abs(splits.mean[0] / 255 - 0.2860) < 1e-3
    assert abs(splits.std[0] / 255 - 0.3530) < 1e-3
