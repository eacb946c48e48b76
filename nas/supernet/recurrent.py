"""Elastic recurrent layers: width, number of layers and directions. Import what a network needs beside ``elastic``.

As there, a layer owns the weights of its largest form and uses the leading units, layers and direction of what is
active. A narrow layer has the first units of each gate; the second direction's part of what a deeper layer takes stays
its own at every width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, cast, final

import torch
from torch import Tensor, nn

from nas.choices import Size, largest_value
from nas.errors import SpaceError

_SIDES = ("ih", "hh")
"""Torch's names of what is multiplied with the input and with the state."""


class _Place(NamedTuple):
    """One of torch's cells: its layer, its direction, and how both end the names of its parameters."""

    layer: int
    direction: int

    @property
    def suffix(self) -> str:
        return f"l{self.layer}{'_reverse' * self.direction}"


class Recurrent(nn.Module):
    """Elastic width, layers and directions; otherwise torch's recurrent layer, of whose kinds a subclass names one.

    Args:
        input_size: Features of a step.
        hidden_size: Units of each layer and direction.
        num_layers: How many layers; each takes what all directions of the one before give.
        directions: 1, or 2 where a second one reads the steps from last to first.

    Shape:
        ``(n, steps, input_size)`` to ``(n, steps, directions * hidden_size)`` and the last state, as torch has it with
        ``batch_first``.

    Raises:
        SpaceError: for some option a size is not positive, or there are neither one direction nor two.
    """

    plain: ClassVar[type[nn.LSTM | nn.GRU]]
    gates: ClassVar[int]

    def __init__(
        self, input_size: Size, hidden_size: Size, num_layers: Size = 1, directions: Size = 1
    ) -> None:
        super().__init__()
        if largest_value(directions) > 2:
            raise SpaceError(f"a recurrent layer can have {directions} directions: 1 or 2 are expected.")
        self.input_size = cast(int, input_size)
        self.hidden_size = cast(int, hidden_size)
        self.num_layers = cast(int, num_layers)
        self.directions = cast(int, directions)
        largest = self.plain(
            largest_value(input_size),
            largest_value(hidden_size),
            largest_value(num_layers),
            bidirectional=largest_value(directions) == 2,
        )
        # Torch's own names and initial weights, so that what is extracted reads them back.
        self._parameters.update(largest._parameters)

    def _places(self) -> Iterator[_Place]:
        return itertools.starmap(_Place, itertools.product(range(self.num_layers), range(self.directions)))

    def _inputs_of(self, layer: int) -> int:
        return self.directions * self.hidden_size if layer else self.input_size

    def _slices(self) -> dict[str, Tensor]:
        """Return the active parameters by torch's names, in torch's order."""
        active: dict[str, Tensor] = {}
        for place in self._places():
            for side in _SIDES:
                name = f"weight_{side}_{place.suffix}"
                rows = self._units(self.get_parameter(name))
                steps_in = side == "ih" and not place.layer
                active[name] = rows[:, : self.input_size] if steps_in else self._columns(rows)
            for side in _SIDES:
                name = f"bias_{side}_{place.suffix}"
                active[name] = self._units(self.get_parameter(name))
        return active

    def _units(self, tensor: Tensor) -> Tensor:
        """Return the first units of each gate."""
        # The gates stand one below the other, so a leading slice would cut the last gates and not units.
        by_gate: Tensor = tensor.unflatten(0, (self.gates, -1))
        return by_gate[:, : self.hidden_size].flatten(0, 1)

    def _columns(self, rows: Tensor) -> Tensor:
        """Return the columns of the first units of each direction."""
        width = len(self.get_parameter("weight_hh_l0")) // self.gates
        # Two directions stand side by side in what the next layer takes.
        by_direction: Tensor = rows.unflatten(1, (-1, width))
        return by_direction[:, : self.directions, : self.hidden_size].flatten(1)

    def extract(self) -> nn.Module:
        """Return the active part as torch's layer."""
        layer = self.plain(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            batch_first=True,
            bidirectional=self.directions == 2,
            device="meta",
        )
        for name, value in self._slices().items():
            setattr(layer, name, nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format)))
        return layer

    def num_active_params(self) -> int:
        """Return how many numbers the active weights and biases hold."""
        biases = 2 * self.gates * self.hidden_size * self.directions * self.num_layers
        return self.macs_per_position() + biases

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per step."""
        columns = sum(self._inputs_of(place.layer) + self.hidden_size for place in self._places())
        return self.gates * self.hidden_size * columns

    def _blank(self, inputs: Tensor) -> Tensor:
        """Return the state before the first step."""
        return inputs.new_zeros(self.num_layers * self.directions, len(inputs), self.hidden_size)


@final
class LSTM(Recurrent):
    """Long short-term memory (Hochreiter 1997)."""

    plain, gates = nn.LSTM, 4

    def forward(self, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs of all steps, and the last hidden and cell states."""
        outputs, hidden, cell = torch.lstm(
            inputs,
            (self._blank(inputs), self._blank(inputs)),
            list(self._slices().values()),
            True,
            self.num_layers,
            0.0,
            self.training,
            self.directions == 2,
            True,
        )
        return outputs, (hidden, cell)


@final
class GRU(Recurrent):
    """Gated recurrent units (Cho 2014)."""

    plain, gates = nn.GRU, 3

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of all steps, and the last state."""
        outputs, hidden = torch.gru(
            inputs,
            self._blank(inputs),
            list(self._slices().values()),
            True,
            self.num_layers,
            0.0,
            self.training,
            self.directions == 2,
            True,
        )
        return outputs, hidden
