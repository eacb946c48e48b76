"""Networks that return several outputs, for studies, which need one."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn


@final
class OneOutput(nn.Module):
    """A network of which one output counts.

    torchvision's networks for segmentation return a dictionary: ``OneOutput(fcn_resnet50(), "out")`` is
    what :func:`nas.supernet.elastic_module` and studies take. Other heads, such as ``aux``, are left alone: make the
    network without them.

    Args:
        network: Returns a dictionary or a sequence.
        key: Key of the output that counts: a name or a position.
    """

    def __init__(self, network: nn.Module, key: str | int) -> None:
        super().__init__()
        self.network = network
        self.key = key
        self.training = network.training

    def forward(self, *inputs: Any) -> Tensor:
        """Return that output."""
        output: Tensor = self.network(*inputs)[self.key]
        return output
