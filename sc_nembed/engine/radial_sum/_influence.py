"""What the spectrum of a density is multiplied by: the potential's transform, made fit for cubic B-splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from ..compute import backend
from . import _splines as splines
from ._spacing import on_grid

SAMPLE_ROWS, LAYERS = 64, 4  # of the samples, that are worked on together: what they take stays in the cache


@dataclass(frozen=True)
class Influence:
    """Transform of the potential over that of the splines, for one spacing and padded shape."""

    transform: Tensor  # (padded columns // 2 + 1, other padded axes): the layout in which lines are transformed
    padded: tuple[int, ...]
    felt: Tensor  # (4, ...): what a point of weight 1 feels of itself, coefficients of Π (offset − ½)²ⁱ over the axes
    shift: float  # the constant taken off the potential before the transform


def influence(potential, spacing: float, nodes: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Influence:
    """The influence function that minimises the force error for this spline (Hockney & Eastwood 1988, section 8-3).

    Σₘ U(k+m)² R(k+m) / (Σₘ U(k+m)²)² over the aliases m of a frequency k, with U the spline's transform, sinc⁴ along
    each axis, and R the potential's, taken from samples at half the spacing. All functions are even, so cosine
    transforms of one quadrant or octant do.
    """
    half = [scipy.fft.next_fast_len(count, real=True) for count in nodes]  # half of the padded size
    potential = on_grid(potential).resolved(spacing)
    transform, shift = (_of_layers if len(half) == 3 else _at_once)(potential, spacing / 2, half, dtype)
    for axis, m in enumerate(half):
        transform /= _along(axis, len(half), _spline_transforms(m, transform.dtype)[1])
    felt = _of_itself(_by_axis([_first_cosines(m) for m in half], transform))
    transform = np.ascontiguousarray(np.moveaxis(transform, -1, 0))
    for axis in range(1, len(half)):  # half the columns, and all frequencies of the other axes
        lines = np.moveaxis(transform, axis, 0)
        transform = np.concatenate([transform, np.moveaxis(lines[-2:0:-1], 0, axis)], axis)
    tensors = [torch.as_tensor(array).to(device, dtype) for array in (transform, np.ascontiguousarray(felt))]
    return Influence(tensors[0], tuple(2 * m for m in half), tensors[1], shift)


def _sq_distances(spacing: float, half: list[int]) -> list[Tensor]:
    """Of (2m + 1) nodes along each axis, squared."""
    return [(torch.arange(2 * m + 1, dtype=torch.float64) * spacing) ** 2 for m in half]


def _at_once(potential, spacing: float, half: list[int], dtype: torch.dtype) -> tuple[np.ndarray, float]:
    """Σₘ U² R, (m + 1) entries an axis, of the potential without its smallest value, and that value."""
    *others, columns = _sq_distances(spacing, half)
    rows = others[0] if others else torch.zeros(1, dtype=torch.float64)
    shift = float(potential.value(rows[-1] + columns[-1]))
    samples = torch.empty(len(rows), len(columns), dtype=dtype)

    def fill(chunk: int, begin: int, end: int) -> None:
        # in double precision up to the difference, which is small where the spacing is
        samples[begin:end] = potential.value(rows[begin:end, None] + columns) - shift

    backend.parallel(fill, backend.chunk_bounds(len(rows), SAMPLE_ROWS))
    return _folded(samples.reshape([2 * m + 1 for m in half]).numpy(), half), shift


def _of_layers(potential, spacing: float, half: list[int], dtype: torch.dtype) -> tuple[np.ndarray, float]:
    """The same in 3-D, one axis after the others, so that the samples are never held all at once."""
    layers, rows, columns = _sq_distances(spacing, half)
    shift = float(potential.value(layers[-1] + rows[-1] + columns[-1]))
    sums = torch.empty(len(layers), half[1] + 1, half[2] + 1, dtype=dtype).numpy()
    whole = torch.empty([m + 1 for m in half], dtype=dtype).numpy()

    def along_layers(chunk: int, begin: int, end: int) -> None:
        samples = torch.empty(len(rows), len(columns), dtype=dtype)
        for layer in range(begin, end):
            for part, some in zip(samples.split(SAMPLE_ROWS), rows.split(SAMPLE_ROWS), strict=True):
                part.copy_(potential.value((layers[layer] + some)[:, None] + columns) - shift)
            sums[layer] = _folded(samples.numpy(), half[1:])

    def across_layers(chunk: int, begin: int, end: int) -> None:
        whole[:, begin:end] = _folded(sums[:, begin:end], half[:1])

    backend.parallel(along_layers, backend.chunk_bounds(len(layers), LAYERS))
    backend.parallel(across_layers, backend.chunk_bounds(half[1] + 1, LAYERS))
    return whole, shift


def _folded(samples: np.ndarray, half: list[int]) -> np.ndarray:
    """Transformed along the first axes, times U², and summed over the frequencies that the grid cannot tell apart."""
    transform = scipy.fft.dctn(samples, type=1, axes=range(len(half)), overwrite_x=True)
    for axis, m in enumerate(half):
        transform *= _along(axis, transform.ndim, _spline_transforms(m, transform.dtype)[0] / 2)
    for axis, m in enumerate(half):
        lines = np.moveaxis(transform, axis, 0)
        transform = np.moveaxis(lines[: m + 1] + lines[m:][::-1], 0, axis)
    return transform


def _along(axis: int, n_axes: int, line: np.ndarray) -> np.ndarray:
    """A line as an array of `n_axes` dimensions, that changes along one of them."""
    return line.reshape([-1 if other == axis else 1 for other in range(n_axes)])


def _by_axis(matrices: list[np.ndarray], array: np.ndarray) -> np.ndarray:
    """An array multiplied by a matrix along each of its axes."""
    array = np.tensordot(matrices[0], array, 1)
    for axis, matrix in enumerate(matrices[1:], 1):
        array = np.moveaxis(np.moveaxis(array, axis, -1) @ matrix.T, -1, axis)
    return array


def _of_itself(near: np.ndarray) -> np.ndarray:
    """The polynomial of what a point feels of itself; `near` (4, ...) is what a node does to one 0 … 3 nodes apart.

    Two cubic splines an axis make it of degree six in each offset, and even about ½: a cubic in the squares, which four
    values an axis determine.
    """
    sq_offset = np.linspace(0, 0.25, 4)
    weight, _ = splines.of_offset(torch.from_numpy(0.5 + np.sqrt(sq_offset)))
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4))).reshape(16)  # of a node and another
    pairs = (weight[:, :, None] * weight[:, None, :]).reshape(4, 16).numpy()
    solve = np.linalg.inv(np.vander(sq_offset, increasing=True))
    felt = _by_axis([pairs] * near.ndim, near[np.ix_(*[apart] * near.ndim)])
    return _by_axis([solve] * near.ndim, felt)


def _first_cosines(m: int) -> np.ndarray:
    """The first four rows of the inverse cosine transform of (m + 1) entries."""
    weights = np.cos(np.pi / m * np.outer(np.arange(4), np.arange(m + 1))) / m
    weights[:, [0, m]] /= 2
    return weights


def _spline_transforms(m: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """U² = sinc⁸ up to twice the grid's frequencies, (2m + 1,), and the square of its sum over aliases, (m + 1,)."""
    wave = np.arange(2 * m + 1) / (2 * m)  # cycles per node
    phase = 2 * np.pi * wave[: m + 1]
    aliases = (2416 + 2382 * np.cos(phase) + 240 * np.cos(2 * phase) + 2 * np.cos(3 * phase)) / 5040
    return (np.sinc(wave) ** 8).astype(dtype), (aliases**2).astype(dtype)
