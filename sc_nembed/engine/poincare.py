"""The Poincaré ball: its geometry, and starts inside it.

The ball ‖z‖ < 1 has the metric λ² ‖dz‖², λ = 2 / (1 − ‖z‖²), of curvature −1. With ⊕ Möbius addition (Ungar 2008):

| | |
|---|---|
| distance from the origin | 2 artanh ‖z‖ |
| gradient | λ⁻² times the Euclidean one |
| exponential map of v at z | z ⊕ tanh(λ ‖v‖ / 2) v / ‖v‖ |
| transport of v from z to y | gyr[y, −z] v · λ(z) / λ(y) |

Everything here is computed in float64, whatever the positions: near the edge 1 − ‖z‖² loses digits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .graph import AffinityMatrix
from .initialization import start_positions

LARGEST_NORM = 1 - 1e-5  # of positions; float32 still tells it from 1
LARGEST_DISTANCE = 2 * math.atanh(LARGEST_NORM)  # from the origin, 12.2
TINY = 1e-15


def mobius_add(x: Tensor, y: Tensor) -> Tensor:
    """x ⊕ y of points in rows."""
    product, x_square, y_square = ((left * right).sum(1, keepdim=True) for left, right in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * product + y_square) * x + (1 - x_square) * y) / (1 + 2 * product + x_square * y_square)


def gyrate(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """gyr[x, y] v = ⊖(x ⊕ y) ⊕ (x ⊕ (y ⊕ v)), in its linear form."""
    xx, yy, xy, xv, yv = (
        (left * right).sum(1, keepdim=True) for left, right in ((x, x), (y, y), (x, y), (x, v), (y, v))
    )
    along_x = yv * (1 + 2 * xy) - xv * yy
    along_y = -xv - yv * xx
    return v + 2 * (along_x * x + along_y * y) / (1 + 2 * xy + xx * yy)


def conformal(z: Tensor) -> Tensor:
    """λ, (n, 1)."""
    return 2 / (1 - z.square().sum(1, keepdim=True))


def exponential(z: Tensor, v: Tensor) -> Tensor:
    """Where the geodesic that starts at z with the velocity v is at time 1."""
    length = v.norm(dim=1, keepdim=True).clamp_min(TINY)
    return mobius_add(z, (conformal(z) * length / 2).tanh() * v / length)


def transport(z: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """v of the tangent space at z, carried along the geodesic to y."""
    return gyrate(y, -z, v) * conformal(z) / conformal(y)


def inside(z: Tensor) -> Tensor:
    """Points beyond the largest norm, pulled back to it."""
    length = z.norm(dim=1, keepdim=True)
    return torch.where(length > LARGEST_NORM, z * (LARGEST_NORM / length), z)


def from_origin(tangent: Tensor) -> Tensor:
    """Points of the ball at the distances and in the directions of tangent vectors, (n, d), from the origin."""
    tangent = tangent.double()
    length = tangent.norm(dim=1, keepdim=True).clamp_min(TINY)
    return inside(tangent * ((length / 2).tanh() / length))


def to_origin(z: Tensor) -> Tensor:
    """The tangent vectors whose `from_origin` are these points."""
    length = z.norm(dim=1, keepdim=True).clamp_min(TINY)
    return z * (2 * length.atanh() / length)


def check_inside(z: Tensor) -> None:
    """Refuse points that are not in the open ball."""
    length = z.double().norm(dim=1)
    outside = (length >= 1).nonzero()[:, 0]
    if len(outside):
        raise ValueError(
            f"`init` must lie inside the unit ball, ‖z‖ < 1; {len(outside)} cells do not, the first in "
            f"row {int(outside[0])}, of norm {float(length[outside[0]]):g}. Scale it down, or use init='hyperbolic'."
        )


def start_in_ball(
    init: str | Tensor,
    scaling: float | str | None,
    *,
    features: Tensor | None,
    matrix: AffinityMatrix,
    n_components: int,
    seed: int,
) -> tuple[Tensor, str]:
    """As `start_positions`, whose scale is then that of distances and directions from the origin of the ball."""
    if isinstance(init, Tensor):
        check_inside(init)
        if scaling is None or scaling == "keep":
            return inside(init.detach().cpu().double()).float().contiguous(), "array"
        name = to_origin(inside(init.detach().cpu().double()))
    else:
        name = "random" if init == "hyperbolic" else init
    tangent, used = start_positions(
        name, scaling, features=features, matrix=matrix, n_components=n_components, seed=seed
    )
    return from_origin(tangent).float(), "hyperbolic" if init == "hyperbolic" else used
