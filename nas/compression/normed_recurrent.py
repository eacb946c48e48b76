"""Recurrent layers with batch norm inside, which networks of binary and ternary weights need (Ardakani 2019)."""

from __future__ import annotations

from typing import Literal, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_GAIN = 0.1
"""Batch norm's factor at first, as in Cooijmans 2017: with more, the tanh saturates and its gradients vanish."""
_GATES = {"lstm": 4, "gru": 3}
State = tuple[Tensor, ...]
"""Hidden state ``(n, hidden_size)``, and that of an LSTM's cells."""


@final
class StepNorm(nn.BatchNorm1d):
    """Batch norm with statistics of their own for each of the first steps (Cooijmans 2017); the last one's hold on.

    Args:
        num_features: Size of the last axis.
        steps: How many steps have statistics of their own.
    """

    def __init__(self, num_features: int, steps: int) -> None:
        super().__init__(num_features)
        self.steps = steps
        self.running_mean = torch.zeros(steps, num_features)
        self.running_var = torch.ones(steps, num_features)
        self.num_batches_tracked = torch.zeros(steps, dtype=torch.int64)

    def reset_parameters(self) -> None:
        """Forget the statistics, and begin with a small gain."""
        super().reset_parameters()
        nn.init.constant_(self.weight, _GAIN)

    def forward(self, inputs: Tensor, step: int = 0) -> Tensor:
        """Normalise ``(n, num_features)`` of a step, counted from 0."""
        row, momentum = min(step, self.steps - 1), self.momentum
        if self.training:
            counted = cast(Tensor, self.num_batches_tracked)
            counted[row] += 1
            momentum = 1 / float(counted[row]) if momentum is None else momentum
        mean, variance = (cast(Tensor, held)[row] for held in (self.running_mean, self.running_var))
        return F.batch_norm(
            inputs, mean, variance, self.weight, self.bias, self.training, momentum or 0.0, self.eps
        )


@final
class Shift(nn.Module):
    """Adds a bias, in the place of :class:`StepNorm`.

    Args:
        num_features: Size of the last axis.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, inputs: Tensor, step: int = 0) -> Tensor:
        """Add it to ``(n, num_features)``."""
        return inputs + self.bias


@final
class NormedCell(nn.Module):
    """An LSTM's or a GRU's cell whose products with input and state, and whose cell state, are normalised.

    Args:
        kind: "lstm" or "gru".
        input_size: Features of a step.
        hidden_size: Units.
        steps: How many steps have statistics of their own; on 0 there is no batch norm.
    """

    def __init__(self, kind: Literal["lstm", "gru"], input_size: int, hidden_size: int, steps: int) -> None:
        super().__init__()
        self.kind, self.hidden_size = kind, hidden_size
        rows = _GATES[kind] * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.input_norm, self.state_norm = (StepNorm(rows, steps) if steps else Shift(rows) for _ in range(2))
        self.cell_norm = StepNorm(hidden_size, steps) if steps and kind == "lstm" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as Glorot 2010 does; forget gates begin open."""
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.xavier_uniform_(weight)
        if self.kind == "lstm":
            # Gates that begin open let gradients through from the first step on; the second of the four forgets.
            nn.init.ones_(self.input_norm.bias.data.chunk(4)[1])

    def forward(self, inputs: Tensor, state: State, *, backwards: bool) -> tuple[Tensor, State]:
        """Read ``(n, steps, input_size)`` from a state on; return the outputs of all steps, and the last state."""
        products = inputs @ self.weight_ih.t()
        recurrent = (
            self.weight_hh.t()
        )  # read once, because low-bit weights are drawn anew whenever they are read
        advance = self._lstm if self.kind == "lstm" else self._gru
        outputs = []
        order = range(inputs.shape[1])
        for step, place in enumerate(reversed(order) if backwards else order):
            by_input = self.input_norm(products[:, place], step)
            by_state = self.state_norm(state[0] @ recurrent, step)
            state = advance(by_input, by_state, state, step)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs, 1), state

    def _lstm(self, by_input: Tensor, by_state: Tensor, state: State, step: int) -> State:
        write, forget, candidate, read = (by_input + by_state).split(self.hidden_size, 1)
        cell = forget.sigmoid() * state[1] + write.sigmoid() * candidate.tanh()
        normed = cell if self.cell_norm is None else self.cell_norm(cell, step)
        return read.sigmoid() * normed.tanh(), cell

    def _gru(self, by_input: Tensor, by_state: Tensor, state: State, step: int) -> State:
        reset, update, candidate = by_input.split(self.hidden_size, 1)
        state_reset, state_update, state_candidate = by_state.split(self.hidden_size, 1)
        kept = (update + state_update).sigmoid()
        new = (candidate + (reset + state_reset).sigmoid() * state_candidate).tanh()
        return ((1 - kept) * new + kept * state[0],)


@final
class NormedRecurrent(nn.Module):
    """``torch.nn.LSTM`` or ``torch.nn.GRU`` of :class:`NormedCell`; takes and returns what these do.

    Args:
        kind: "lstm" or "gru".
        input_size: As in torch, and so the five others.
        hidden_size: See there.
        num_layers: See there.
        bidirectional: See there.
        batch_first: See there.
        dropout: See there.
        steps: How many steps have statistics of their own; on 0 there is no batch norm.
    """

    def __init__(
        self,
        kind: Literal["lstm", "gru"],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        batch_first: bool = False,
        dropout: float = 0.0,
        steps: int = 1,
    ) -> None:
        super().__init__()
        self.kind: Literal["lstm", "gru"] = kind
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.batch_first = bidirectional, batch_first
        self.dropout, self.steps = dropout, steps
        directions = 1 + bidirectional
        sizes = [directions * hidden_size if layer else input_size for layer in range(num_layers)]
        self.cells = nn.ModuleList(
            NormedCell(kind, size, hidden_size, steps) for size in sizes for _ in range(directions)
        )

    def forward(self, inputs: Tensor, hx: Tensor | State | None = None) -> tuple[Tensor, Tensor | State]:
        """Return what torch's layer returns, of batches that aren't packed."""
        outputs = inputs if self.batch_first else inputs.transpose(0, 1)
        begin = self._first_state(outputs, hx)
        directions, last = 1 + self.bidirectional, list[State]()
        for number in range(0, len(self.cells), directions):
            if number and self.dropout:
                outputs = F.dropout(outputs, self.dropout, self.training)
            made = [
                self.cells[number + one](
                    outputs, tuple(part[number + one] for part in begin), backwards=one == 1
                )
                for one in range(directions)
            ]
            outputs = torch.cat([found for found, _ in made], 2)
            last += [end for _, end in made]
        states = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        outputs = outputs if self.batch_first else outputs.transpose(0, 1)
        return outputs, states if self.kind == "lstm" else states[0]

    def _first_state(self, inputs: Tensor, state: Tensor | State | None) -> State:
        if state is not None:
            return (state,) if isinstance(state, Tensor) else state
        blank = inputs.new_zeros(len(self.cells), inputs.shape[0], self.hidden_size)
        return (blank, blank) if self.kind == "lstm" else (blank,)


def make_normed_layer(layer: nn.LSTM | nn.GRU, steps: int) -> NormedRecurrent:
    """Return a layer of the form and with the weights of torch's, with batch norm inside where there are steps.

    Without, it computes the same; with, its biases are forgotten, which batch norm has of its own.
    """
    kind: Literal["lstm", "gru"] = "lstm" if isinstance(layer, nn.LSTM) else "gru"
    made = NormedRecurrent(
        kind,
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        layer.bidirectional,
        layer.batch_first,
        layer.dropout,
        steps,
    ).to(cast(Tensor, layer.weight_hh_l0))
    suffixes = [
        f"l{n}{end}" for n in range(layer.num_layers) for end in ("", "_reverse")[: 1 + layer.bidirectional]
    ]
    for cell, suffix in zip(made.cells, suffixes, strict=True):
        for name in ("weight_ih", "weight_hh"):
            cell.get_parameter(name).data.copy_(layer.get_parameter(f"{name}_{suffix}").data)
        for name, norm in (("bias_ih", "input_norm"), ("bias_hh", "state_norm")) if not steps else ():
            bias = cast(Shift, cell.get_submodule(norm)).bias.data
            bias.copy_(layer.get_parameter(f"{name}_{suffix}").data if layer.bias else torch.zeros_like(bias))
    return made.train(layer.training)
