"""Input affinities P: how near two cells are in the data.

| name | class | reads | sums to |
|---|---|---|---|
| entropic | `EntropicAffinity(perplexity)` | distances | 1 |
| uniform | `UniformAffinity(k)` | the pattern alone | 1 |
| umap | `UMAPAffinity(n)` | distances | as it comes |
| precomputed | `PrecomputedAffinity(matrix)` | weights | 1 |

An input affinity is a frozen dataclass with `n_neighbors(n_obs)`, the neighbors it wants, and `__call__(graph,
features) -> AffinityMatrix`. To add one, write such a class in a file of its own and add a line to `AFFINITIES`.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..graph import AffinityMatrix, KnnGraph
from ._graph import EntropicAffinity, UMAPAffinity, UniformAffinity, uniform_rows
from ._precomputed import PrecomputedAffinity, checked_weights
from ._symmetrize import symmetrize

__all__ = [
    "AFFINITIES", "EntropicAffinity", "InputAffinity", "PrecomputedAffinity", "UMAPAffinity", "UniformAffinity",
    "checked_weights", "symmetrize", "uniform_rows",
]  # fmt: skip


class InputAffinity(Protocol):
    """How near two cells are in the data."""

    def n_neighbors(self, n_obs: int) -> int: ...

    def __call__(self, graph: KnnGraph, features: Tensor | None = None) -> AffinityMatrix: ...


AFFINITIES = {
    "entropic": EntropicAffinity,
    "precomputed": PrecomputedAffinity,
    "umap": UMAPAffinity,
    "uniform": UniformAffinity,
}
