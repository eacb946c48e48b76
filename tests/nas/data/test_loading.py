"""Data that a study can't be run with: one sentence each, before anything is trained."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FewDigits, run_in, tiny_study
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from nas.data import DatasetPair, split_images
from nas.data.loading import load_splits
from nas.errors import DataError, NasError
from nas.splits import Splits
from nas.tasks import Classification, SemanticSegmentation

Change = Callable[[Splits], Any]


@dataclass(frozen=True)
class Changed:
    """The first digits, but for what a hostile user made of them."""

    change: Change

    def load(self) -> Any:
        return self.change(FewDigits().load())


def part(name: str, **changes: Callable[[Any], Any]) -> Change:
    """Return what changes fields of one split."""

    def change(splits: Splits) -> Splits:
        old = getattr(splits, name)
        fields = {field: make(getattr(old, field)) for field, make in changes.items()}
        return dataclasses.replace(splits, **{name: dataclasses.replace(old, **fields)})

    return change


def whole(**changes: Any) -> Change:
    return lambda splits: dataclasses.replace(splits, **changes)


def first(value: object) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed.view(-1)[0] = value  # type: ignore[assignment]
        return changed

    return change


def raising(error: BaseException) -> Change:
    def change(splits: Splits) -> Splits:
        raise error

    return change


HOSTILE: dict[str, tuple[Change, str]] = {
    "None": (lambda s: None, "returned None"),
    "tuple": (lambda s: (s.train, s.search, s.test), "type tuple"),
    "class": (lambda s: Splits, "the class Splits"),
    "raises": (raising(KeyError("photos")), "KeyError: 'photos'"),
    "raises two lines": (raising(RuntimeError("one\ntwo")), "one two"),
    "raises nothing said": (raising(AssertionError()), "AssertionError"),
    "exits": (raising(SystemExit(3)), "SystemExit: 3"),
    "sys.exit": (lambda s: sys.exit("stop"), "SystemExit: stop"),
    "no memory": (raising(MemoryError()), "MemoryError"),
    "name None": (whole(name=None), "name=None"),
    "fingerprint None": (whole(fingerprint=None), "fingerprint=None"),
    "fingerprint empty": (whole(fingerprint=""), "fingerprint=''"),
    "task missing": (whole(task=None), "task=None"),
    "task of another kind": (whole(task=10), "task=10"),
    "task as a class": (whole(task=Classification), "task=the class Classification"),
    "task of other classes": (whole(task=Classification(9)), "targets go from 0 to 9"),
    "another task": (whole(task=SemanticSegmentation(10)), "(n, *positions)"),
    "names of inputs": (whole(input_names="abc"), "input_names"),
    "too many names of inputs": (whole(input_names=("a", "b")), "1 inputs"),
    "mean tensor": (whole(mean=torch.zeros(1)), "mean="),
    "mean of numpy": (whole(mean=(np.float32(1),)), "mean="),
    "mean of two": (whole(mean=(0.0, 1.0), std=(1.0, 1.0)), "for every channel of (1, 8, 8)"),
    "std 0": (whole(std=(0.0,)), "std=(0.0,)"),
    "std nan": (part("train", mean=lambda _: (0.0,), std=lambda _: (float("nan"),)), "nan"),
    "train None": (whole(train=None), "train=None"),
    "test pair": (lambda s: dataclasses.replace(s, test=(s.test.inputs, s.test.targets)), "type tuple"),
    "labels bool": (part("train", targets=lambda t: t > 4), "targets are torch.bool"),
    "labels numpy": (part("train", targets=lambda t: t.numpy()), "targets=a value of type ndarray"),
    "labels strings": (part("search", targets=lambda t: [str(x) for x in t]), "type list"),
    "labels float": (part("train", targets=lambda t: t.float()), "targets are torch.float32"),
    "labels int32": (part("test", targets=lambda t: t.int()), "targets are torch.int32"),
    "labels 2-d": (part("train", targets=lambda t: t[:, None]), "shape (180, 1)"),
    "labels one hot": (part("train", targets=torch.nn.functional.one_hot), "shape (180, 10)"),
    "labels too few": (part("train", targets=lambda t: t[:-1]), "179 targets"),
    "labels too large": (part("search", targets=first(10)), "to 10"),
    "labels 2**40": (part("train", targets=first(2**40)), "to 1099511627776"),
    "labels negative": (part("test", targets=first(-100)), "from -100"),
    "train empty": (part("train", inputs=lambda t: t[:0], targets=lambda t: t[:0]), "shape (0, 1, 8, 8)"),
    "test empty": (part("test", inputs=lambda t: t[:0], targets=lambda t: t[:0]), "shape (0, 1, 8, 8)"),
    "images numpy": (part("train", inputs=lambda t: t.numpy()), "inputs=a value of type ndarray"),
    "images grad": (part("train", inputs=lambda t: t.clone().requires_grad_()), "requires_grad=True"),
    "images nan": (part("train", inputs=first(float("nan"))), "NaN"),
    "images inf": (part("test", inputs=first(float("inf"))), "infinite"),
    "images double": (part("train", inputs=lambda t: t.double()), "batches of torch.float64"),
    "images half": (part("test", inputs=lambda t: t.half()), "inputs of torch.float16"),
    "images complex": (part("train", inputs=lambda t: t + 1j), "batches of torch.complex64"),
    "images bytes": (part("train", inputs=lambda t: t.byte()), "batches of torch.uint8"),
    "images bool": (part("train", inputs=lambda t: t > 0), "batches of torch.bool"),
    "images meta": (part("train", inputs=lambda t: t.to("meta")), "on meta"),
    "images sparse": (part("train", inputs=lambda t: t.to_sparse()), "torch.sparse_coo"),
    "images numbers": (part("train", inputs=lambda t: t[:, 0, 0, 0]), "shape (180,)"),
    "images another size": (part("search", inputs=lambda t: t[:, :, 1:]), "(1, 8, 8)"),
    "images without pixels": (part("train", inputs=lambda t: t[:, :, :0]), "nowhere 0"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_load_may_not_return_is_one_sentence(change: Change, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load_splits(Changed(change))
    message = str(caught.value)
    assert said in message
    assert message.startswith(("load() of Changed ", "the "))
    assert "\n" not in message
    assert message.endswith((".", "is expected."))


DIGITS = load_digits()
IMAGES, LABELS = torch.from_numpy(DIGITS.images[:300, None]), torch.from_numpy(DIGITS.target[:300])


@dataclass(frozen=True)
class InMemory:
    """Images and labels, split as the documentation says."""

    changes: dict[str, Any]

    def load(self) -> Splits:
        return split_images(**{"name": "mine", "images": IMAGES, "labels": LABELS} | self.changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": LABELS > 4}, "torch.bool"),
        ({"labels": LABELS.numpy()}, "torch.from_numpy(labels)"),
        ({"labels": [str(x) for x in LABELS.tolist()]}, "type list"),
        ({"labels": LABELS.float()}, "torch.float32"),
        ({"labels": LABELS[:, None]}, "(300, 1)"),
        ({"labels": LABELS - 1}, "-1"),
        ({"labels": first(2**40)(LABELS)}, "go up to 1099511627776"),
        ({"labels": LABELS * 2}, "class 1 "),
        ({"images": IMAGES.numpy()}, "torch.from_numpy(images)"),
        ({"images": IMAGES.to(torch.complex64)}, "complex"),
        ({"images": first(float("nan"))(IMAGES)}, "NaN"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no items"),
        ({"search_share": "0.2"}, "search_share='0.2'"),
        ({"test_share": None}, "test_share=None"),
        ({"test_share": True}, "test_share=True"),
        ({"seed": "0"}, "seed='0'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"name": None}, "name=None"),
    ],
)
def test_what_can_not_be_split_is_one_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(NasError) as caught:
        load_splits(InMemory(changes))
    assert said in str(caught.value)
    assert "failed" not in str(caught.value), "what is expected must be said"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_any_integers_before_they_are_split(dtype: torch.dtype) -> None:
    splits = load_splits(InMemory({"labels": LABELS.to(dtype)}))
    assert splits.fingerprint == InMemory({}).load().fingerprint


def test_images_that_require_a_gradient_are_split_without_it() -> None:
    splits = load_splits(InMemory({"images": IMAGES.clone().requires_grad_()}))
    assert splits.fingerprint == InMemory({}).load().fingerprint


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES, first(2**40)(LABELS), "go up to 1099511627776"),
        (IMAGES, LABELS.float() / 2, "0.5000"),
        (IMAGES, LABELS.float() * float("nan"), "nan"),
        (IMAGES.to(torch.complex64), LABELS, "complex"),
        (first(float("nan"))(IMAGES), LABELS, "NaN"),
    ],
)
def test_a_data_set_that_can_not_be_used_is_one_sentence(
    images: torch.Tensor, labels: torch.Tensor, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_splits(DatasetPair(TensorDataset(images, labels)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_items_that_are_no_images_are_named_with_the_reason() -> None:
    dataset = [(object(), int(label)) for label in LABELS]
    with pytest.raises(DataError, match=r"item \d+ of the train part of data set \(.*object.*\): check"):
        load_splits(DatasetPair(dataset))


def test_a_data_set_may_require_gradients() -> None:
    dataset = TensorDataset(IMAGES.clone().requires_grad_(), LABELS)
    assert not load_splits(DatasetPair(dataset)).train.inputs.requires_grad


def test_a_test_part_with_negative_labels_is_one_sentence() -> None:
    with pytest.raises(DataError, match="the label -1"):
        load_splits(DatasetPair(TensorDataset(IMAGES, LABELS), TensorDataset(IMAGES[:20], LABELS[:20] - 1)))


def test_nothing_is_trained_and_nothing_written(tmp_path: Path) -> None:
    study = tiny_study(data=Changed(HOSTILE["labels int32"][0]))
    with pytest.raises(DataError):
        run_in(study, tmp_path / "run")
    assert not (tmp_path / "run" / "supernet").exists()


STUDY = """
from dataclasses import dataclass, replace
import sys
import torch
from nas.data import Digits
from small_study import study as small


@dataclass(frozen=True)
class Hostile:
    def load(self):
        splits = Digits().load()
        {body}


def study():
    return replace(small(), data=Hostile())
"""


@pytest.mark.parametrize(
    "body",
    [
        "return None",
        "sys.exit(0)",
        "return splits.test[0]",
        "return replace(splits, train=replace(splits.train, targets=splits.train.targets.int()))",
    ],
)
def test_the_command_line_says_it_and_ends_with_2(
    nas_command: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, body: str
) -> None:
    name = "hostile_study.py"
    (tmp_path / name).write_text(STUDY.format(body=body))
    assert nas_command("run", tmp_path / name, "--out", tmp_path / "run") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("nas: ")
    assert not (tmp_path / "run" / "supernet").exists()
