from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import FewDigits, Listener, digests, run_in, tiny_study

from nas import Contrastive, FromScratch, Recipe
from nas.data import FewLabels, RandomViews
from nas.errors import DataError, StudyChangedError, StudyError
from nas.inputs import InputSpec
from nas.progress import Pretext
from nas.runner.directory import RunDirectory
from nas.runner.preparation import prepare
from nas.runner.pretraining import read_pretraining
from nas.runner.supernet_training import train_supernet
from nas.splits import Split, Splits
from nas.study import Study
from nas.supernet import Supernet

CPU = torch.device("cpu")
HOW = Contrastive(Recipe(epochs=3, batch_size=60), RandomViews(mirror=False))
DATA = FewLabels(FewDigits(), 60)


def pretrained_study(**changes: Any) -> Study:
    return tiny_study(**{"data": DATA, "pretraining": HOW, **changes})


class StoppedError(Exception):
    """Stands for a kill."""


class Stopping(Listener):
    """Stops the run after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def advance(self, note: str) -> None:
        super().advance(note)
        self.left -= 1
        if not self.left:
            raise StoppedError


def trained(study: Study, path: Path, listener: Listener | None = None) -> Listener:
    listener = listener or Listener()
    train_supernet(prepare(study, CPU), RunDirectory(path), listener)
    return listener


@pytest.mark.parametrize("steps", [1, 4])
def test_a_killed_pretraining_goes_on_to_the_same_weights(tmp_path: Path, steps: int) -> None:
    whole = trained(pretrained_study(), tmp_path / "whole")
    assert [stage for stage, _ in whole.steps] == ["pre-train supernet"] * 3 + ["train supernet"] * 2
    with pytest.raises(StoppedError):
        trained(pretrained_study(), tmp_path / "killed", Stopping(steps))
    rest = trained(pretrained_study(), tmp_path / "killed")
    assert len(rest.steps) == 5 - min(steps, 4)
    assert digests(tmp_path / "killed", "*.safetensors") == digests(tmp_path / "whole", "*.safetensors")
    assert not list((tmp_path / "killed" / "pretraining").glob("checkpoint*"))


def test_weights_that_are_damaged_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(pretrained_study(), tmp_path)
    before = digests(tmp_path, "*.safetensors")
    (tmp_path / "pretraining" / "weights.safetensors").write_bytes(b"")
    (tmp_path / "supernet" / "training.json").unlink()
    trained(pretrained_study(), tmp_path)
    assert digests(tmp_path, "*.safetensors") == before
    assert "weights.safetensors doesn't match its digest and is made again" in caplog.text


@dataclass(frozen=True)
class Relabelled:
    """The same items with other labels."""

    def load(self) -> Splits:
        splits = DATA.load()
        train = splits.train
        return dataclasses.replace(splits, train=dataclasses.replace(train, targets=train.targets.flip(0)))


def test_pretraining_sees_no_label(tmp_path: Path) -> None:
    for name, data in (("one", DATA), ("other", Relabelled())):
        with pytest.raises(StoppedError):
            trained(pretrained_study(data=data), tmp_path / name, Stopping(4))
    one, other = (digests(tmp_path / name, "pretraining/*.safetensors") for name in ("one", "other"))
    assert len(one) == 1
    assert one == other


def test_a_run_tells_of_its_pretraining_and_refuses_another(tmp_path: Path) -> None:
    study = pretrained_study(winners=dataclasses.replace(tiny_study().winners, count=1))
    results = run_in(study, tmp_path)
    found = read_pretraining(prepare(study, CPU), RunDirectory(tmp_path))
    assert found is not None
    assert len(found.losses) == 3
    assert found.items == 180
    assert results.facts["seconds"]["pre-training"] == found.seconds
    told = "Before its training the supernet learned from 180 images without labels"
    assert told in (tmp_path / "report.md").read_text()
    (card,) = (tmp_path / "winners").glob("*/README.md")
    assert told in card.read_text()
    for other in (None, dataclasses.replace(HOW, temperature=0.1)):
        with pytest.raises(StudyChangedError, match="pretraining"):
            run_in(dataclasses.replace(study, pretraining=other), tmp_path)


@dataclass(frozen=True)
class Own:
    """A pre-training that somebody else wrote, and that is none."""

    result: object
    recipe: Recipe = HOW.recipe
    files: tuple[Path, ...] = ()

    def pretext(self, supernet: Supernet, data: Split, inputs: InputSpec) -> Pretext:
        assert isinstance(self.result, Pretext | int), "a fault of theirs"
        return self.result  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretraining": Own(3)}, "result=3: a nas.progress.Pretext"),
        ({"pretraining": Own("")}, r"pretext\(\) of the study's pretraining failed .*a fault of theirs"),
        ({"pretraining": Own(3, files=(Path("gone"),))}, "pretraining of study 'tiny' reads gone, which"),
    ],
)
def test_a_pretraining_that_can_not_be_done_is_one_sentence(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        run_in(pretrained_study(**changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretraining": 3}, "pretraining=3: an instance with pretext"),
        ({"pretraining": Contrastive}, "pretraining=the class Contrastive"),
        ({"training": FromScratch()}, "proxy, weights and pretraining are for studies with a supernet"),
    ],
)
def test_a_study_with_a_pretraining_that_does_not_fit_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        pretrained_study(**changes)


@dataclass(frozen=True)
class OtherSize:
    """Unlabelled images that are smaller than the labelled ones."""

    def load(self) -> Splits:
        splits = FewDigits().load()
        return dataclasses.replace(splits, unlabelled=Split(torch.zeros(4, 1, 4, 4), torch.zeros(4)))


def test_unlabelled_items_are_of_the_form_of_the_others() -> None:
    with pytest.raises(DataError, match=r"the unlabelled split .* shape \(4, 1, 4, 4\)"):
        prepare(tiny_study(data=OtherSize()), CPU)
