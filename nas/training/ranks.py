"""Several processes that train one network together, as ``torchrun`` starts them."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch import distributed as dist

_PATIENCE = timedelta(days=7)
"""With rank 0; when its process dies, torchrun ends the others at once."""


@final
@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is. All methods must be called by every process.

    Gradients are added up once per batch, over all of a batch's subnets, by one all-reduce. torch's
    DistributedDataParallel reduces inside the backward pass, and leaves alone what that pass didn't use:
    with several subnets per batch, each using other weights, the processes would drift apart.

    Args:
        rank: From 0; rank 0 writes files.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum_gradients(self, parameters: Sequence[nn.Parameter], numbers: Tensor) -> Tensor:
        """Replace every gradient by its sum over the processes and return the sums of ``(k,)`` numbers."""
        if self.size == 1:
            return numbers
        gradients = [p.grad for p in parameters if p.grad is not None]
        # One message, because each costs a round trip; in single precision, in which sums of half-precision gradients
        # don't overflow.
        flat = torch.cat([numbers.float(), *(g.reshape(-1).float() for g in gradients)])
        dist.all_reduce(flat)
        sums: Tensor
        sums, *parts = flat.split([len(numbers), *(g.numel() for g in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
        return sums

    def beside_others(self, value: Tensor) -> Tensor:
        """Return ``(size,)`` zeros but for this process's scalar; their sum over the processes has everybody's."""
        beside = value.new_zeros(self.size)
        beside[self.rank] = value
        return beside

    def gather(self, value: Tensor) -> Tensor:
        """Return the ``(size,)`` scalars of all processes."""
        gathered = self.beside_others(value)
        if self.size > 1:
            dist.all_reduce(gathered)
        return gathered

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of rank 0, such as batch-norm statistics."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def agree(self, value: bool) -> bool:
        """Return what rank 0 thinks."""
        return bool(self._broadcast(torch.tensor([int(value)])).item())

    def read_state(self, path: Path) -> Any:
        """Return the plain state in a file that rank 0 can read: ``torch.load`` with weights only.

        Raises:
            Exception: of many kinds, where the file is damaged.
        """
        if self.size == 1:
            return _read_whole(path)
        content = bytearray(path.read_bytes()) if self.first else bytearray()
        length = int(self._broadcast(torch.tensor([len(content)])).item())
        held = torch.frombuffer(content, dtype=torch.uint8) if self.first else torch.empty(length).byte()
        return _read_whole(io.BytesIO(self._broadcast(held).numpy().tobytes()))

    def after_first(self, make: Callable[[], Path]) -> Path:
        """Return what ``make`` returns; it is called by rank 0 first, and by the others when that is done."""
        if self.size == 1:
            return make()
        # A group of its own, because the usual one gives up after half an hour or less, and a training takes longer.
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        assert isinstance(group, dist.ProcessGroup)
        made = make() if self.first else None
        dist.barrier(group)
        dist.destroy_process_group(group)
        return make() if made is None else made

    def _broadcast(self, values: Tensor) -> Tensor:
        if self.size == 1:
            return values
        on_gpu = dist.get_backend() == "nccl"
        shared = values.cuda() if on_gpu else values.clone()
        dist.broadcast(shared, src=0)
        return shared.cpu()


def _read_whole(source: Path | io.BytesIO) -> Any:
    """Return a state after a look at the checksums in its zip, which torch writes and doesn't read."""
    with zipfile.ZipFile(source) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"the checksum of {broken} is wrong")
    if isinstance(source, io.BytesIO):
        source.seek(0)
    return torch.load(source, map_location="cpu", weights_only=True)


ALONE = Ranks()
"""One process, the usual case."""


def own_device(device: torch.device) -> torch.device:
    """Return the GPU that belongs to this process where ``torchrun`` started several; else ``device``."""
    if device.type != "cuda" or device.index is not None or not dist.is_torchelastic_launched():
        return device
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


@contextlib.contextmanager
def join_ranks(device: torch.device, at: tuple[str, Ranks] | None = None) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started; without it this process is alone.

    Args:
        device: Decides how the processes talk: NCCL between GPUs, gloo otherwise.
        at: Where processes meet that something else started, ``tcp://host:port``, and which of them this one is.
    """
    if at is None and not (dist.is_available() and dist.is_torchelastic_launched()):
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if at is None:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, at[0], rank=at[1].rank, world_size=at[1].size)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
