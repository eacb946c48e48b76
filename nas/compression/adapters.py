"""Linear layers of which a part learns, and that become plain ones again exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.checks import check_integers, check_numbers
from nas.errors import StudyError


class AdaptedLinear(nn.Module, ABC):
    """What stands in a linear layer's place while a part of it learns; its bias learns as a whole.

    Args:
        layer: Its weight is frozen from now on; its bias is taken over.
    """

    frozen: Tensor
    bias: nn.Parameter | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("frozen", layer.weight.detach().clone())
        self.register_parameter("bias", layer.bias)

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The plain layer's weight; a network may read it."""

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """Return the plain layer that computes the same."""
        count_out, count_in = self.frozen.shape
        layer = nn.Linear(count_in, count_out, self.bias is not None, device="meta")  # draws no random number
        layer.weight = nn.Parameter(self.weight.clone())
        layer.register_parameter("bias", self.bias)
        return layer


@runtime_checkable
class Adapter(Protocol):
    """Says which part of a linear layer learns. ``repr`` goes into digests of what is made: a frozen dataclass."""

    @property
    def needs_priming(self) -> bool:
        """Whether it must know how the layer changes when everything learns."""

    def adapt(self, layer: nn.Linear, before: Tensor, generator: torch.Generator) -> AdaptedLinear | None:
        """Return a module that computes what a layer does and of which a part learns.

        Args:
            layer: As it is; the module may take its parameters over.
            before: Its weight before everything learned for a while; the same as now where nothing did.
            generator: Decides whatever is random.

        Returns:
            None where the part would be no smaller than the layer, which then learns as a whole.
        """

    @property
    def description(self) -> str:
        """What learns, in words: ``branches of rank 4``."""


@final
@dataclass(frozen=True)
class FreezeAndReconfigure:
    """The nodes of each layer that changed most while everything learned go on learning (FAR, Vucetic 2022).

    A node is a row of the weight; how much it changed is the L1 norm of the difference.

    A *variant*: nodes are chosen in all linear layers but the last, not in those of the feed-forward parts alone. The
    paper makes a layer two, one that learns and one that is frozen, and puts their outputs back in order, because torch
    has a gradient for all of a tensor or for none of it. Here the layer stays one and takes the gradient of some rows.

    Args:
        retention: Share of a layer's nodes that learn.
        nodes: Those that changed most, or random ones, the control.

    Raises:
        StudyError: a setting is out of range.
    """

    retention: float = 0.2
    nodes: Literal["most_changed", "random"] = "most_changed"

    def __post_init__(self) -> None:
        check_numbers(self, "retention")
        if not 0 < self.retention < 1:
            raise StudyError(
                f"FreezeAndReconfigure has retention={self.retention}: a share between 0 and 1 is expected."
            )
        if self.nodes not in ("most_changed", "random"):
            raise StudyError(
                f"FreezeAndReconfigure has nodes={self.nodes!r}: 'most_changed' or 'random' is expected."
            )

    @property
    def needs_priming(self) -> bool:
        """Whether nodes are chosen by how they changed."""
        return self.nodes == "most_changed"

    def adapt(self, layer: nn.Linear, before: Tensor, generator: torch.Generator) -> AdaptedLinear | None:
        """Return the layer with some rows that learn."""
        count = max(1, round(self.retention * layer.out_features))
        if count == layer.out_features:
            return None
        if self.nodes == "random":
            ranked = torch.randperm(layer.out_features, generator=generator)
        else:
            ranked = (layer.weight.detach() - before).abs().sum(1).argsort(descending=True, stable=True)
        return _LearningRows(layer, ranked[:count].sort().values)

    @property
    def description(self) -> str:
        """Share of the nodes, and which."""
        chosen = "those that changed most" if self.needs_priming else "at random"
        return f"{self.retention:.0%} of the nodes, {chosen}"


@final
@dataclass(frozen=True)
class Learners:
    """Beside each frozen layer a thin branch learns, a product of two matrices (Vucetic 2022; Hu 2022).

    The branch begins in the directions of the input along which the layer's weight changed most while everything
    learned, by a singular value decomposition, and adds nothing at first. Without priming they are random.

    A *variant*: the paper's modules are not public to us.

    Args:
        rank: Directions of a branch. A layer that is no larger than its branch learns as a whole.

    Raises:
        StudyError: the rank is less than 1.
    """

    rank: int = 4

    def __post_init__(self) -> None:
        check_integers(self, "rank")
        if self.rank < 1:
            raise StudyError(f"Learners has rank={self.rank}: 1 or more is expected.")

    @property
    def needs_priming(self) -> bool:
        """False: directions may be random."""
        return False

    def adapt(self, layer: nn.Linear, before: Tensor, generator: torch.Generator) -> AdaptedLinear | None:
        """Return the layer with a branch."""
        if self.rank * (layer.in_features + layer.out_features) >= layer.weight.numel():
            return None
        change = (layer.weight.detach() - before).double()
        if not change.any():
            change = torch.randn(change.shape, dtype=change.dtype, generator=generator).to(change.device)
        directions = torch.linalg.svd(change, full_matrices=False).Vh[: self.rank]
        return _Branched(layer, directions.to(layer.weight.dtype))

    @property
    def description(self) -> str:
        """Branches of a rank."""
        return f"branches of rank {self.rank}"


@final
class _LearningRows(AdaptedLinear):
    """A linear layer of which some rows of the weight learn.

    Args:
        layer: That it computes.
        rows: Numbers of the rows.
    """

    rows: Tensor

    def __init__(self, layer: nn.Linear, rows: Tensor) -> None:
        super().__init__(layer)
        # Not persistent, so that an average of weights, in which whole numbers get lost, isn't loaded into it.
        self.register_buffer("rows", rows.to(layer.weight.device), persistent=False)
        self.learning = nn.Parameter(self.frozen[self.rows])

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply as ``torch.nn.Linear`` does."""
        # Through .data, because the forward pass before may have kept the weight for a backward pass that isn't over.
        self.frozen.data.index_copy_(0, self.rows, self.learning.data)
        outputs: Tensor = _LinearOfRows.apply(inputs, self.learning, self.frozen, self.bias, self.rows)
        return outputs

    @property
    def weight(self) -> Tensor:
        """All rows."""
        return self.frozen.index_copy(0, self.rows, self.learning)


class _LinearOfRows(torch.autograd.Function):
    """A linear layer that takes the gradient of some rows of its weight alone, as torch's own can't."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, learning: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor
    ) -> Tensor:
        """Compute with ``weight``, of which ``learning`` are some ``rows``."""
        ctx.save_for_backward(inputs, weight, rows)
        return F.linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs, the rows and the bias, where they are needed."""
        inputs, weight, rows = ctx.saved_tensors
        of_inputs = gradient @ weight.to(gradient.dtype) if ctx.needs_input_grad[0] else None
        flat = gradient.reshape(-1, gradient.shape[-1])
        of_rows = flat.index_select(1, rows).T @ inputs.reshape(-1, inputs.shape[-1]).to(gradient.dtype)
        return of_inputs, of_rows, None, flat.sum(0) if ctx.needs_input_grad[3] else None, None


@final
class _Branched(AdaptedLinear):
    """A linear layer beside a branch that learns and adds nothing at first.

    Args:
        layer: That it computes.
        directions: ``(rank, in)``, the first matrix of the branch.
    """

    def __init__(self, layer: nn.Linear, directions: Tensor) -> None:
        super().__init__(layer)
        self.down = nn.Parameter(directions)
        self.up = nn.Parameter(torch.zeros_like(self.frozen[:, : len(directions)]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Multiply as ``torch.nn.Linear`` does."""
        outputs = F.linear(inputs, self.frozen, self.bias) + F.linear(F.linear(inputs, self.down), self.up)
        return outputs

    @property
    def weight(self) -> Tensor:
        """The layer's and the branch's together."""
        return self.frozen + (self.up.double() @ self.down.double()).to(self.up.dtype)
