"""Input affinities read off a neighbor graph: entropic, uniform, fuzzy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..compute import backend
from ..compute.notes import note
from ..fused import affinity as fused_affinity
from ..graph import AffinityMatrix, KnnGraph
from ._symmetrize import directed, edges_of, symmetrize

ROWS = 1024


@dataclass(frozen=True, slots=True)
class EntropicAffinity:
    """Gaussian affinities whose every row has the entropy log `perplexity`; symmetrised, they are t-SNE's P.

    Several perplexities give the mean of their affinities, a multi-scale one (Lee et al. 2015; Kobak & Berens
    2019). Sums to 1; the diagonal is empty; distances enter squared, exp(−β d²) (van der Maaten & Hinton 2008). Equal
    cells are neighbors at distance 0; a cell with at least `perplexity` of them has equal affinity to each and none to
    others.
    """

    perplexity: float | Sequence[float] = 30.0

    def __post_init__(self) -> None:
        values = self.perplexities
        if not values or not all(np.isfinite(value) and value >= 1 for value in values):
            raise ValueError(
                f"`perplexity` must be a number of at least 1, or a list of such numbers; got {self.perplexity!r}. "
                "It is a smooth number of neighbors; 30 is usual."
            )

    @property
    def perplexities(self) -> tuple[float, ...]:
        given = self.perplexity
        return tuple(float(value) for value in (given if isinstance(given, Sequence | np.ndarray) else [given]))

    def n_neighbors(self, n_obs: int) -> int:
        return min(n_obs - 1, int(3 * max(self.perplexities)))

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        largest = max(self.perplexities)
        if graph.n_neighbors <= largest:
            raise ValueError(
                f"A perplexity of {largest:g} needs more than {largest:g} neighbors per cell, better three times that; "
                f"the graph holds {graph.n_neighbors}. Lower the perplexity, or make the graph with more neighbors."
            )
        if graph.n_neighbors < int(3 * largest):
            note(
                f"A perplexity of {largest:g} is best fitted to {3 * largest:g} neighbors per cell; the graph holds "
                f"{graph.n_neighbors}."
            )
        distances = backend.as_array(graph.distances.cpu().float())
        weights = np.zeros(distances.shape, np.float32)
        share = np.float32(1 / len(self.perplexities))
        for perplexity in self.perplexities:
            bounds = backend.chunk_bounds(graph.n_obs, ROWS)
            backend.parallel(fused_affinity.entropic, bounds, distances, perplexity, share, weights)
        return (symmetrize if symmetric else directed)(*edges_of(graph, weights))


@dataclass(frozen=True, slots=True)
class UniformAffinity:
    """Equal affinity to each neighbor, 1/k per row, symmetrised as (A + Aᵀ) / 2: a mutual edge counts twice.

    `k` is the number of other cells to search for; a finished graph is taken with as many as it holds. Sums to 1; the
    diagonal is empty; distances are not read (Böhm et al. 2022). Equal cells are neighbors like any others.
    """

    k: int = 14

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"`k` must be at least 1; got {self.k!r}.")

    def n_neighbors(self, n_obs: int) -> int:
        return min(n_obs - 1, self.k)

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        indptr, indices, _ = edges_of(graph, np.zeros(tuple(graph.indices.shape), np.float32))
        return uniform_rows(indptr, indices, symmetric=symmetric)


def uniform_rows(indptr: np.ndarray, indices: np.ndarray, *, symmetric: bool = True) -> AffinityMatrix:
    """Uniform affinities over the neighbors listed by CSR arrays without a diagonal."""
    counts = np.diff(indptr)
    weights = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
    return (symmetrize if symmetric else directed)(indptr, indices.astype(np.int32, copy=False), weights)


@dataclass(frozen=True, slots=True)
class UMAPAffinity:
    """UMAP's fuzzy simplicial set: exp(−(d − ρᵢ) / σᵢ) with Σ = log₂ n_neighbors, joined by the probabilistic union.

    `n` counts the cell itself, as in UMAP and scanpy. Not normalised: entries are memberships between 0 and 1. The
    diagonal is empty; distances enter as they are, not squared (McInnes et al. 2018). Equal cells have membership 1,
    and ρᵢ is the distance to the nearest cell that differs. The union is part of the definition: `symmetric` changes
    nothing.
    """

    n: int = 15

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"`n` must be at least 2, the cell itself counted; got {self.n!r}.")

    def n_neighbors(self, n_obs: int) -> int:
        return min(n_obs - 1, self.n - 1)

    def __call__(self, graph: KnnGraph, features: Tensor | None = None, *, symmetric: bool = True) -> AffinityMatrix:
        distances = backend.as_array(graph.distances.cpu().float())
        finite = np.isfinite(distances)
        n_counted = finite.sum() + graph.n_obs  # the cells themselves too
        mean = distances[finite].sum(dtype=np.float64) / n_counted
        weights = np.zeros(distances.shape, np.float32)
        backend.parallel(fused_affinity.fuzzy, backend.chunk_bounds(graph.n_obs, ROWS), distances, mean, weights)
        return symmetrize(*edges_of(graph, weights), fuzzy_union=True, normalize=False)
