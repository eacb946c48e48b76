"""Elastic batch norm."""

from __future__ import annotations

from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.choices import Size, largest_value
from nas.supernet.elastic.layer import fill_layer


class BatchNorm(nn.Module):
    """Elastic width; otherwise torch's batch norm, of whose kinds a subclass names one.

    The running statistics are shared by all widths and fit none of them: recalibrate before a subnet
    is evaluated (Yu 2019).

    Args:
        num_features: Channels of the input.
        eps: As in torch.
        momentum: As in torch; None for a cumulative average.
    """

    plain: ClassVar[type[nn.BatchNorm1d | nn.BatchNorm2d]]
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: Size, *, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        largest = largest_value(num_features)
        self.num_features = cast(int, num_features)
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(largest))
        self.bias = nn.Parameter(torch.zeros(largest))
        self.register_buffer("running_mean", torch.zeros(largest))
        self.register_buffer("running_var", torch.ones(largest))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise with the batch's statistics in training, with the running ones otherwise."""
        momentum = self.momentum
        if self.training:
            self.num_batches_tracked += 1
            if momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        count = self.num_features
        return F.batch_norm(
            inputs,
            self.running_mean[:count],
            self.running_var[:count],
            self.weight[:count],
            self.bias[:count],
            self.training,
            0.0 if momentum is None else momentum,
            self.eps,
        )

    def reset_running_stats(self) -> None:
        """Forget the running statistics, as torch's batch norm does."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def extract(self) -> nn.Module:
        """Return the active part as torch's batch norm."""
        count = self.num_features
        layer = self.plain(count, self.eps, self.momentum, device="meta")
        return fill_layer(
            layer,
            weight=self.weight[:count],
            bias=self.bias[:count],
            running_mean=self.running_mean[:count],
            running_var=self.running_var[:count],
            num_batches_tracked=self.num_batches_tracked,
        )

    def num_active_params(self) -> int:
        """Return how many numbers the active weight and bias hold."""
        return 2 * self.num_features

    def macs_per_position(self) -> int:
        """Return 0: torch's counter doesn't count normalisation, and ORT folds it into the convolution."""
        return 0


@final
class BatchNorm1d(BatchNorm):
    """Batch norm of ``(n, num_features)`` vectors, such as the points of all clouds of a batch."""

    plain = nn.BatchNorm1d


@final
class BatchNorm2d(BatchNorm):
    """Batch norm of ``(n, num_features, h, w)`` images."""

    plain = nn.BatchNorm2d
