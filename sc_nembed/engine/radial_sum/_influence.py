"""What the spectrum of a density is multiplied by: the potential's transform, made fit for cubic B-splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from .. import backend
from ..kernel import Rational


@dataclass(frozen=True)
class Influence:
    """Transform of the potential over that of the splines, for one spacing and padded shape."""

    transform: Tensor  # (padded rows, padded columns // 2 + 1)
    padded: tuple[int, int]
    near: Tensor  # (4, 4) what one point's nodes do to each other, 0 … 3 nodes apart
    shift: float  # the constant taken off the potential before the transform


def influence(potential, spacing: float, nodes: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Influence:
    """The influence function that minimises the force error for this spline (Hockney & Eastwood 1988, section 8-3).

    Σₘ U(k+m)² R(k+m) / (Σₘ U(k+m)²)² over the aliases m of a frequency k, with U the spline's transform, sinc⁴, and R
    the potential's, taken from samples at half the spacing. All functions are even, so cosine transforms of one
    quadrant do.
    """
    half = [scipy.fft.next_fast_len(count + 4, real=True) for count in nodes]  # half of the padded size
    sq_offset = [(np.arange(2 * m + 1) * (spacing / 2)) ** 2 for m in half]
    value = potential.value(torch.from_numpy(sq_offset[0][:, None] + sq_offset[1][None, :])).numpy()
    shift = float(value.min())
    transform = scipy.fft.dctn(value - shift, type=1, overwrite_x=True, workers=backend.current_n_jobs())
    (rows, row_aliases), (columns, column_aliases) = (_spline_transforms(m) for m in half)
    transform *= rows[:, None] / 4
    transform *= columns
    transform = transform[: half[0] + 1] + transform[half[0] :][::-1]  # frequencies the grid cannot tell apart
    transform = transform[:, : half[1] + 1] + transform[:, half[1] :][:, ::-1]
    transform /= row_aliases[:, None]
    transform /= column_aliases
    near = scipy.fft.idctn(transform, type=1)[:4, :4]
    # all rows and half the columns: the layout of a real transform
    mirrored = np.concatenate([transform, transform[-2:0:-1]])
    tensors = [torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype) for array in (mirrored, near)]
    return Influence(tensors[0], (2 * half[0], 2 * half[1]), tensors[1], shift)


def _spline_transforms(m: int) -> tuple[np.ndarray, np.ndarray]:
    """U² = sinc⁸ up to twice the grid's frequencies, (2m + 1,), and the square of its sum over aliases, (m + 1,)."""
    wave = np.arange(2 * m + 1) / (2 * m)  # cycles per node
    phase = 2 * np.pi * wave[: m + 1]
    aliases = (2416 + 2382 * np.cos(phase) + 240 * np.cos(2 * phase) + 2 * np.cos(3 * phase)) / 5040
    return np.sinc(wave) ** 8, aliases**2


def length_scale(potential) -> float:
    """How wide a potential is, 1 for the Student kernel with dof = 1: √(value / |slope|) at distance 0.

    The rational kernel, whose slope at 0 may diverge, goes by the distance at which it is a half.
    """
    if isinstance(potential, Rational):
        return potential.a ** (-0.5 / potential.b)
    origin = torch.zeros(1, dtype=torch.float64)
    return float((potential.value(origin) / potential.slope(origin).abs()).sqrt())
