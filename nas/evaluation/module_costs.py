"""What torch counts while each module of a network runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from nas.choices import Option
from nas.inputs import InputSpec, call_network
from nas.space import Architecture
from nas.supernet import Supernet, elastic
from nas.supernet.probing import FlopCounter, counting
from nas.supernet.sites import Site


def trace_costs(
    twin: Supernet, architecture: Architecture, inputs: InputSpec
) -> tuple[dict[str, int], dict[str, int]]:
    """Run the largest architecture, or that for smaller images, once.

    Returns:
        Output positions of each elastic layer, and the MACs that each other module performs itself,
        both by path and summed over calls.
    """
    with twin.active(architecture), counting(twin.module) as counter, _Watch(twin.sites, counter) as watch:
        call_network(twin.module, inputs.blank(1, next(twin.parameters()).device))
    return watch.positions, watch.own_macs


def trace_all_costs(
    twin: Supernet, architecture: Architecture, inputs: InputSpec
) -> tuple[dict[str, int], dict[str, int]]:
    """Trace an architecture, and then as many more as it takes to run every layer that it leaves out.

    Returns:
        As :func:`trace_costs`, of each module in the first of them that runs it.
    """
    positions, own_macs = trace_costs(twin, architecture, inputs)
    waiting = [site for site in twin.sites if not isinstance(site.module, nn.ModuleList | nn.ModuleDict)]
    while waiting := [site for site in waiting if site.conditional and site.path not in own_macs]:
        options: dict[str, Option] = {}
        together: set[str] = set()
        for site in waiting:
            wanted = {c.choice: c.options[-1] for c in site.alternatives[0]}
            if all(options.get(name, option) == option for name, option in wanted.items()):
                options |= wanted
                together.add(site.path)
        changed = twin.space.architecture({**architecture, **options})
        more_positions, more_macs = trace_costs(twin, changed, inputs)
        positions, own_macs = {**more_positions, **positions}, {**more_macs, **own_macs}
        waiting = [site for site in waiting if site.path not in together]  # some are never called
    return positions, own_macs


@final
class _Watch:
    """Sees which modules run, how many positions elastic layers give, and what is counted while which module runs."""

    def __init__(self, sites: Sequence[Site], counter: FlopCounter) -> None:
        self.positions: dict[str, int] = {}
        self.own_macs: dict[str, int] = {}
        self._paths = {id(site.module): site.path for site in sites}
        self._counter = counter
        self._running = [""]
        self._seen = 0

    def __enter__(self) -> _Watch:
        # Hooks of all modules, because compiled ones take none of their own.
        self._handles = (
            register_module_forward_pre_hook(self._begin),
            register_module_forward_hook(self._end, always_call=True),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, _inputs: object) -> None:
        if id(module) in self._paths:
            self._attribute()
            self._running.append(self._paths[id(module)])

    def _end(self, module: nn.Module, _inputs: object, output: Any) -> None:
        if id(module) not in self._paths:
            return
        self._attribute()
        path = self._running.pop()
        if isinstance(module, elastic.ElasticLayer) and output is not None:
            made: Tensor = output[0] if isinstance(output, tuple) else output
            last = made.ndim != 4 or isinstance(module, nn.Linear | elastic.Linear)
            self.positions[path] = self.positions.get(path, 0) + made.numel() // made.shape[-1 if last else 1]

    def _attribute(self) -> None:
        """Give what was counted since the last time to the module that runs."""
        path, flops = self._running[-1], self._counter.flops
        self.own_macs[path] = self.own_macs.get(path, 0) + (flops - self._seen) // 2
        self._seen = flops
