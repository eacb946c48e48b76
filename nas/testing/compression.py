"""The contract of a compression pass."""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.compression.applying import apply_pass, export
from nas.compression.pipeline import CompressionPass, Lab, Model, Pipeline
from nas.compression.structure import apply_changes, describe_changes
from nas.evaluation.candidate import OnnxCandidate
from nas.inputs import Form, Inputs, as_spec, call_network, take_items
from nas.splits import Split
from nas.task import Task
from nas.tasks import Classification
from nas.testing.promises import Contract, Promise, check_repr
from nas.testing.small_network import small_network
from nas.training import Recipe

_ITEMS = 70
"""Not a multiple of a usual batch size."""
_OWN = "own"
"""The folder of the pass, in the one that is given."""


@Contract
def check_compression_pass(
    made: CompressionPass,
    folder: Path | None = None,
    *,
    module: nn.Module | None = None,
    form: Form = (3, 16, 16),
    data: tuple[Inputs, Tensor, Task] | None = None,
) -> Sequence[Promise]:
    """Check a compression pass.

    Its choices carry its name, and the largest options change nothing. With every other option it gives a network
    with the same inputs and outputs, finite and of any batch size, leaves what it was given and torch's generator as
    they are, writes nothing outside its folder, gives the same again where it doesn't train, and what it does to a
    module can be told in plain values (see :mod:`nas.compression.structure`).

    Args:
        made: The pass.
        folder: An empty directory; a temporary one unless given.
        module: The network; a small convolutional one for ten classes unless given.
        form: What it takes.
        data: 70 items or more, their targets and their task; random images of ten classes unless given.

    Raises:
        BrokenPromisesError: promises are broken.
        AssertionError: it is no compression pass.
    """
    assert isinstance(made, CompressionPass), (
        f"{made!r} lacks one of name, works_on, trains, choices(), apply()"
    )
    case = _Case(made, folder, module, form, data)
    return [
        Promise("repr tells the settings", lambda: check_repr(made)),
        Promise("its choices carry its name", case.check_choices),
        Promise("the largest options change nothing", case.check_largest),
        Promise("it can be applied with all other options", case.check_applies),
        Promise("outputs are finite, of any number of items", case.check_outputs),
        Promise("what it was given stays as it is", case.check_given_stays),
        Promise("torch's generator stays as it is", case.check_generator_stays),
        Promise("it says what it applied", case.check_applied),
        Promise("without training, it gives the same again", case.check_same_again),
        Promise("what it does to a module can be told in plain values", case.check_structure),
        Promise("it leaves nothing outside its folder", case.check_folder),
    ]


@final
@dataclass(frozen=True)
class _Result:
    """What came of a pass with some options.

    Args:
        said: The pass and the options, for sentences.
        options: Options of its choices.
        given: The model that it was given.
        after: The model that it gave, or what it raised.
        changed: What of the given module's numbers changed.
        moved_generator: Whether torch's generator moved.
    """

    said: str
    options: Mapping[str, Option]
    given: Model
    after: Model | Exception
    changed: Sequence[str]
    moved_generator: bool


@final
@dataclass(frozen=True)
class _Case:
    made: CompressionPass
    given_folder: Path | None
    given_module: nn.Module | None
    form: Form
    data: tuple[Inputs, Tensor, Task] | None

    @cached_property
    def _folder(self) -> Path:
        if self.given_folder is not None:
            return self.given_folder
        folder = Path(tempfile.mkdtemp(prefix="nas-pass-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def _lab(self) -> Lab:
        inputs, targets, task = self.data or _random_images(self.form)
        recipe, device = Recipe(epochs=1, batch_size=32), torch.device("cpu")
        return Lab(Split(inputs, targets), task, recipe, device, seed=0, folder=self._folder / _OWN)

    @cached_property
    def _model(self) -> Model:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = (self.given_module or small_network(3, 8, 10)).eval()
        model = Model(as_spec(self.form), network)
        return export(model) if self.made.works_on == "file" else model

    @cached_property
    def _results(self) -> Sequence[_Result]:
        return [self._apply(options) for options in _list_options(self.made)]

    @property
    def _made(self) -> Sequence[tuple[_Result, Model]]:
        """Results that are another network; whatever failed breaks a promise of its own."""
        pairs = [(result, result.after) for result in self._results]
        return [
            (result, after)
            for result, after in pairs
            if isinstance(after, Model) and after is not result.given
        ]

    def _apply(self, options: Mapping[str, Option]) -> _Result:
        given = replace(self._model, module=copy.deepcopy(_module(self._model)))
        state, generator = copy.deepcopy(_module(given).state_dict()), torch.get_rng_state()
        after: Model | Exception
        try:
            after = apply_pass(self.made, given, options, self._lab)
        except Exception as error:  # told by the promise that it can be applied
            after = error
        changed = [
            name
            for name, tensor in _module(given).state_dict().items()
            if not torch.equal(state[name], tensor)
        ]
        moved = not torch.equal(generator, torch.get_rng_state())
        return _Result(f"{self.made.name} with {dict(options)}", options, given, after, changed, moved)

    def check_choices(self) -> None:
        Pipeline(self.made)  # says what is wrong with them

    def check_largest(self) -> None:
        space = self.made.choices()
        if space.choices:
            unchanged = apply_pass(self.made, self._model, space.largest(), self._lab)
            assert unchanged is self._model, (
                f"the largest options, {dict(space.largest())}, must give the model itself back"
            )

    def check_applies(self) -> None:
        for result in self._results:
            if isinstance(result.after, Exception):
                raise result.after

    def check_outputs(self) -> None:
        items = self._lab.train.inputs
        for result, after in self._made:
            assert bool(_outputs(after, items).isfinite().all()), f"{result.said}: an output is not finite"
            for count in (1, 5):
                few = _outputs(after, take_items(items, slice(0, count)))
                assert len(few) == count, f"{result.said} gives {len(few)} outputs of {count} items"

    def check_given_stays(self) -> None:
        for result in self._results:
            assert not result.changed, (
                f"{result.said} changes {result.changed} of what it was given: change a copy.deepcopy of it"
            )

    def check_generator_stays(self) -> None:
        for result in self._results:
            assert not result.moved_generator, f"{result.said} moves torch's generator"

    def check_applied(self) -> None:
        for result, after in self._made:
            before = result.given.applied
            assert after.applied[: len(before)] == before, f"{result.said} forgets what was applied before"
            assert len(after.applied) > len(before), (
                f"{result.said} doesn't say what it applied: give applied=(*model.applied, 'rounded')"
            )

    def check_same_again(self) -> None:
        if self.made.trains:
            return
        for result, after in self._made:
            again = self._apply(result.options).after
            same = isinstance(again, Model) and torch.equal(
                _outputs(again, self._lab.train.inputs), _outputs(after, self._lab.train.inputs)
            )
            assert same, f"{result.said} gives something else the second time"

    def check_structure(self) -> None:
        if self.made.works_on != "module":
            return
        for result, after in self._made:
            before = _module(result.given)
            rebuilt = apply_changes(before, describe_changes(before, _module(after)))
            rebuilt.load_state_dict(_module(after).state_dict())
            again = replace(after, module=rebuilt.eval())
            assert torch.equal(
                _outputs(again, self._lab.train.inputs), _outputs(after, self._lab.train.inputs)
            ), f"{result.said}: the module can't be made again from what is told of its structure"

    def check_folder(self) -> None:
        assert self._results, "a pass without choices has one result"
        beside = {path.name for path in self._folder.iterdir()} - {_OWN}
        assert not beside, f"{self.made.name} leaves {sorted(beside)} behind"


def _random_images(form: Form) -> tuple[Inputs, Tensor, Task]:
    generator = torch.Generator().manual_seed(0)
    shape = as_spec(form).shapes[0]
    return torch.randn(_ITEMS, *shape, generator=generator), torch.arange(_ITEMS) % 10, Classification(10)


def _list_options(made: CompressionPass) -> list[Mapping[str, Option]]:
    """Return the smallest options, and those with one option changed; none is the largest of all."""
    space = made.choices()
    if not space.choices:
        return [{}]
    smallest = space.smallest()
    found = [space.architecture({**smallest, c.name: option}) for c in space.choices for option in c.options]
    return [options for options in dict.fromkeys(found) if options != space.largest()]


def _module(model: Model) -> nn.Module:
    assert model.module is not None, "the contract's model has a module, and a pass on the module gives one"
    return model.module


@torch.no_grad()
def _outputs(model: Model, inputs: Inputs) -> Tensor:
    return OnnxCandidate(model.onnx).predict(inputs) if model.onnx else call_network(_module(model), inputs)
