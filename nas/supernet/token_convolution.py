"""A convolution along tokens, of elastic width and kernel."""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size, largest_value
from nas.errors import SpaceError


@final
class TokenConvolution(nn.Module):
    """Mixes each token with its neighbours; what is beyond the ends is zero.

    Args:
        in_width: Features of a token.
        out_width: Features of a token of the output; None for a depthwise convolution, which gives as many and mixes
            no features.
        kernel: How many tokens it sees, an odd number; fewer are the middle of the largest kernel.

    Shape:
        ``(n, length, in_width)`` to ``(n, length, out_width)``.

    Raises:
        SpaceError: a size is not positive, or a kernel even.
    """

    def __init__(self, in_width: Size, out_width: Size | None, kernel: Size) -> None:
        super().__init__()
        self.depthwise = out_width is None
        given = in_width if out_width is None else out_width
        sides = [kernel] if isinstance(kernel, int) else kernel.values()
        even = [side for side in sides if isinstance(side, int) and side % 2 == 0]
        if even:
            raise SpaceError(
                f"a convolution along tokens has the kernel {even[0]}: an odd number is expected."
            )
        self.in_width = cast(int, in_width)
        self.out_width = cast(int, given)
        self.kernel = cast(int, kernel)
        columns = 1 if self.depthwise else largest_value(in_width)
        self.weight = nn.Parameter(torch.empty(largest_value(given), columns, largest_value(kernel)))
        self.bias = nn.Parameter(torch.empty(largest_value(given)))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch's convolutions are
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, tokens: Tensor) -> Tensor:
        """Convolve with the active slice."""
        weight, bias = self._slices()
        groups = self.in_width if self.depthwise else 1
        return F.conv1d(
            tokens.transpose(1, 2), weight, bias, padding=self.kernel // 2, groups=groups
        ).transpose(1, 2)

    def _slices(self) -> tuple[Tensor, Tensor]:
        start = (self.weight.shape[-1] - self.kernel) // 2
        columns = 1 if self.depthwise else self.in_width
        weight = self.weight[: self.out_width, :columns, start : start + self.kernel]
        return weight, self.bias[: self.out_width]

    @torch.no_grad()
    def extract(self) -> nn.Module:
        """Return the active part as a module of plain torch."""
        weight, bias = self._slices()
        groups = self.in_width if self.depthwise else 1
        convolution = nn.Conv1d(
            self.in_width, self.out_width, self.kernel, padding=self.kernel // 2, groups=groups, device="meta"
        )
        own = {"weight": weight.clone(memory_format=torch.contiguous_format), "bias": bias.clone()}
        convolution.load_state_dict(own, assign=True)
        return PlainTokenConvolution(convolution)

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        return self.macs_per_position() + self.out_width

    def macs_per_position(self) -> int:
        """Return multiply-accumulates per token."""
        return self.out_width * (1 if self.depthwise else self.in_width) * self.kernel


@final
class PlainTokenConvolution(nn.Module):
    """A convolution along tokens.

    Args:
        convolution: Keeps the length.
    """

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, length, width)`` to ``(n, length, out_width)``."""
        output: Tensor = self.convolution(tokens.transpose(1, 2)).transpose(1, 2)
        return output
