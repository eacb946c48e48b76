"""Finds the branches of a network's ``forward`` by running it on varied examples and in training mode."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.supernet.convert.example import Example, tensors
from nas.supernet.copying import copy_module

_MOST = 8
"""Branches; a forward that loops over its input is another one for every length."""
_SIDE = 64
"""Side of the smallest images tried: five halvings leave 2×2."""


@final
@dataclass(frozen=True, eq=False)
class Branch:
    """One way through a network's ``forward``.

    Args:
        example: An example that takes it.
        training: Whether the network must be in training mode.
        how: In what the example differs from the user's; empty for the user's own.
        new_calls: Whether other operations are called than on the branches before it.
        by_chance: Whether random numbers are drawn on it, so that its outputs can't be compared.
    """

    example: Example
    training: bool = False
    how: str = ""
    new_calls: bool = True
    by_chance: bool = False

    def on(self, example: Example) -> Branch:
        """Return the branch with another example."""
        return replace(self, example=example)

    @property
    def where(self) -> str:
        """A phrase that names the branch, for the end of a sentence."""
        return f" ({self.how})" if self.how else ""


@final
@dataclass(frozen=True)
class _Way:
    """The modules and operations that were called, in order, and the integer arguments of the operations."""

    modules: tuple[str, ...]
    operations: tuple[tuple[str, tuple[int, ...]], ...]
    numbers: tuple[tuple[int, ...], ...]
    by_chance: bool

    def same_calls(self, other: _Way) -> bool:
        """Whether the same modules and operations were called."""
        return (self.modules, self.operations) == (other.modules, other.operations)


def branches_of(model: nn.Module, examples: Sequence[Example]) -> list[Branch]:
    """Return the branches that the examples and variations of the first one take, beginning with the first example's.

    Args:
        model: In evaluation mode; isn't changed. It runs on each of the examples.
        examples: A user's.
    """
    model = copy_module(model)
    without_chance(model)
    first = _reduce_example(model, examples[0])
    given = [Branch(first), *(Branch(x, how=f"on example {n}") for n, x in enumerate(examples[1:], 2))]
    varied = [Branch(example, how=how) for how, example in _variations(model, first, examples[0])]
    found: list[Branch] = []
    known: list[_Way] = []
    for branch in [*given, *_train_branches(first, examples[0]), *varied]:
        if len(found) == _MOST or (branch.training and any(b.training for b in found)):
            continue
        way = _way(model, branch)
        if way is None:
            continue
        new = branch.training or not any(way.same_calls(other) for other in known)
        # The same calls with other whole numbers, such as an index, show no new ties; outputs must be right there too.
        other_numbers = _same_shapes(branch.example, first) and way not in known
        if new or other_numbers or branch in given:
            found.append(replace(branch, new_calls=new, by_chance=way.by_chance))
            known.append(way)
    return found


def _train_branches(*examples: Example) -> list[Branch]:
    """Return branches in training mode: on the first example, and on the others in case that one doesn't run."""
    return [Branch(example.twice(), training=True, how="in training mode") for example in examples]


def without_chance(model: nn.Module) -> None:
    """Let dropout keep everything."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def _same_shapes(one: Example, other: Example) -> bool:
    return [x.shape for x in one.tensors] == [x.shape for x in other.tensors]


def _reduce_example(model: nn.Module, example: Example) -> Example:
    """Return the example with smaller images, if the network takes the same branch on them."""
    images = [x for x in example.tensors if x.ndim == 4 and x.is_floating_point()]
    if not images or min(images[0].shape[2:]) < 1.5 * _SIDE:
        return example
    way = _way(model, Branch(example))
    for side in (_SIDE, 2 * _SIDE):
        factor = side / min(images[0].shape[2:])
        if way is None or factor > 0.7:
            break
        smaller = _resize_example(example, {2: images[0].shape[2], 3: images[0].shape[3]}, factor, ndim=4)
        other = _way(model, Branch(smaller))
        if other is not None and way.same_calls(other):
            return smaller
    return example


def _variations(model: nn.Module, example: Example, whole: Example) -> Iterator[tuple[str, Example]]:
    """Yield the example with other values, with arguments left out, and with other sizes."""
    for how, change in _CHANGES.items():
        changed = example.map_tensors(change)
        if any(not torch.equal(a, b) for a, b in zip(changed.tensors, example.tensors, strict=True)):
            yield how, changed
    yield from _leave_out(model, example)
    first = next(x for x in example.tensors)
    if first.ndim > 1 and first.shape[0] > 1:
        count = first.shape[0]
        yield "on a batch of one", example.map_tensors(lambda x: x[:1] if x.ndim and len(x) == count else x)
    yield "on a larger batch", example.twice()
    yield from _sizes(example, whole)


def _sizes(example: Example, whole: Example) -> Iterator[tuple[str, Example]]:
    """Yield the example with larger and smaller inputs, and with images that are not square."""
    first = next(x for x in whole.tensors)
    both = ((1.5, "larger"), (0.5, "smaller"))
    if first.ndim == 4:
        sizes = dict(enumerate(first.shape[2:], 2))
        for factor, how in both:
            yield f"on {how} inputs (images)", _resize_example(whole, sizes, factor)
        first = next(x for x in example.tensors)
    for axis in range(2 if first.ndim == 4 else 1, first.ndim):
        size = first.shape[axis]
        for factor, how in both[first.ndim == 4 :]:
            changed = _resize_example(example, {axis: size}, factor)
            yield f"on {how} inputs (size {size} of axis {axis})", changed


def _real(x: Tensor, change: Any) -> Tensor:
    return change(x) if x.is_floating_point() and x.numel() else x


def _whole(x: Tensor, change: Any) -> Tensor:
    real = x.is_floating_point() or x.is_complex() or x.dtype == torch.bool
    return x if real or not x.ndim or not x.numel() else change(x)


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "on negated values": lambda x: -x if x.is_floating_point() else x,
    "on larger values": lambda x: _real(x, lambda v: v * 10),
    "on smaller values": lambda x: _real(x, lambda v: v / 10),
    "on higher values": lambda x: _real(x, lambda v: v + 3 * v.abs().max()),
    "on lower values": lambda x: _real(x, lambda v: v - 3 * v.abs().max()),
    "on other whole numbers": lambda x: _whole(x, lambda v: v.flip(-1)),
    "on the least whole numbers": lambda x: _whole(x, lambda v: v * 0 + v.min()),
    "on the largest whole numbers": lambda x: _whole(x, lambda v: v * 0 + v.max()),
    "on inverted masks": lambda x: ~x if x.dtype == torch.bool else x,
}
"""Ways to change the values of an input."""


def _leave_out(model: nn.Module, example: Example) -> Iterator[tuple[str, Example]]:
    """Yield the example with each argument left out that may be None."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    for number, parameter in enumerate(parameters[: len(example.given)]):
        if parameter.default is None and example.given[number] is not None:
            args = tuple(None if n == number else value for n, value in enumerate(example.given))
            yield f"without {parameter.name}", Example(args, example.named)
    for parameter in parameters:
        if parameter.default is None and example.named.get(parameter.name) is not None:
            yield f"without {parameter.name}", Example(example.given, {**example.named, parameter.name: None})


def _resize_example(
    example: Example, sizes: dict[int, int], factor: float, ndim: int | None = None
) -> Example:
    """Return the example with other sizes of the axes, in every tensor that has the same ones."""

    def change(x: Tensor) -> Tensor:
        if ndim is not None and x.ndim != ndim:
            return x
        for axis, size in sizes.items():
            square = x.ndim == 2 and x.shape[0] == x.shape[1] == size  # a mask between positions
            for here in (0, 1) if square else (axis,):
                if here < x.ndim and x.shape[here] == size:
                    x = _stretch(x, here, max(1, round(size * factor)))
        return x

    return example.map_tensors(change)


def _stretch(x: Tensor, axis: int, size: int) -> Tensor:
    if size > 32:
        size -= size % 32  # what halves images again and again wants such sizes
    picked = torch.arange(size, device=x.device) * x.shape[axis] // size
    return x.index_select(axis, picked)


class _Operations(TorchDispatchMode):
    """Notes which operations were called, and with which integer arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[tuple[str, tuple[int, ...]]] = []
        self.numbers: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        axes = tuple(leaf.ndim for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        self.names.append((str(func), axes))
        self.numbers.append(tuple(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, int)))
        return made


@torch.no_grad()
def _way(model: nn.Module, branch: Branch) -> _Way | None:
    """Return what is called on a branch; None if it doesn't run or its outputs are not finite."""
    modules: list[str] = []

    def remember(path: str) -> Any:
        return lambda *_: modules.append(path)

    handles = [m.register_forward_pre_hook(remember(path)) for path, m in model.named_modules()]
    mode = training(model) if branch.training else contextlib.nullcontext()
    try:
        with mode, _Operations() as called:
            # A draw moves the generator, whichever operation makes it.
            before = torch.get_rng_state()
            made = tensors(branch.example.run(model))
            by_chance = not torch.equal(before, torch.get_rng_state())
    except Exception:  # whatever a user's forward raises on what it wasn't made for
        return None
    finally:
        for handle in handles:
            handle.remove()
    if not made or not all(bool(torch.isfinite(x).all()) for x in made):
        return None
    return _Way(tuple(modules), tuple(called.names), tuple(called.numbers), by_chance)


@contextlib.contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Within, ``model`` is in training mode; afterwards its modes, its buffers and the random state are restored."""
    modes = {module: module.training for module in model.modules()}
    state = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model.train()
            yield
    finally:
        with torch.no_grad():
            for buffer, value in state:
                buffer.copy_(value)
        for module, mode in modes.items():
            module.training = mode
