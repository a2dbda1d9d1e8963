"""Input affinities P: how near two cells are in the data.

| name | class | reads | sums to |
|---|---|---|---|
| entropic | `EntropicAffinity(perplexity)` | distances | 1 |
| uniform | `UniformAffinity(k)` | the pattern alone | 1 |
| umap | `UMAPAffinity(n)` | distances | as it comes |
| symmetric_entropic | `SymmetricEntropicAffinity(perplexity)` | all pairs' distances | 1 |
| normalized_gaussian | `NormalizedGaussianAffinity(sigma, normalization)` | all pairs' distances | 1, or as it comes |
| normalized_student | `NormalizedStudentAffinity(dof, normalization)` | all pairs' distances | 1, or as it comes |
| sinkhorn | `SinkhornAffinity(eps, base_kernel)` | all pairs' distances | 1 |
| doubly_stochastic_quadratic | `DoublyStochasticQuadraticAffinity(eps, base_kernel)` | all pairs' distances | 1 |
| self_tuning | `SelfTuningAffinity(k, normalization, n_nearest)` | distances | 1, or as it comes |
| magic | `MAGICAffinity(k, decay, n_nearest)` | distances | 1 |
| pacmap | `PACMAPAffinity(k)` | distances | 1 |
| phate | `PHATEAffinity(k, alpha, t)` | all pairs' distances | as it comes, negative |
| precomputed | `PrecomputedAffinity(matrix)` | weights | 1 |

An input affinity is a frozen dataclass with `n_neighbors(n_obs)`, the neighbors it wants, and `__call__(graph,
features, symmetric) -> AffinityMatrix`, or `-> DenseAffinity` for losses between dense matrices alone. To add one,
write such a class in a file of its own and add a line to `AFFINITIES` in `_named.py`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..graph import AffinityMatrix, DenseAffinity, KnnGraph
from ._all_pairs import NormalizedGaussianAffinity, NormalizedStudentAffinity
from ._bandwidth import MAGICAffinity, SelfTuningAffinity
from ._doubly_stochastic import DoublyStochasticQuadraticAffinity, SinkhornAffinity
from ._graph import EntropicAffinity, UMAPAffinity, UniformAffinity, uniform_rows
from ._named import AFFINITIES
from ._pacmap import PACMAPAffinity
from ._phate import PHATEAffinity
from ._precomputed import PrecomputedAffinity, as_affinity, checked_weights
from ._symmetric_entropic import SymmetricEntropicAffinity
from ._symmetrize import symmetrize

__all__ = [
    "AFFINITIES", "DoublyStochasticQuadraticAffinity", "EntropicAffinity", "InputAffinity", "MAGICAffinity",
    "NormalizedGaussianAffinity", "NormalizedStudentAffinity", "PACMAPAffinity", "PHATEAffinity",
    "PrecomputedAffinity", "SelfTuningAffinity", "SinkhornAffinity", "SymmetricEntropicAffinity", "UMAPAffinity",
    "UniformAffinity", "as_affinity", "checked_weights", "symmetrize", "uniform_rows",
]  # fmt: skip


class InputAffinity(Protocol):
    """How near two cells are in the data.

    `n_neighbors(n_obs)` is the number of other cells it wants to be searched, n_obs − 1 for all of them and 0 for none.
    With `symmetric=False` P is given as its paper defines it, before it is symmetrised; affinities that are symmetric
    by definition give the same both ways.
    """

    def n_neighbors(self, n_obs: int) -> int: ...

    def __call__(
        self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True
    ) -> AffinityMatrix | DenseAffinity: ...
