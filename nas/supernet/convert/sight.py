"""Notes which tensors the ``forward`` of every module sees, and which of its layers it never used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, final

from torch import Tensor, nn

from nas.supernet.convert.example import tensors
from nas.supernet.convert.labels import Layout


@final
class Sight:
    """Notes which module calls which, and with which tensors.

    A layer that was never called can only be called by the ``forward`` that owns it. So its inputs and outputs would be
    among the tensors that this ``forward`` sees: its own, and those of all modules that it calls.

    Args:
        model: Is watched by hooks.
        layout: Returns that of a tensor.
    """

    def __init__(self, model: nn.Module, layout: Callable[[Tensor], Layout | None]) -> None:
        self._model, self._layout = model, layout
        self._called: set[str] = set()
        self._seen: dict[str, list[Layout]] = {}

    def of(self, path: str) -> list[Layout]:
        """Return the layouts of the tensors that the ``forward`` of a module sees."""
        return self._seen.get(path, [])

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is called within a block."""
        stack: list[str] = []

        def see(path: str, values: Any) -> None:
            layouts = [layout for tensor in tensors(values) if (layout := self._layout(tensor))]
            for owner in {path, *stack[-1:]}:
                self._seen.setdefault(owner, []).extend(layouts)

        def before(path: str) -> Any:
            def hook(_module: nn.Module, given: Any, named: Any) -> None:
                self._called.add(path)
                see(path, [given, named])
                stack.append(path)

            return hook

        def after(path: str) -> Any:
            def hook(_module: nn.Module, _given: Any, output: Any) -> None:
                stack.pop()
                see(path, output)

            return hook

        handles = []
        for path, module in self._model.named_modules():
            handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
            handles.append(module.register_forward_hook(after(path)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def find_unused(self, touched: set[int]) -> dict[str, tuple[str, ...]]:
        """Return the layers and parameters that nothing used, by the path of the module whose ``forward`` may.

        That is the nearest module around them that was called.

        Args:
            touched: The ids of the parameters that some operation took.
        """
        unused: dict[str, tuple[str, ...]] = {}
        for path, module in self._model.named_modules():
            own = dict(module.named_parameters(recurse=False))
            missed = [name for name, parameter in own.items() if id(parameter) not in touched]
            if path in self._called and not any(module.children()):
                continue  # it saw the parameter and had no need of it
            if missed or (
                not own and path not in self._called and next(module.buffers(recurse=False), None) is not None
            ):
                whole = path and len(missed) == len(own)
                names = (path,) if whole else tuple(f"{path}.{name}".removeprefix(".") for name in missed)
                owner = self._owner(path)
                unused[owner] = (*unused.get(owner, ()), *names)
        return unused

    def _owner(self, path: str) -> str:
        while path not in self._called and path:
            path = path.rpartition(".")[0]
        return path
