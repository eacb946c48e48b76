"""Runs a network and follows its channels through every operation of torch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from nas.space import IntArray
from nas.supernet.convert.branches import Branch, training
from nas.supernet.convert.calls import Call
from nas.supernet.convert.example import tensors
from nas.supernet.convert.labels import ChannelBlock, Layout, Ties
from nas.supernet.convert.operations import layouts_after
from nas.supernet.convert.sight import Sight
from nas.supernet.cut import FEATURES, Place, channel_dims, list_tensors
from nas.supernet.unfused import avoid_fused_kernels

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


@final
@dataclass(frozen=True)
class Followed:
    """The result of following the channels of a network.

    Args:
        places: The nodes along every dimension of every parameter and buffer.
        ties: Between nodes.
        outputs: Nodes of the tensors that the network returns.
        used: Places whose tensors some operation took.
        unused: Layers and parameters that no operation took, by the module whose ``forward`` may use them.
        sight: The tensors that the ``forward`` of each module sees.
    """

    places: dict[Place, IntArray]
    ties: Ties
    outputs: tuple[Layout, ...]
    used: frozenset[Place]
    unused: dict[str, tuple[str, ...]]
    sight: Sight


@torch.no_grad()
def follow(model: nn.Module, branches: Sequence[Branch]) -> Followed:
    """Run a model on all branches, and return which of its channels are coupled on any of them.

    Args:
        model: In evaluation mode; its buffers may change.
        branches: Branches that its ``forward`` takes.
    """
    follower = _Follower()
    follower.own(model)
    sight = Sight(model, follower.layout)
    outputs: list[Layout] = []
    for branch in branches:
        follower.take(branch.example.tensors)
        mode = training(model) if branch.training else contextlib.nullcontext()
        with mode, avoid_fused_kernels(model), follower.weightless_norms(model), sight.watching(), follower:
            made = tensors(branch.example.run(model))
        outputs += [follower.layout(x) or () for x in made]
    used = frozenset(place for place in follower.places if follower.is_used(place))
    unused = sight.find_unused(follower.touched)
    return Followed(follower.places, follower.ties, tuple(outputs), used, unused, sight)


@final
class _Follower(TorchDispatchMode):
    """Keeps the layout of every tensor in memory, and updates them with every operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ties = Ties()
        self.places: dict[Place, IntArray] = {}
        # Weak, because a tensor that dies may leave its id to the next one.
        self._layouts: Any = WeakTensorKeyDictionary()
        self._owners: dict[int, list[Place]] = {}
        self._used: set[Place] = set()
        self.touched: set[int] = set()

    def own(self, model: nn.Module) -> None:
        """Give nodes to the dimensions of parameters and buffers."""
        for path, module in model.named_modules():
            learned = isinstance(module, _NORMS) or any(True for _ in module.parameters(recurse=False))
            for name, tensor in list_tensors(module):
                if tensor not in self._layouts:
                    self._layouts[tensor] = tuple(
                        ChannelBlock((dim,), self.ties.new(tensor.shape[dim], loose=not learned))
                        for dim in channel_dims(module, tensor)
                        if tensor.shape[dim] > 1
                    )
                for block in self._layouts[tensor]:
                    place = Place(path, name, block.dims[0])
                    self.places[place] = block.nodes
                    self._owners.setdefault(id(tensor), []).append(place)

    def take(self, inputs: Iterable[Tensor]) -> None:
        """Note that tensors are inputs of the network."""
        self._layouts.update(dict.fromkeys(inputs, ()))

    def layout(self, tensor: Tensor) -> Layout | None:
        """Return a tensor's layout; None of a constant."""
        found: Layout | None = self._layouts.get(tensor)
        return found

    def is_used(self, place: Place) -> bool:
        """Whether some operation took the tensor."""
        return place in self._used or place.name == FEATURES

    @contextlib.contextmanager
    def weightless_norms(self, model: nn.Module) -> Iterator[None]:
        """Follow norms that hold no tensor, only the number of channels, for a block."""

        def remember(path: str) -> Any:
            def hook(module: nn.Module, given: tuple[Tensor, ...]) -> None:
                dim = given[0].ndim - 1 if isinstance(module, nn.LayerNorm) else 1
                nodes = self.ties.along(self.layout(given[0]) or (), dim)
                known = self.places.get(Place(path, FEATURES, 0))
                if nodes is not None and known is not None:
                    self.ties.tie(nodes, known)
                elif nodes is not None:
                    self.places[Place(path, FEATURES, 0)] = nodes

            return hook

        handles = [
            module.register_forward_pre_hook(remember(path))
            for path, module in model.named_modules()
            if isinstance(module, _NORMS) and not list_tensors(module)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and follow it."""
        output = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.touched.update(id(x) for x in given if isinstance(x, nn.Parameter))
        self._used.update(place for x in given for place in self._owners.get(id(x), ()))
        made = [x for x in tree_leaves(output) if isinstance(x, Tensor)]
        name = func.overloadpacket.__name__
        # These take a form from their argument and none of its numbers.
        fresh = name.startswith("new_") or name.endswith("_like")
        if made and not fresh and any(x in self._layouts for x in given):
            call = Call(
                name.rstrip("_"), _bind_arguments(func, args, kwargs or {}), made, self.layout, self.ties
            )
            for tensor, layout in zip(made, layouts_after(call), strict=True):
                if math.prod(tensor.shape) > 0:
                    self._layouts[tensor] = layout
        return output


def _bind_arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return an operation's arguments by name."""
    parameters = func._schema.arguments
    bound = {p.name: p.default_value for p in parameters if p.has_default_value()}
    bound.update({p.name: value for p, value in zip(parameters, args, strict=False)})
    bound.update(kwargs)
    return {p.name: bound[p.name] for p in parameters if p.name in bound}
