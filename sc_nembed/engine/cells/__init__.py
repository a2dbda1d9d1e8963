"""The cells of a run: what was given, checked; equal ones merged; those without neighbors left out; the way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import radial_sum
from ..affinity import PrecomputedAffinity
from ..affinity.request import Request, Start, only_matched
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix, DenseAffinity, KnnGraph
from ..initialization import pca
from ..optimize.encoder import as_input, check_encoder
from .duplicates import distinct_rows
from .features import Features, checked_features
from .isolated import Participants, participants
from .morton import MANY_CELLS, by_degree, morton_order, reordered
from .rows import Rows

MIN_CELLS = 5
DENSE_CELLS = 10_000  # cells above which a loss over dense matrices is refused: several of 400 MB each


@dataclass(frozen=True, slots=True)
class Given:
    """What a run starts from, checked: distinct rows where duplicates are processed, sorted where they are many."""

    source: Start
    features: Tensor | None  # centred
    raw: Tensor | None  # as they were given, for an encoder
    rows: Rows
    n_cells: int
    merges: bool  # equal rows are embedded once


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that take part: P, their features, how many cells each stands for; and the way back to all cells."""

    matrix: AffinityMatrix | DenseAffinity
    features: Tensor | None
    raw: Tensor | None
    counts: Tensor | None
    given: Given
    participants: Participants

    @property
    def searched(self) -> bool:
        """Whether the source is a representation."""
        return self.given.source.n_held is None

    def select(self, rows: Tensor) -> Tensor:
        """Those of all cells that take part."""
        return self.participants.select(self.given.rows.select(rows))

    def spread(self, values: Tensor) -> Tensor:
        """(m,) values of those that take part as values of all cells, NaN of the others."""
        everywhere = values.new_full((self.given.source.n_obs,), torch.nan)
        everywhere[slice(None) if self.participants.members is None else self.participants.members] = values
        return self.given.rows.complete(everywhere)

    def complete(self, positions: Tensor) -> Tensor:
        """Positions of all cells."""
        return self.given.rows.complete(self.participants.complete(positions, self.given.source.n_obs))


def checked(source: Tensor | KnnGraph | AffinityMatrix, features: Tensor | None, config: EmbeddingConfig) -> Given:
    """What is given, in the form in which it is embedded; refuses what the run cannot be done with."""
    raw = features
    if isinstance(source, Tensor):
        raw, features = source, checked_features(source, config.metric)
        source = Features(features)
    elif features is not None:
        features = checked_features(features, None)
    n_cells = source.n_obs
    _check_given(config, n_cells, features)
    if config.encoder is not None:
        check_encoder(config.encoder, raw, config.n_components)
        raw = as_input(config.encoder, raw)
    merges = config.process_duplicates and source.n_held is None and not config.is_dense and not _is_p(config)
    rows = distinct_rows(features) if merges else Rows()
    n_rows = n_cells if rows.first is None else len(rows.first)
    _check_size(config, n_rows)
    if n_rows > MANY_CELLS and not _is_p(config):
        rows, source = _sorted(config, source, features, rows)
    features = rows.select(features)
    return Given(
        Features(features) if source.n_held is None else source, features, rows.select(raw), rows, n_cells, merges
    )


def _is_p(config: EmbeddingConfig) -> bool:
    """Whether the input affinity is a matrix, which says itself what equal cells are to each other."""
    return type(config.affinity_in) is PrecomputedAffinity


def _check_given(config: EmbeddingConfig, n_cells: int, features: Tensor | None) -> None:
    if n_cells < MIN_CELLS:
        raise ValueError(f"An embedding needs at least {MIN_CELLS} cells; got {n_cells}.")
    if features is not None and features.shape[0] != n_cells:
        raise ValueError(f"`features` has {features.shape[0]} rows, but the source has {n_cells} cells.")
    if features is None and "features" in config.needs:
        raise ValueError(
            f"method={config.method.name!r} {config.needs['features']}, and this source has none: pass `features` to "
            "the engine, name `use_rep`, or add the representation that the graph was built from."
        )


def _check_size(config: EmbeddingConfig, n_rows: int) -> None:
    """Refuse what would take hours or more memory than there is."""
    most, name = config.method.most_cells, config.method.name
    if n_rows < MIN_CELLS:
        raise ValueError(f"An embedding needs at least {MIN_CELLS} different cells; got {n_rows}.")
    if most is not None and n_rows > most:
        raise ValueError(
            f"method={name!r} sums over all pairs of cells at each step, which is sensible up to {most} cells; got "
            f"{n_rows}. Use fewer cells, or method='tsne'."
        )
    if config.is_dense and n_rows > DENSE_CELLS:
        raise ValueError(
            f"This loss needs matrices of {n_rows} by {n_rows} cells, {4 * n_rows**2 / 1e9:.1f} GB each; it is limited "
            f"to {DENSE_CELLS} cells. Use an output affinity of the package with NeighborEmbedding, or fewer cells."
        )
    if config.output_affinity() is not None and config.backend != "keops":
        radial_sum.choose(n_rows, config.n_components)


def _sorted(config: EmbeddingConfig, source: Start, features: Tensor | None, rows: Rows) -> tuple[Rows, Start]:
    """Rows and source in the order of a space-filling curve, where there is a plane to lay it through."""
    plane = _plane(config, features)
    if plane is None:
        return rows, source
    order = morton_order(rows.select(plane))
    if source.n_held == 0:
        order = by_degree(order, source.degrees())
    rows = rows.sorted_by(order)
    return rows, source if source.n_held is None else reordered(source, rows.first)


def _plane(config: EmbeddingConfig, features: Tensor | None) -> Tensor | None:
    """Two coordinates of every cell that say who is near whom: of a given start, else of the features."""
    if not isinstance(config.init, str) and config.n_components == 2:
        return config.init
    return None if features is None else pca(features, 2, config.random_state)


def cells_of(config: EmbeddingConfig, given: Given, request: Request, graph: Start) -> Cells:
    """P of the cells that take part."""
    matrix, method = graph, config.method
    if request.affinity is not None:
        symmetric = {} if method.matrix == "symmetric" else {"symmetric": False}
        matrix = request.affinity(graph, given.features, **symmetric)
    if matrix.n_rows != given.source.n_obs:
        raise ValueError(f"The precomputed affinity is of {matrix.n_rows} cells, but there are {given.source.n_obs}.")
    if isinstance(matrix, DenseAffinity):
        if method.matrix != "dense":
            raise ValueError(only_matched(f"`affinity_in={config.affinity_in!r}`", method.name))
        return Cells(matrix, given.features, given.raw, None, given, Participants(matrix, None))
    kept = participants(given.rows.weigh(matrix), method.space)
    counts = kept.select(given.rows.counts)
    return Cells(kept.matrix, kept.select(given.features), kept.select(given.raw), counts, given, kept)
