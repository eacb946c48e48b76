"""The contract of a compression pass."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.choices import Option
from nas.compression.applying import apply_pass, export
from nas.compression.pipeline import CompressionPass, Lab, Model
from nas.compression.structure import changes_between, with_changes
from nas.evaluation.candidate import OnnxCandidate
from nas.inputs import Form, Inputs, as_spec, call_network, take_items
from nas.splits import Split
from nas.task import Task
from nas.tasks import Classification
from nas.testing.small_network import small_network
from nas.training import Recipe

_ITEMS = 70
"""Not a multiple of a usual batch size."""


def check_compression_pass(
    made: CompressionPass,
    folder: Path,
    *,
    module: nn.Module | None = None,
    form: Form = (3, 16, 16),
    data: tuple[Inputs, Tensor, Task] | None = None,
) -> None:
    """Check a compression pass.

    Its choices carry its name, and the largest options change nothing. With every other option it gives a network
    with the same inputs and outputs, finite and of any batch size, leaves what it was given and torch's generator as
    they are, writes nothing outside its folder, gives the same again where it doesn't train, and what it does to a
    module can be told in plain values (see :mod:`nas.compression.structure`).

    Args:
        made: The pass.
        folder: An empty directory.
        module: The network; a small convolutional one for ten classes unless given.
        form: What it takes.
        data: 70 items or more, their targets and their task; random images of ten classes unless given.

    Raises:
        AssertionError: a promise is broken.
        ExportError: the pass failed.
    """
    assert isinstance(made, CompressionPass), (
        f"{made!r} lacks one of name, works_on, trains, choices(), apply()"
    )
    assert " at 0x" not in repr(made), "repr must tell the settings: make it a frozen dataclass"
    spec = as_spec(form)
    inputs, targets, task = data or _random_images(form)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = (module or small_network(3, 8, 10)).eval()
    model = Model(spec, network)
    model = export(model) if made.works_on == "file" else model
    lab = Lab(
        train=Split(inputs, targets),
        task=task,
        recipe=Recipe(epochs=1, batch_size=32),
        device=torch.device("cpu"),
        seed=0,
        folder=folder / "own",
    )
    space = made.choices()
    for choice in space.choices:
        assert choice.name.startswith(f"{made.name}."), (
            f"choice {choice.name!r} must begin with {made.name!r}."
        )
    if space.choices:
        unchanged = apply_pass(made, model, space.largest(), lab)
        assert unchanged is model, (
            f"the largest options, {dict(space.largest())}, must give the model itself back"
        )
    for options in _options(made):
        _check_result(made, model, options, lab)
    beside = {path.name for path in folder.iterdir()} - {"own"}
    assert not beside, f"{made.name} leaves {sorted(beside)} behind"


def _random_images(form: Form) -> tuple[Inputs, Tensor, Task]:
    generator = torch.Generator().manual_seed(0)
    shape = as_spec(form).shapes[0]
    return torch.randn(_ITEMS, *shape, generator=generator), torch.arange(_ITEMS) % 10, Classification(10)


def _options(made: CompressionPass) -> list[Mapping[str, Option]]:
    """Return the smallest options, and those with one option changed; none is the largest of all."""
    space = made.choices()
    if not space.choices:
        return [{}]
    smallest = space.smallest()
    found = [space.architecture({**smallest, c.name: option}) for c in space.choices for option in c.options]
    return [options for options in dict.fromkeys(found) if options != space.largest()]


def _check_result(made: CompressionPass, model: Model, options: Mapping[str, Option], lab: Lab) -> None:
    assert model.module is not None, "the contract's model has a module"
    told, state = f"{made.name} with {dict(options)}", copy.deepcopy(model.module.state_dict())
    before = torch.get_rng_state()
    after = apply_pass(made, model, options, lab)
    assert torch.equal(before, torch.get_rng_state()), f"{told} moves torch's generator"
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(state[name], tensor), f"{told} changes {name} of what it was given"
    if after is model:
        return
    assert after.applied[: len(model.applied)] == model.applied, f"{told} forgets what was applied before"
    assert len(after.applied) > len(model.applied), f"{told} doesn't say what it applied"
    outputs = _outputs(after, lab.train.inputs)
    assert bool(outputs.isfinite().all()), f"{told}: an output is not finite"
    for count in (1, 5):
        few = _outputs(after, take_items(lab.train.inputs, slice(0, count)))
        assert len(few) == count, f"{told} gives {len(few)} outputs of {count} items"
    if not made.trains:
        again = _outputs(apply_pass(made, model, options, lab), lab.train.inputs)
        assert torch.equal(again, outputs), f"{told} gives something else the second time"
    if made.works_on == "module":
        assert after.module is not None, f"{told} gives no module"
        rebuilt = with_changes(model.module, changes_between(model.module, after.module))
        rebuilt.load_state_dict(after.module.state_dict())
        assert torch.equal(_outputs(Model(model.inputs, rebuilt.eval()), lab.train.inputs), outputs), (
            f"{told}: the module can't be made again from what is told of its structure"
        )


@torch.no_grad()
def _outputs(model: Model, inputs: Inputs) -> Tensor:
    if model.onnx is not None:
        return OnnxCandidate(model.onnx).predict(inputs)
    assert model.module is not None, "a model has a module or a file"
    return call_network(model.module, inputs)
