"""Terms that any objective can carry: a pull towards a reference, and the correlation of local radii."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..cells import Cells
from ..compute import backend
from ..config import EmbeddingConfig
from ..fused import density as fused_density
from ..fused.packing import ranges, unsigned
from ..graph import AffinityMatrix, KnnGraph
from ..neighbors import unit_rows
from ..terms import Density, Reference
from ..terms.reference import mean_of
from .method import Problem

LATE = 0.3  # share of the steps in which radii count, as in den-SNE and densMAP
SMALLEST_SPREAD = 1e-6  # of log radii: below they are all the same


def with_additions(problem: Problem, config: EmbeddingConfig, cells: Cells, like: Tensor) -> Problem:
    """The problem with the terms "reference" and "density", where asked for; `like` are positions.

    Strengths are per unit of P, whatever it sums to: that of t-SNE sums to 1, that of UMAP does not.
    """
    strengths = {"reference": config.pull_strength, "density": config.density_strength}
    strengths = {name: strength for name, strength in strengths.items() if strength is not None}
    matrix = cells.matrix if problem.edges is None else problem.edges
    terms = {}
    if "reference" in strengths:
        terms["reference"] = _reference(config, cells, like)
    if "density" in strengths:
        terms["density"] = _density(config, cells, matrix.to(like.device), like)
    return replace(
        problem,
        objective=problem.objective | terms,
        strength=problem.strength | {name: strength * matrix.total for name, strength in strengths.items()},
        added=tuple(terms),
        late=problem.late | ({"density": LATE} if "density" in terms else {}),
    )


def _reference(config: EmbeddingConfig, cells: Cells, like: Tensor) -> Reference:
    layout = cells.select(config.reference).double()
    counts = None if cells.counts is None else cells.counts.cpu()
    layout = layout - mean_of(layout, counts)
    if not layout.abs().max() > 0:
        raise ValueError("`reference` has all cells in one place, so there is no arrangement to pull towards.")
    counts = None if counts is None else counts.to(like)
    return Reference((layout / layout.abs().max()).to(like).contiguous(), counts=counts)


def _density(config: EmbeddingConfig, cells: Cells, matrix: AffinityMatrix, like: Tensor) -> Density:
    radius = input_log_radii(config, cells, matrix)
    if not float(radius.std()) > SMALLEST_SPREAD:
        raise ValueError("All cells have the same local radius in the data, so `density` has nothing to keep; drop it.")
    return Density(matrix, config.output_affinity().kernel, radius.to(like.device))


def input_log_radii(config: EmbeddingConfig, cells: Cells, matrix: AffinityMatrix) -> Tensor:
    """Log local radii of the data along the edges of P, (n,) float64; by the distances of a graph where that is given.

    Raises
    ------
    ValueError
        Where neither a graph with distances nor features are at hand.
    """
    radius, n = torch.empty(matrix.n_rows, dtype=torch.float64), matrix.n_rows
    edges, source = unsigned(matrix.to(torch.device("cpu"))), cells.given.source
    if isinstance(source, KnnGraph):
        members = cells.participants.members
        members = np.arange(n) if members is None else backend.as_array(members)
        graph = backend.as_array(source.indices.cpu()), backend.as_array(source.distances.cpu().float())
        backend.parallel(fused_density.radii_of_graph, ranges(n), *edges, members, *graph, radius.numpy())
        if not torch.isfinite(radius).all():
            raise ValueError("`density` needs the distances of all edges of P, and this graph lacks some. Drop it.")
        return radius
    if cells.features is None:
        raise ValueError(
            "`density` needs distances of cells in the data, and this source has weights alone; name a representation "
            "or a graph with distances, or drop it."
        )
    is_cosine = config.metric == "cosine"
    features = unit_rows(cells.features) if is_cosine else cells.features
    backend.parallel(
        fused_density.radii_of_features,
        ranges(n),
        *edges,
        backend.as_array(features.cpu().float()),
        is_cosine,
        radius.numpy(),
    )
    return radius
