"""Output affinities Q: a kernel and how it is normalised.

| name | class | kernel |
|---|---|---|
| student | `StudentAffinity(dof, normalization)` | (1 + d² / dof) ** (−(dof + 1) / 2) |
| gaussian | `GaussianAffinity(sigma, normalization)` | exp(−d² / sigma) |
| rational | `RationalAffinity(min_dist, spread, a, b, normalization)` | 1 / (1 + a d²ᵇ) |
| negative_distance | `NegativeDistanceAffinity()` | none: Q is −d, for `AffinityMatcher` |

Distances enter squared; a cell is never its own neighbor, i = j is left out everywhere; equal positions have q = 1.
`normalization` is "all" (one sum over all pairs), "row" (a sum for each cell), "sinkhorn" (rows and columns alike, by a
factor for each cell) or None (= "none").
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .compute.checks import refuse_unknown
from .dense_sinkhorn import scaled
from .kernel import Gaussian, Kernel, Rational, StudentT, fit_rational

NORMALIZATIONS = ("all", "row", "sinkhorn", None)


@dataclass(frozen=True, slots=True)
class OutputAffinity:
    """Similarity of embedded cells: a kernel and how it is normalised."""

    is_dense: ClassVar[bool] = False
    kernel: Kernel = field(default_factory=StudentT)
    normalization: str | None = "all"

    def __post_init__(self) -> None:
        if self.normalization == "none":
            object.__setattr__(self, "normalization", None)
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"Unknown `normalization` {self.normalization!r}; available: {list(NORMALIZATIONS)}.")

    def log_matrix(self, positions: Tensor) -> Tensor:
        """Log Q of all pairs, (n, n) with −inf on the diagonal; differentiable.

        Q sums to 1 over all pairs, by "row" and "sinkhorn" to 1 / n in each row, so that it can be compared with an
        input affinity.
        """
        # column by column: a sum over a last axis of two is several times slower
        sq_dist = sum((column[:, None] - column[None, :]).square() for column in positions.unbind(1))
        itself = torch.eye(positions.shape[0], dtype=torch.bool, device=positions.device)
        log_q = self.kernel.log_value(sq_dist).masked_fill(itself, -torch.inf)
        if self.normalization == "all":
            return log_q - log_q.flatten().logsumexp(0)
        if self.normalization == "row":
            return log_q - log_q.logsumexp(1, keepdim=True) - math.log(positions.shape[0])
        if self.normalization == "sinkhorn":
            return scaled(log_q)
        return log_q


@dataclass(frozen=True, slots=True)
class StudentAffinity:
    """Student's t; over all pairs the output affinity of t-SNE (van der Maaten & Hinton 2008). See `StudentT`."""

    dof: float = 1.0
    normalization: str | None = "all"

    def resolve(self) -> OutputAffinity:
        return OutputAffinity(StudentT(self.dof), self.normalization)


@dataclass(frozen=True, slots=True)
class GaussianAffinity:
    """Gaussian; by row the output affinity of SNE (Hinton & Roweis 2002), over all pairs that of symmetric SNE."""

    sigma: float = 1.0
    normalization: str | None = "all"

    def resolve(self) -> OutputAffinity:
        return OutputAffinity(Gaussian(self.sigma), self.normalization)


@dataclass(frozen=True, slots=True)
class RationalAffinity:
    """UMAP's kernel (McInnes et al. 2018); `a` and `b` are fitted to `min_dist` and `spread` unless both are given."""

    min_dist: float = 0.5
    spread: float = 1.0
    a: float | None = None
    b: float | None = None
    normalization: str | None = None

    def resolve(self) -> OutputAffinity:
        return OutputAffinity(Rational(*self.shape), self.normalization)

    @property
    def shape(self) -> tuple[float, float]:
        """(a, b) of the kernel."""
        if (self.a is None) != (self.b is None):
            raise ValueError(f"`a` and `b` belong together; got a={self.a!r} and b={self.b!r}.")
        return (self.a, self.b) if self.a is not None else fit_rational(self.min_dist, self.spread)


@dataclass(frozen=True, slots=True)
class CallableAffinity:
    """A function `log_q(Z, **kwargs)`: (n, d) positions to the (n, n) logarithms of q; its gradient is autograd's.

    What lies on its diagonal is not read, and q is normalised over all pairs; a q that is normalised already stays as
    it is.
    """

    is_dense: ClassVar[bool] = True
    function: Callable[..., Tensor]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def resolve(self) -> CallableAffinity:
        return self

    def log_kernel(self, positions: Tensor) -> Tensor:
        """Log q of all pairs, (n, n) with −inf on the diagonal."""
        log_q = self.function(positions, **dict(self.kwargs))
        n = positions.shape[0]
        if not isinstance(log_q, Tensor) or log_q.shape != (n, n):
            found = tuple(log_q.shape) if isinstance(log_q, Tensor) else type(log_q).__name__
            raise ValueError(f"`affinity_out` must return a tensor of {n} by {n} logarithms; got {found}.")
        return log_q.masked_fill(torch.eye(n, dtype=torch.bool, device=positions.device), -torch.inf)

    def log_matrix(self, positions: Tensor) -> Tensor:
        log_q = self.log_kernel(positions)
        return log_q - log_q.flatten().logsumexp(0)


@dataclass(frozen=True, slots=True)
class NegativeDistanceAffinity:
    """Q_ij = −‖zᵢ − zⱼ‖, neither a kernel nor normalised: for `AffinityMatcher` and an input affinity of that kind,
    `PHATEAffinity`. Its losses are "square_loss", metric scaling, or a function of P and Q itself. i = j has 0; below a
    distance of 1e-6 there is no gradient.
    """

    is_dense: ClassVar[bool] = True

    def resolve(self) -> NegativeDistanceAffinity:
        return self

    def matrix(self, positions: Tensor) -> Tensor:
        """Q of all pairs, (n, n); differentiable."""
        sq_dist = sum((column[:, None] - column[None, :]).square() for column in positions.unbind(1))
        itself = torch.eye(positions.shape[0], dtype=torch.bool, device=positions.device)
        return -sq_dist.clamp_min(1e-12).sqrt().masked_fill(itself, 0)


OUTPUT_AFFINITIES = {
    "gaussian": GaussianAffinity,
    "negative_distance": NegativeDistanceAffinity,
    "rational": RationalAffinity,
    "student": StudentAffinity,
}


def named_output_affinity(affinity_out: Any, kwargs: dict[str, Any] | None) -> Any:
    """An output affinity from a name, a class, an instance or a function, with its arguments put in.

    Raises
    ------
    ValueError, TypeError
        For an unknown name, something else, and arguments it does not have.
    """
    kwargs = dict(kwargs or {})
    if isinstance(affinity_out, str):
        name = affinity_out.lower()
        if name not in OUTPUT_AFFINITIES:
            raise ValueError(f"Unknown `affinity_out` {affinity_out!r}; available: {sorted(OUTPUT_AFFINITIES)}.")
        affinity_out = OUTPUT_AFFINITIES[name]
    if not is_dataclass(affinity_out) and callable(affinity_out) and not isinstance(affinity_out, type):
        parameters = inspect.signature(affinity_out).parameters
        if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            refuse_unknown("`kwargs_affinity_out`", kwargs, list(parameters)[1:])
        return CallableAffinity(affinity_out, tuple(kwargs.items()))
    if affinity_out not in (OutputAffinity, *OUTPUT_AFFINITIES.values()) and not is_dataclass(affinity_out):
        raise TypeError(
            f"`affinity_out` must be one of {sorted(OUTPUT_AFFINITIES)}, an output affinity or its class, or a "
            f"function log_q(Z, **kwargs); got {affinity_out!r}."
        )
    refuse_unknown("`kwargs_affinity_out`", kwargs, [item.name for item in fields(affinity_out)])
    return affinity_out(**kwargs) if isinstance(affinity_out, type) else replace(affinity_out, **kwargs)


def resolve_output_affinity(
    affinity_out: Any, kwargs: dict[str, Any] | None
) -> OutputAffinity | CallableAffinity | NegativeDistanceAffinity:
    """Kernel and normalization of what `named_output_affinity` finds."""
    named = named_output_affinity(affinity_out, kwargs)
    return named if isinstance(named, OutputAffinity) else named.resolve()


def describe(affinity_out: Any, kwargs: dict[str, Any] | None) -> tuple[Any, dict[str, Any] | None]:
    """A name and all arguments that make this output affinity again; a function stays what it is."""
    named = named_output_affinity(affinity_out, kwargs)
    if isinstance(named, CallableAffinity):
        return named.function, dict(named.kwargs) or None
    if isinstance(named, NegativeDistanceAffinity):
        return "negative_distance", None
    kernels = {StudentT: "student", Gaussian: "gaussian", Rational: "rational"}
    resolved = named if isinstance(named, OutputAffinity) else named.resolve()
    if type(resolved.kernel) not in kernels:
        return resolved, None
    values = {} if named is resolved else {item.name: getattr(named, item.name) for item in fields(named)}
    values |= {
        item.name: getattr(resolved.kernel, item.name) for item in fields(resolved.kernel) if item.name != "clip"
    }
    return kernels[type(resolved.kernel)], values | {"normalization": resolved.normalization or "none"}
