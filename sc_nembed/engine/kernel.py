"""Output kernels: the unnormalised similarity q(u) of two embedded cells at squared distance u = ‖zᵢ − zⱼ‖².

A kernel states log q and d log q / d u; everything else (forces, sums, normalisation) follows from the two. A potential
states what a radial sum adds up, `value` and `slope`; each kernel is one. Arguments are torch tensors or KeOps
LazyTensors, which differ in the functions at the end.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

# The coarsest spacing of a grid. UMAP's repulsion has a cusp of its own size, whatever the number of points; of the
# distance at which its force is clipped, by dimensions: the force of a near cell, which the grid blurs, counts the less
# against those of all others the more there are. A Gaussian is blurred by what a t-SNE of many cells does not feel. A
# logarithmic potential has no size, its softening is chosen by the distances of the points; of many the spacing stays
# the same share of the layout, since each feels its near ones less.
CUSP_SPACING = {1: 0.03, 2: 0.35, 3: 0.5}
GAUSSIAN_SPACING = 0.35  # of the square root of sigma, at most
LOG_SPACING, LOG_CELLS = 120.0, 10_000  # softenings, up to that many cells
RESOLVED = 0.2  # of the spacing, the least softening of a potential that diverges: its force error is smallest there
SMALLEST = 1e-8  # squared distance below which slopes that diverge at 0 are constant


class Kernel(Protocol):
    """An output kernel; functions of squared distances."""

    def log_value(self, sq_dist: Any) -> Any: ...

    def log_slope(self, sq_dist: Any) -> Any: ...

    def value(self, sq_dist: Any) -> Any: ...

    def slope(self, sq_dist: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t: q(u) = (1 + u / dof) ** (−(dof + 1) / 2).

    dof = 1 is the kernel of t-SNE (van der Maaten & Hinton 2008); smaller values have heavier tails and show finer
    clusters (Kobak et al. 2019). q(0) = 1, and the log slope is finite at 0.
    """

    dof: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("dof", self.dof, "Student")

    def log_value(self, sq_dist: Any) -> Any:
        return (1 + sq_dist / self.dof).log() * (-0.5 * (self.dof + 1))

    def log_slope(self, sq_dist: Any) -> Any:
        return (-0.5 * (self.dof + 1)) / (self.dof + sq_dist)

    def value(self, sq_dist: Any) -> Any:
        if self.dof == 1:
            return 1 / (1 + sq_dist)
        return self.log_value(sq_dist).exp()

    def slope(self, sq_dist: Any) -> Any:
        return self.value(sq_dist) * self.log_slope(sq_dist)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian: q(u) = exp(−u / sigma), the kernel of SNE (Hinton & Roweis 2002). q(0) = 1."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("sigma", self.sigma, "Gaussian")

    def log_value(self, sq_dist: Any) -> Any:
        return sq_dist * (-1 / self.sigma)

    def log_slope(self, sq_dist: Any) -> Any:
        return sq_dist * 0 - 1 / self.sigma

    def value(self, sq_dist: Any) -> Any:
        return self.log_value(sq_dist).exp()

    def slope(self, sq_dist: Any) -> Any:
        return self.value(sq_dist) * (-1 / self.sigma)

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        return min(usual, GAUSSIAN_SPACING) * min(1.0, width_of(self))

    def resolved(self, spacing: float) -> Gaussian:
        return self


@dataclass(frozen=True, slots=True)
class Rational:
    """The kernel of UMAP: q(u) = 1 / (1 + a uᵇ) (McInnes et al. 2018). q(0) = 1.

    For b < 1 the slope diverges at 0; it is taken at no less than u = 1e-8. `clip` limits the force −2 √u d log q/du of
    one edge on a cell, to 4 in UMAP; it does not touch the value.
    """

    a: float = 1.0
    b: float = 1.0
    clip: float = math.inf

    def __post_init__(self) -> None:
        for name in ("a", "b", "clip"):
            _check_positive(name, getattr(self, name), "rational")

    def log_value(self, sq_dist: Any) -> Any:
        return -(1 + self.a * power(at_least(sq_dist, SMALLEST), self.b)).log()

    def log_slope(self, sq_dist: Any) -> Any:
        apart = at_least(sq_dist, SMALLEST)
        scaled = self.a * power(apart, self.b)
        slope = -self.b * scaled / (apart * (1 + scaled))
        return slope if self.clip == math.inf else larger(slope, (-0.5 * self.clip) / apart.sqrt())

    def value(self, sq_dist: Any) -> Any:
        return 1 / (1 + self.a * power(at_least(sq_dist, SMALLEST), self.b))

    def slope(self, sq_dist: Any) -> Any:
        return self.value(sq_dist) * self.log_slope(sq_dist)

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        """By the distance at which q is a half: its slope at 0 may diverge."""
        return usual * min(1.0, self.a ** (-0.5 / self.b))

    def resolved(self, spacing: float) -> Rational:
        return self


@dataclass(frozen=True, slots=True)
class RationalRepulsion:
    """The potential of UMAP's repulsion: −log(1 − q), q the rational kernel, with a force of at most `clip`.

    −log(1 − q) = log(1 + 1 / (a uᵇ)) diverges at 0. Below the distance where its force reaches `clip` the potential
    goes on with that force, linear in √u, down to √u = 0.01, and as a parabola from there, so that the force ends at 0.
    UMAP itself puts 0.001 into a denominator, which changes the force by about 1 % at most beyond that distance.
    """

    a: float = 1.0
    b: float = 1.0
    clip: float = 4.0

    @property
    def clip_distance(self) -> float:
        """Distance at which the force reaches `clip`."""
        return _clip_distance(self.a, self.b, self.clip)

    def value(self, sq_dist: Any) -> Any:
        edge, core = self.clip_distance, min(1e-2, self.clip_distance / 2)
        beyond = log_one_plus(1 / (self.a * power(at_least(sq_dist, edge**2), self.b)))
        inside = edge - at_least(at_most(sq_dist, edge**2), core**2).sqrt()
        return beyond + self.clip * inside + at_least(core**2 - sq_dist, 0.0) * (self.clip / (2 * core))

    def slope(self, sq_dist: Any) -> Any:
        core = min(1e-2, self.clip_distance / 2)
        apart = at_least(sq_dist, core**2)
        return larger(-self.b / (apart * (1 + self.a * power(apart, self.b))), (-0.5 * self.clip) / apart.sqrt())

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        return CUSP_SPACING[n_components] * self.clip_distance

    def resolved(self, spacing: float) -> RationalRepulsion:
        return self


@dataclass(frozen=True, slots=True)
class NoiseRepulsion:
    """What a pair costs that is told to be noise: −log(1 − q / (q + noise)) = log(1 + q / noise), q = 1 / (1 + u).

    `noise` is how often noise shows a pair, in the unit of q (Gutmann & Hyvärinen 2010). The pair that is told to be a
    neighbor costs −log(q / (q + noise)), which but for a constant is the rational kernel's −log with
    a = noise / (1 + noise) and b = 1.
    """

    noise: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("noise", self.noise, "noise")

    def value(self, sq_dist: Any) -> Any:
        return log_one_plus((1 / self.noise) / (1 + sq_dist))

    def slope(self, sq_dist: Any) -> Any:
        return (-1 / self.noise) / ((1 + sq_dist) * (1 + 1 / self.noise + sq_dist))


@dataclass(frozen=True, slots=True)
class LogRepulsion:
    """The potential of a repulsion by 1 / distance, that of ForceAtlas2 (Jacomy et al. 2014): −½ log(u + softening²).

    The softening, a distance, keeps it finite where two cells meet; at ten times the softening it takes 1 % off the
    force.
    """

    softening: float

    def __post_init__(self) -> None:
        _check_positive("softening", self.softening, "logarithmic")

    def value(self, sq_dist: Any) -> Any:
        return (sq_dist + self.softening**2).log() * -0.5

    def slope(self, sq_dist: Any) -> Any:
        return -0.5 / (sq_dist + self.softening**2)

    def grid_spacing(self, usual: float, n_obs: int, n_components: int) -> float:
        return LOG_SPACING * self.softening * max(1.0, (n_obs / LOG_CELLS) ** 0.5)

    def resolved(self, spacing: float) -> LogRepulsion:
        return replace(self, softening=max(self.softening, RESOLVED * spacing))


def width_of(potential: Any) -> float:
    """How wide a potential is, 1 for the Student kernel with dof = 1: √(value / |slope|) at distance 0."""
    origin = torch.zeros(1, dtype=torch.float64)
    return float((potential.value(origin) / potential.slope(origin).abs()).sqrt())


@lru_cache
def _clip_distance(a: float, b: float, clip: float) -> float:
    from scipy.optimize import brentq  # not at the top: t-SNE does without

    return brentq(lambda r: 2 * b / (r * (1 + a * r ** (2 * b))) - clip, 1e-9, 2 * b / clip)


@lru_cache
def fit_rational(min_dist: float, spread: float) -> tuple[float, float]:
    """(a, b) of the rational kernel closest to 1 up to `min_dist` and exp(−(r − min_dist) / spread) beyond.

    Least squares on 300 distances up to 3 · spread, as in McInnes et al. 2018.

    Raises
    ------
    ValueError
        Where `spread` is not positive, or `min_dist` negative or beyond `spread`.
    """
    if not spread > 0 or not 0 <= min_dist <= spread:
        raise ValueError(
            f"`spread` must be positive and `min_dist` between 0 and `spread`; got {spread!r} and {min_dist!r}."
        )
    try:
        a, b = _fit(min_dist, spread)
    except (RuntimeError, ValueError):  # far from the solver's start: fit at scale 1, and scale a
        a, b = _fit(min_dist / spread, 1.0)
        a *= spread ** (-2 * b)
    return a, b


def _fit(min_dist: float, spread: float) -> tuple[float, float]:
    from scipy.optimize import OptimizeWarning, curve_fit

    distance = np.linspace(0, 3 * spread, 300)
    target = np.where(distance < min_dist, 1.0, np.exp(-(distance - min_dist) / spread))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)
        (a, b), _ = curve_fit(lambda r, a, b: 1 / (1 + a * r ** (2 * b)), distance, target)
    if not (a > 0 and b > 0):
        raise ValueError("no fit")
    return float(a), float(b)


def _check_positive(name: str, value: float, kernel: str) -> None:
    if not value > 0:
        raise ValueError(f"`{name}` of the {kernel} kernel must be positive; got {value!r}.")


def at_least(x: Any, floor: float) -> Any:
    return x.clamp_min(floor) if isinstance(x, Tensor) else x.clamp(floor, math.inf)


def at_most(x: Any, ceiling: float) -> Any:
    return x.clamp_max(ceiling) if isinstance(x, Tensor) else x.clamp(-math.inf, ceiling)


def larger(x: Any, y: Any) -> Any:
    return torch.maximum(x, y) if isinstance(x, Tensor) else x.concat(y).max(-1)


def power(x: Any, exponent: float) -> Any:
    """x to the exponent, x positive; KeOps has a power in float32 alone."""
    return x**exponent if isinstance(x, Tensor) else (x.log() * exponent).exp()


def log_one_plus(x: Any) -> Any:
    """KeOps has no log1p: of x it keeps the digits that 1 + x keeps."""
    return x.log1p() if isinstance(x, Tensor) else (1 + x).log()
