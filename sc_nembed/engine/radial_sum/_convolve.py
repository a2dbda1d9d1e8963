"""From a density on a grid to its potential: two transforms, on a grid twice as long along each axis."""

from __future__ import annotations

import torch
from torch import Tensor

from ..compute import backend
from ..fused import grid as fused_grid
from ._influence import Influence

FFT_LINES = {2: 64, 3: 256}  # lines of the grid that are transformed together, by its dimensions
SKEW = 8  # entries after each line of the spectrum: lines a power of two apart push each other out of the cache


class Buffers:
    """Memory that is kept from step to step: fresh pages would cost more than filling them."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def get(self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        if name not in self._tensors or self._tensors[name].shape != shape:
            self._tensors[name] = torch.empty(shape, dtype=dtype)
        return self._tensors[name]


def on_any_device(density: Tensor, kind: Influence) -> Tensor:
    """In plain torch."""
    axes = tuple(range(density.ndim))
    spectrum = torch.fft.rfftn(density, s=kind.padded, dim=axes).mul_(kind.transform.movedim(0, -1))
    potential = torch.fft.irfftn(spectrum, s=kind.padded, dim=axes)
    return potential[tuple(slice(count) for count in density.shape)].contiguous()


def of_grids(grids: Tensor, kind: Influence, buffers: Buffers) -> Tensor:
    """The potential of the sum of some densities, (grids, ..., rows, columns), on the CPU.

    Both transforms of a block of columns are done while it is in the cache; lines that are zero or not read are left
    out. The blocks are the same for any number of threads.
    """
    nodes, columns = grids.shape[1:], grids.shape[-1]
    rows = nodes[:-1].numel()
    grids = grids.view(-1, rows, columns)
    density = buffers.get("density", (rows, columns))
    if len(nodes) == 1:
        fused_grid.add_grids(0, 0, 1, grids.numpy(), density.numpy())
        return on_any_device(density[0], kind)
    spectrum = buffers.get("spectrum", (kind.transform.shape[0], rows + SKEW), torch.complex64)[:, :rows]
    potential = torch.empty(rows, columns)  # outlives the next step where a field is kept

    def along_rows(chunk: int, begin: int, end: int) -> None:
        fused_grid.add_grids(chunk, begin, end, grids.numpy(), density.numpy())
        spectrum[:, begin:end] = torch.fft.rfft(density[begin:end], n=kind.padded[-1]).T

    def along_columns(chunk: int, begin: int, end: int) -> None:
        block = spectrum[begin:end].unflatten(1, nodes[:-1])
        block.copy_(_other_axes(block, kind.transform[begin:end]))

    def back_along_rows(chunk: int, begin: int, end: int) -> None:
        potential[begin:end] = torch.fft.irfft(spectrum[:, begin:end].T, n=kind.padded[-1])[:, :columns]

    n_lines = FFT_LINES[len(nodes)]
    at_once = max(1, n_lines * nodes[-2] // rows)
    for lines, size, function in (
        (rows, n_lines, along_rows), (spectrum.shape[0], at_once, along_columns), (rows, n_lines, back_along_rows)
    ):  # fmt: skip
        backend.parallel(function, backend.chunk_bounds(lines, size))
    return potential.view(nodes)


def _other_axes(block: Tensor, transform: Tensor) -> Tensor:
    """The part of the convolution that is left where the transform along one axis is done."""
    axes = range(block.ndim - 1, 0, -1)
    nodes = block.shape
    for axis in axes:
        block = torch.fft.fft(block, n=transform.shape[axis], dim=axis)
    block.mul_(transform)
    for axis in reversed(axes):
        block = torch.fft.ifft(block, dim=axis).narrow(axis, 0, nodes[axis])
    return block
