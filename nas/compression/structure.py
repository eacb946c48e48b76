"""What a pass did to a module's structure, as plain values, and a module with that structure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from nas.checks import failing_as
from nas.compression.layers import LAYERS
from nas.errors import ExportError
from nas.supernet.copying import copy_module
from nas.typed import MismatchError, read_as

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_ADVICE = "give changes that were told of this module"
_SEQUENCES = (tuple, list, torch.Size)
_BY_NAME = {kind.__name__: kind for kind in LAYERS}


@final
@dataclass(frozen=True)
class _Layer:
    """A layer that stands where another stood, or in a Sequential that does."""

    name: str
    kind: str
    arguments: Mapping[str, Any]


@final
@dataclass(frozen=True)
class _Changes:
    """What has changed, by the full names of layers and tensors.

    Args:
        layers: In the order in which they are put in their places.
        attributes: Plain ones of modules, such as a number of heads.
        tensors: Shapes of parameters and buffers; None where there is none any more.
    """

    layers: tuple[_Layer, ...] = ()
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tensors: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)


def describe_changes(before: nn.Module, after: nn.Module) -> dict[str, Any]:
    """Return how the structure of ``after`` differs from that of ``before``, as plain JSON values.

    Layers of one class may differ in plain attributes (numbers, text, and lists of these) and in the shapes of their
    parameters and buffers. One of another class must be of torch.nn, or a Sequential of such.

    Raises:
        ExportError: something else differs, which can't be told; names it.
    """
    layers: list[_Layer] = []
    attributes: dict[str, dict[str, Any]] = {}
    tensors: dict[str, tuple[int, ...] | None] = {}
    for name, old, new in _pairs("", before, after):
        if not _are_alike(old, new):
            layers += _describe_layers(name, new)
            continue
        if changed := dict(_find_changed_attributes(name, old, new)):
            attributes[name] = changed
        tensors |= _find_changed_shapes(name, old, new)
    changes: dict[str, Any] = json.loads(json.dumps(asdict(_Changes(tuple(layers), attributes, tensors))))
    # What can't be told is found here, while the winner is made, and not when somebody loads it.
    _check_same_structure(apply_changes(before, changes), after)
    return changes


def sets_numbers_alone(before: nn.Module, after: nn.Module) -> bool:
    """Return whether two modules have one structure, and differ in numbers of their parameters or buffers.

    Raises:
        ExportError: something differs which can't be told; names it.
    """
    if any(describe_changes(before, after).values()):
        return False
    found = after.state_dict()
    return any(not torch.equal(tensor, found[name]) for name, tensor in before.state_dict().items())


def apply_changes(module: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """Return a copy of a module with the structure that :func:`describe_changes` told.

    Weights of layers that have changed are undefined: load them.

    Raises:
        ExportError: these are no changes, or not of such a module.
    """
    try:
        found = read_as(_Changes, dict(changes))
    except MismatchError as error:
        raise ExportError(f"changes of a module's structure are expected: {error}.") from error
    made = copy_module(module)
    _put_layers(made, found.layers)
    modules = dict(made.named_modules(remove_duplicate=False))
    for name, values in found.attributes.items():
        state = vars(_get_module(modules, name))
        for attribute, value in values.items():
            if attribute in _OF_EVERY_MODULE:
                raise _unfit(f"attribute {attribute!r} of {name!r}")
            state[attribute] = _as_before(state.get(attribute), value)
    _put_tensors(modules, found.tensors)
    return made


def _pairs(name: str, old: nn.Module, new: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield modules of the same place, as far as both networks have the same places."""
    yield name, old, new
    if _are_alike(old, new):
        for child, inner in old._modules.items():
            other = new._modules[child]
            if inner is not None and other is not None:
                yield from _pairs(f"{name}.{child}" if name else child, inner, other)


def _are_alike(old: nn.Module, new: nn.Module) -> bool:
    """Whether two modules differ in sizes at most, their children aside."""
    return type(old) is type(new) and all(
        a.keys() == b.keys()
        for a, b in (
            (old._parameters, new._parameters),
            (old._buffers, new._buffers),
            (_children(old), _children(new)),
        )
    )


def _children(module: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in module._modules.items() if child is not None}


def _describe_layers(name: str, layer: nn.Module) -> Iterator[_Layer]:
    """Yield a layer and, of a Sequential, those inside."""
    if type(layer) not in LAYERS or not name:
        place = f"layer {name!r}" if name else "the network itself"
        raise ExportError(
            f"{place} became a {type(layer).__name__}, which can't be told to nas.load: replace layers by some of "
            f"{sorted(_BY_NAME)}, or change the sizes of a layer and keep its class."
        )
    yield _Layer(name, type(layer).__name__, LAYERS[type(layer)](layer))
    if type(layer) is nn.Sequential:
        for child, inner in _children(layer).items():
            yield from _describe_layers(f"{name}.{child}", inner)


def _find_changed_attributes(name: str, old: nn.Module, new: nn.Module) -> Iterator[tuple[str, Any]]:
    before = vars(old)
    for attribute, value in vars(new).items():
        if attribute in _OF_EVERY_MODULE:
            continue
        known = before.get(attribute)
        if not _is_plain(value) and not _are_of_one_form(known, value):
            raise ExportError(
                f"attribute {attribute!r} of layer {name!r} changed and is neither a number, text nor a list of "
                "these, so it can't be told to nas.load: keep it as a parameter or a buffer."
            )
        if _is_plain(value) and (attribute not in before or not _is_same(known, value)):
            yield attribute, value


def _is_plain(value: object) -> bool:
    if type(value) in _SEQUENCES:
        return all(map(_is_plain, value))  # type: ignore[call-overload]
    return value is None or type(value) in (bool, int, float, str)


def _are_of_one_form(known: object, value: object) -> bool:
    """Whether an attribute that is no plain value holds what a copy of the module before would hold too."""
    if isinstance(value, Tensor) and isinstance(known, Tensor):
        return value.shape == known.shape
    return known is None or not _is_plain(known)


def _is_same(one: object, other: object) -> bool:
    return _is_plain(one) and json.dumps(one) == json.dumps(other)  # keeps 1 and True apart


def _as_before(before: object, value: Any) -> Any:
    """Return a value from JSON, which has no tuples, as the attribute held it."""
    return tuple(value) if isinstance(value, list) and not isinstance(before, list) else value


def _find_changed_shapes(
    name: str, old: nn.Module, new: nn.Module
) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    for held, holds in ((old._parameters, new._parameters), (old._buffers, new._buffers)):
        for key, tensor in holds.items():
            before = held[key]
            is_stored = key not in new._non_persistent_buffers_set
            if not is_stored and not _are_equal(before, tensor):
                raise ExportError(
                    f"buffer {key!r} of layer {name!r} changed and isn't stored with the weights, so it can't be told "
                    "to nas.load: register it with persistent=True."
                )
            if _shape(before) != _shape(tensor):
                yield f"{name}.{key}" if name else key, _shape(tensor)


def _are_equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one.cpu(), other.cpu()))


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _put_layers(network: nn.Module, layers: tuple[_Layer, ...]) -> None:
    """Make layers and put them in their places; one that stood at several places is replaced by one."""
    # The old layer is kept beside the new one, because its id may be given away once it is gone.
    made: dict[int, tuple[nn.Module, nn.Module]] = {}
    example = next(network.parameters(), torch.empty(0))
    for layer in layers:
        outer, _, name = layer.name.rpartition(".")
        parent = _get_module(dict(network.named_modules(remove_duplicate=False)), outer)
        before = parent._modules.get(name)
        if layer.kind not in _BY_NAME or (before is None and type(parent) is not nn.Sequential):
            raise _unfit(f"{layer.kind} at {layer.name!r}")
        if before is not None and id(before) in made:
            parent._modules[name] = made[id(before)][1]
            continue
        with failing_as(ExportError, f"layer {layer.name!r} can't be made", _ADVICE), torch.device("meta"):
            arguments = {key: _as_before(None, value) for key, value in layer.arguments.items()}
            new = _BY_NAME[layer.kind](**arguments).to(example.dtype)
        new.to_empty(device=example.device)  # no time and no random numbers are lost on initial weights
        if before is not None:
            made[id(before)] = before, new
        parent._modules[name] = new


def _put_tensors(modules: Mapping[str, nn.Module], shapes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Give parameters and buffers other shapes; those that were one stay one."""
    made: dict[int, tuple[Tensor, Tensor]] = {}
    example = next(modules[""].parameters(), torch.empty(0))
    for name, shape in shapes.items():
        outer, _, key = name.rpartition(".")
        module = _get_module(modules, outer)
        held: dict[str, Any] = module._parameters if key in module._parameters else module._buffers
        if key not in held:
            raise _unfit(f"tensor {name!r}")
        before = held[key]
        if shape is None or _shape(before) == shape:
            held[key] = None if shape is None else before
            continue
        if before is None or id(before) not in made:
            with failing_as(ExportError, f"tensor {name!r} can't be made", _ADVICE):
                new = (example if before is None else before).detach().new_empty(shape)
            if held is module._parameters:
                new = nn.Parameter(new, requires_grad=before is None or before.requires_grad)
            made[id(before)] = (example if before is None else before), new
        held[key] = made[id(before)][1]


def _get_module(modules: Mapping[str, nn.Module], name: str) -> nn.Module:
    if name not in modules:
        raise _unfit(f"a layer {name!r}")
    return modules[name]


def _unfit(what: str) -> ExportError:
    return ExportError(f"the changes name {what}, which the module doesn't have: {_ADVICE}.")


def _check_same_structure(made: nn.Module, wanted: nn.Module) -> None:
    """Check that weights fit, and that tensors are one where they are one in what is wanted."""
    forms = [{name: (tuple(t.shape), t.dtype) for name, t in m.state_dict().items()} for m in (made, wanted)]
    groups = [_find_tied(m) for m in (made, wanted)]
    for of_made, of_wanted in (forms, groups):
        for name in [*of_wanted, *of_made]:
            if of_made.get(name) != of_wanted.get(name):
                raise ExportError(
                    f"how {name!r} changed can't be told to nas.load (it is {of_wanted.get(name)} now and would come "
                    f"back as {of_made.get(name)}): keep its type, and share tensors as before."
                )


def _find_tied(module: nn.Module) -> dict[str, list[str]]:
    """Return all names of each parameter that has several, by the first of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {same[0]: same for same in names.values() if len(same) > 1}
