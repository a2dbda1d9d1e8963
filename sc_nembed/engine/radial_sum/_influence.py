"""What the spectrum of a density is multiplied by: the potential's transform, made fit for cubic B-splines."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .. import backend
from ..kernel import LogRepulsion, Rational
from . import _splines as splines

SAMPLE_ROWS = 256
RESOLVED = 0.2  # of the spacing, the least softening of a potential that diverges: its force error is smallest there


@dataclass(frozen=True)
class Influence:
    """Transform of the potential over that of the splines, for one spacing and padded shape."""

    transform: Tensor  # (padded columns // 2 + 1, padded rows)
    padded: tuple[int, int]
    felt: Tensor  # (4, 4): what a point of weight 1 feels of itself, coefficients of (y − ½)²ⁱ (x − ½)²ʲ of its offset
    shift: float  # the constant taken off the potential before the transform


def influence(potential, spacing: float, nodes: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Influence:
    """The influence function that minimises the force error for this spline (Hockney & Eastwood 1988, section 8-3).

    Σₘ U(k+m)² R(k+m) / (Σₘ U(k+m)²)² over the aliases m of a frequency k, with U the spline's transform, sinc⁴, and R
    the potential's, taken from samples at half the spacing. All functions are even, so cosine transforms of one
    quadrant do.
    """
    half = [scipy.fft.next_fast_len(count, real=True) for count in nodes]  # half of the padded size
    samples, shift = _samples(_resolved(potential, spacing), spacing / 2, half, dtype)
    transform = scipy.fft.dctn(samples, type=1, overwrite_x=True)
    (rows, row_aliases), (columns, column_aliases) = (_spline_transforms(m, transform.dtype) for m in half)
    transform *= rows[:, None] / 4
    transform *= columns
    transform = transform[: half[0] + 1] + transform[half[0] :][::-1]  # frequencies the grid cannot tell apart
    transform = transform[:, : half[1] + 1] + transform[:, half[1] :][:, ::-1]
    transform /= row_aliases[:, None]
    transform /= column_aliases
    near = _first_cosines(half[0]) @ transform @ _first_cosines(half[1]).T
    # half the columns and all rows: the layout of a real transform along rows, its columns made contiguous
    mirrored = np.concatenate([transform.T, transform.T[:, -2:0:-1]], axis=1)
    tensors = [torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype) for array in (mirrored, _of_itself(near))]
    return Influence(tensors[0], (2 * half[0], 2 * half[1]), tensors[1], shift)


def _of_itself(near: np.ndarray) -> np.ndarray:
    """The polynomial of what a point feels of itself; `near` (4, 4) is what a node does to one 0 … 3 nodes apart.

    Two cubic splines a side make it of degree six in each offset, and even about ½: a cubic in the squares, which four
    values a side determine.
    """
    sq_offset = np.linspace(0, 0.25, 4)
    weight, _ = splines.of_offset(torch.from_numpy(0.5 + np.sqrt(sq_offset)))
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    between = near[apart][:, :, apart].reshape(16, 16)  # (row, row', column, column')
    pairs = (weight[:, :, None] * weight[:, None, :]).reshape(4, 16).numpy()
    solve = np.linalg.inv(np.vander(sq_offset, increasing=True))
    return solve @ (pairs @ between @ pairs.T) @ solve.T


def _first_cosines(m: int) -> np.ndarray:
    """The first four rows of the inverse cosine transform of (m + 1) entries."""
    weights = np.cos(np.pi / m * np.outer(np.arange(4), np.arange(m + 1))) / m
    weights[:, [0, m]] /= 2
    return weights


def _resolved(potential, spacing: float):
    """The potential as a grid can show it: samples of a peak that lies between them would miss or exaggerate it."""
    if isinstance(potential, LogRepulsion):
        return replace(potential, softening=max(potential.softening, RESOLVED * spacing))
    return potential


def _samples(potential, spacing: float, half: list[int], dtype: torch.dtype) -> tuple[np.ndarray, float]:
    """The potential on a quadrant of (2m + 1) nodes a side, without its smallest value, and that value."""
    rows, columns = ((torch.arange(2 * m + 1, dtype=torch.float64) * spacing) ** 2 for m in half)
    shift = float(potential.value(rows[-1] + columns[-1]))
    samples = torch.empty(len(rows), len(columns), dtype=dtype)

    def fill(chunk: int, begin: int, end: int) -> None:
        # in double precision up to the difference, which is small where the spacing is
        samples[begin:end] = potential.value(rows[begin:end, None] + columns) - shift

    backend.parallel(fill, backend.chunk_bounds(len(rows), SAMPLE_ROWS))
    return samples.numpy(), shift


def _spline_transforms(m: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """U² = sinc⁸ up to twice the grid's frequencies, (2m + 1,), and the square of its sum over aliases, (m + 1,)."""
    wave = np.arange(2 * m + 1) / (2 * m)  # cycles per node
    phase = 2 * np.pi * wave[: m + 1]
    aliases = (2416 + 2382 * np.cos(phase) + 240 * np.cos(2 * phase) + 2 * np.cos(3 * phase)) / 5040
    return (np.sinc(wave) ** 8).astype(dtype), (aliases**2).astype(dtype)


def length_scale(potential) -> float:
    """How wide a potential is, 1 for the Student kernel with dof = 1: √(value / |slope|) at distance 0.

    The rational kernel, whose slope at 0 may diverge, goes by the distance at which it is a half.
    """
    if isinstance(potential, Rational):
        return potential.a ** (-0.5 / potential.b)
    origin = torch.zeros(1, dtype=torch.float64)
    return float((potential.value(origin) / potential.slope(origin).abs()).sqrt())
