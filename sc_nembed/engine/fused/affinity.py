"""Input affinities row by row: nearest candidates, perplexity, fuzzy sets, symmetrising by counting sort."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from . import kernel
from .elementary import exp_of

ROWS = 1024


@njit(nogil=True, cache=True, inline="always")
def _nowhere(n):
    """−1 n times; numpy's own function takes a quarter of a second to compile."""
    places = np.empty(n, np.int64)
    for i in range(n):
        places[i] = -1
    return places


@kernel
def nearest_of(chunk, begin, end, features, candidates, indices, distances):
    """The nearest of each row's candidates, sorted by distance and then index; the cell itself and −1 are left out."""
    k, n_features = indices.shape[1], features.shape[1]
    for i in range(begin, end):
        found = 0
        for c in range(candidates.shape[1]):
            j = candidates[i, c]
            if j < 0 or j == i:
                continue
            sq_dist = np.float32(0)
            for f in range(n_features):
                difference = features[i, f] - features[j, f]
                sq_dist += difference * difference
            place = found
            while place > 0:
                before = distances[i, place - 1]
                if before < sq_dist or (before == sq_dist and indices[i, place - 1] <= j):
                    break
                if place < k:
                    distances[i, place], indices[i, place] = before, indices[i, place - 1]
                place -= 1
            if place < k:
                distances[i, place], indices[i, place] = sq_dist, j
                found += found < k
        for c in range(found):
            distances[i, c] = math.sqrt(distances[i, c])
        for c in range(found, k):
            distances[i, c], indices[i, c] = np.inf, -1


@kernel
def sorted_rows(chunk, begin, end, indptr, indices, distances, out_indices, out_distances, counts):
    """Rows of CSR distances sorted by distance, each neighbor once, the cell itself left out."""
    seen = _nowhere(counts.shape[0])
    for i in range(begin, end):
        first = indptr[i]
        order = np.argsort(distances[first : indptr[i + 1]], kind="mergesort")
        place = 0
        for c in range(order.shape[0]):
            j = indices[first + order[c]]
            if j != i and seen[j] != i:
                seen[j] = i
                out_indices[i, place], out_distances[i, place] = j, distances[first + order[c]]
                place += 1
        counts[i] = place


@kernel
def entropic(chunk, begin, end, distances, perplexity, share, weights):
    """Add `share` times the Gaussian row whose entropy is log perplexity, by safeguarded Newton steps in log β."""
    target = math.log(perplexity)
    sq_dist, values = np.empty(distances.shape[1], np.float32), np.empty(distances.shape[1], np.float32)
    for i in range(begin, end):
        n_valid = 0
        while n_valid < distances.shape[1] and distances[i, n_valid] < np.inf:
            n_valid += 1
        if n_valid == 0:
            continue
        nearest, mean, n_nearest = distances[i, 0], 0.0, 0
        for c in range(n_valid):
            nearest = distances[i, c] if distances[i, c] < nearest else nearest
        for c in range(n_valid):
            sq_dist[c] = (distances[i, c] - nearest) * (distances[i, c] + nearest)
        for c in range(n_valid):  # a loop that writes nothing: see `noalias`
            mean += sq_dist[c]
            n_nearest += sq_dist[c] == 0
        if n_nearest >= perplexity or n_valid <= perplexity:  # the entropy asked for is beyond a limit: take the limit
            among = n_nearest if n_nearest >= perplexity else n_valid
            for c in range(n_valid):
                if among == n_valid or sq_dist[c] == 0:
                    weights[i, c] += share / np.float32(among)
            continue
        log_beta, low, high = -math.log(mean / n_valid), -np.inf, np.inf
        total = np.float32(1)
        for _ in range(60):
            beta = np.float32(math.exp(log_beta))
            for c in range(n_valid):
                values[c] = exp_of(-beta * sq_dist[c])
            total = first = second = np.float32(0)
            for c in range(n_valid):
                scaled = beta * sq_dist[c]
                total += values[c]
                first += scaled * values[c]
                second += scaled * scaled * values[c]
            mean_scaled = np.float64(first) / total
            excess = math.log(np.float64(total)) + mean_scaled - target
            if -1e-6 < excess < 1e-6:
                break
            if excess > 0:
                low = log_beta
            else:
                high = log_beta
            slope = np.float64(second) / total - mean_scaled * mean_scaled  # −d entropy / d log β
            step = excess / (slope if slope > 1e-12 else 1e-12)
            moved = log_beta + (-2.0 if step < -2.0 else 2.0 if step > 2.0 else step)
            if not (low < moved < high):  # then both ends are known: a step leads away from the only one there is
                moved = 0.5 * (low + high)
            if moved == log_beta:
                break
            log_beta = moved
        scale = share / total
        for c in range(n_valid):
            weights[i, c] += scale * values[c]


@kernel
def fuzzy(chunk, begin, end, distances, mean_distance, weights):
    """UMAP's smooth nearest-neighbor distances: exp(−(d − ρ) / σ), Σ = log₂ of the neighbors with the cell itself."""
    for i in range(begin, end):
        n_valid, nearest, row_sum = 0, np.inf, 0.0
        while n_valid < distances.shape[1] and distances[i, n_valid] < np.inf:
            distance = np.float64(distances[i, n_valid])
            row_sum += distance
            if distance > 0:
                nearest = min(nearest, distance)
            n_valid += 1
        if n_valid == 0:
            continue
        rho = nearest if nearest < np.inf else 0.0
        target, low, high, sigma = math.log2(n_valid + 1.0), 0.0, np.inf, 1.0
        for _ in range(64):
            total = 0.0
            for c in range(n_valid):
                beyond = distances[i, c] - rho
                total += math.exp(-beyond / sigma) if beyond > 0 else 1.0
            if abs(total - target) < 1e-5:
                break
            if total > target:
                high = sigma
                sigma = 0.5 * (low + high)
            else:
                low = sigma
                sigma = 2 * sigma if high == np.inf else 0.5 * (low + high)
        floor = 1e-3 * (row_sum / (n_valid + 1) if rho > 0 else mean_distance)
        sigma = max(sigma, floor)
        for c in range(n_valid):
            beyond = distances[i, c] - rho
            weights[i, c] = math.exp(-beyond / sigma) if beyond > 0 and sigma > 0 else 1.0


@kernel
def count_columns(chunk, begin, end, indptr, indices, counts):
    for edge in range(indptr[begin], indptr[end]):
        counts[chunk, indices[edge]] += 1


@kernel
def fill_transpose(chunk, begin, end, indptr, indices, weights, cursor, rows, values, row_mass):
    """Rows and weights of every column; `cursor[chunk]` says where this range's entries of a column begin."""
    place = cursor[chunk]
    for i in range(begin, end):
        mass = 0.0
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            rows[place[j]], values[place[j]] = i, weights[edge]
            place[j] += 1
            mass += weights[edge]
        row_mass[i] = mass


@kernel
def count_union(chunk, begin, end, indptr, indices, t_indptr, rows, sizes):
    """Number of different neighbors of each row, in either direction."""
    seen = _nowhere(sizes.shape[0])
    for i in range(begin, end):
        size = indptr[i + 1] - indptr[i]
        for edge in range(indptr[i], indptr[i + 1]):
            seen[indices[edge]] = i
        for edge in range(t_indptr[i], t_indptr[i + 1]):
            size += seen[rows[edge]] != i
        sizes[i] = size


@kernel
def fill_union(
    chunk,
    begin,
    end,
    indptr,
    indices,
    weights,
    t_indptr,
    rows,
    values,
    fuzzy_union,
    scale,
    out_indptr,
    out_indices,
    out_weights,
):
    """Scale · (A + Aᵀ) / 2, or scale · (A + Aᵀ − A ∘ Aᵀ): the probabilistic union."""
    half = np.float32(1 if fuzzy_union else 0.5)
    where = _nowhere(out_indptr.shape[0] - 1)
    for i in range(begin, end):
        first = place = out_indptr[i]
        for edge in range(indptr[i], indptr[i + 1]):
            j = indices[edge]
            where[j] = place
            out_indices[place], out_weights[place] = j, half * weights[edge]
            place += 1
        for edge in range(t_indptr[i], t_indptr[i + 1]):
            j, value = rows[edge], values[edge]
            if where[j] >= first:
                both = out_weights[where[j]]
                out_weights[where[j]] = both + value - both * value if fuzzy_union else both + half * value
            else:
                out_indices[place], out_weights[place] = j, half * value
                place += 1
        for edge in range(first, place):
            out_weights[edge] *= scale


def nearest(points: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `neighbors.plain_nearest`."""
    n = points.shape[0]
    indices, distances = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    arrays = (backend.as_array(part) for part in (points, candidates))
    backend.parallel(nearest_of, backend.chunk_bounds(n, ROWS), *arrays, indices, distances)
    return torch.from_numpy(indices), torch.from_numpy(distances)
