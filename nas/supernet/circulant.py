"""Block-circulant matrices (Ding 2017, CirCNN), which hold one k-th of the numbers.

A matrix is cut into blocks of k rows and k columns. In each block every row is the one above, shifted by one to the
right, so that k numbers say all of it. At the lower and the right edge blocks may stand out; what does isn't used.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas.choices import Choice, Expression, Option, choice
from nas.errors import SpaceError
from nas.space import FloatArray


@final
@dataclass(frozen=True)
class BlockSize(Expression):
    """The size of the blocks, chosen from large to small: a larger one makes a smaller network.

    Args:
        choice: Its options are the sizes as text, since the largest of several numbers would be the largest network.
    """

    choice: Choice

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The one choice."""
        return (self.choice,)

    def value(self, options: Mapping[str, Option]) -> Option:
        """Return the chosen size."""
        return int(options[self.choice.name])

    def values(self) -> tuple[Option, ...]:
        """Return all sizes."""
        return tuple(map(int, self.choice.options))


def block_size(name: str, *sizes: int) -> BlockSize:
    """Return a choice of the size of blocks, for layers of :mod:`nas.supernet.elastic`.

    Args:
        name: Name of the choice.
        sizes: From large to small; 1 leaves a layer as it is.

    Raises:
        SpaceError: the sizes are something else.
    """
    check_block_sizes(f"choice {name!r}", sizes)
    return BlockSize(choice(name, *map(str, sizes)))


def check_block_sizes(what: str, sizes: tuple[object, ...]) -> None:
    """Refuse what are no sizes of blocks from large to small.

    Args:
        what: Begins the sentence: what has them.
        sizes: To check.

    Raises:
        SpaceError: they are something else.
    """
    numbers = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size >= 1]
    if not sizes or len(numbers) < len(sizes) or numbers != sorted(set(numbers), reverse=True):
        raise SpaceError(
            f"{what} has the block sizes {sizes}: integers of 1 or more are expected, from large to small, because "
            "the larger the blocks the smaller the network, such as 16, 8, 4, 2, 1."
        )


def vectors_shape(rows: int, columns: int, size: int) -> tuple[int, int, int]:
    """Return the shape of what holds a block-circulant matrix."""
    return -(-rows // size), -(-columns // size), size


def project(matrix: Tensor, size: int) -> Tensor:
    """Return the vectors of the block-circulant matrix that is nearest to a matrix, by least squares.

    Each number is the mean of those that it stands for, along a diagonal of a block.

    Args:
        matrix: ``(m, n, *)``; what follows the second axis, such as a kernel, is projected position by position.
        size: k, the size of the blocks.

    Returns:
        ``(ceil(m / k), ceil(n / k), k, *)``. What only stands for numbers outside of the matrix is 0.
    """
    rows, columns = matrix.shape[:2]
    if rows % size == 0 and columns % size == 0:
        return _diagonal_sums(matrix, size) / size
    counts = _diagonal_sums(matrix.new_ones(rows, columns), size).clamp(min=1)
    return _diagonal_sums(matrix, size) / counts.reshape(*counts.shape, *(1 for _ in matrix.shape[2:]))


def _diagonal_sums(matrix: Tensor, size: int) -> Tensor:
    rows, columns, *rest = matrix.shape
    high, wide, _ = vectors_shape(rows, columns, size)
    unpadded = [0, 0] * len(rest)
    whole = F.pad(matrix, [*unpadded, 0, wide * size - columns, 0, high * size - rows])
    blocks = whole.reshape(high, size, wide, size, *rest).permute(0, 2, 3, 1, *range(4, 4 + len(rest)))
    # Columns of a block with so many zeros behind each that all of a diagonal lie in one column of what follows.
    shifted = F.pad(blocks, [*unpadded, 0, size - 1]).reshape(high, wide, 2 * size - 1, size, *rest)
    return shifted.sum(2)


def expand(vectors: Tensor, rows: int, columns: int) -> Tensor:
    """Return the matrix that vectors stand for: number ``(a - b) mod k`` at row a and column b of a block.

    Views and one copy, without a table of positions, so that an ONNX file holds the vectors alone.

    Args:
        vectors: ``(p, q, k, *)``.
        rows: At most p k.
        columns: At most q k.

    Returns:
        ``(rows, columns, *)``.
    """
    high, wide, size, *rest = vectors.shape
    # A vector again and again, cut into pieces of 2 k - 1 numbers: each begins one number earlier than the one before.
    repeated = vectors.repeat(1, 1, 2 * size - 1, *(1 for _ in rest))
    blocks = repeated.reshape(high, wide, size, 2 * size - 1, *rest).narrow(3, 0, size)
    ordered = blocks.permute(0, 3, 1, 2, *range(4, 4 + len(rest)))
    whole = ordered.reshape(high * size, wide * size, *rest)
    return whole if whole.shape[:2] == (rows, columns) else whole[:rows, :columns]


def multiply_spectra(vectors: Tensor, inputs: Tensor) -> Tensor:
    """Return ``(..., p k)`` products of a block-circulant matrix and ``(..., <= q k)`` inputs.

    A circulant block is a convolution on a ring, which the Fourier transform makes a product of spectra; these are
    added up over the blocks of a row before they are transformed back (Ding 2017). In real numbers, and the transforms
    as products with their matrices: blocks are small, and torch's fast ONNX exporter knows no Fourier transform.
    """
    high, wide, size = vectors.shape
    there, back = (
        torch.tensor(matrix, dtype=inputs.dtype, device=inputs.device) for matrix in _transforms(size)
    )
    count = there.shape[1] // 2
    missing = wide * size - inputs.shape[-1]
    padded = F.pad(inputs, [0, missing]) if missing else inputs
    spectra = padded.reshape(-1, wide, size) @ there
    spectra = spectra.reshape(-1, wide, 2, count).permute(3, 0, 2, 1).flatten(2)
    # Not as a product of matrices, which would count as work for each input: who reads the file does this once.
    repeated = vectors.unsqueeze(-1).repeat(1, 1, 1, there.shape[1])
    known = (repeated * there).sum(2).permute(2, 1, 0)
    real, imaginary = known[:count], known[count:]
    rows = torch.cat([real, imaginary], 2), torch.cat([-imaginary, real], 2)
    made = torch.bmm(spectra, torch.cat(rows, 1))  # (frequencies, n, 2 p)
    made = made.permute(1, 2, 0).reshape(-1, 2, high, count).transpose(1, 2).flatten(2)
    return (made @ back).reshape(*inputs.shape[:-1], high * size)


@functools.cache
def _transforms(size: int) -> tuple[FloatArray, FloatArray]:
    """Return matrices ``(k, 2 f)`` that gives the real and then the imaginary parts of a spectrum, and its inverse."""
    spectra = np.fft.rfft(np.eye(size))
    units = np.eye(spectra.shape[1])
    back = np.concatenate([np.fft.irfft(units, n=size), np.fft.irfft(1j * units, n=size)])
    return np.concatenate([spectra.real, spectra.imag], axis=1), back
