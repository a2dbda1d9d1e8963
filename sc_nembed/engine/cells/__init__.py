"""The cells of a run: what was given, checked; equal ones merged; those without neighbors left out; the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import radial_sum
from ..affinity import InputAffinity, PrecomputedAffinity
from ..config import EmbeddingConfig
from ..graph import AffinityMatrix, DenseAffinity, KnnGraph
from ..initialization import pca
from ..losses import only_matched
from ..optimize.encoder import as_input, check_encoder
from .duplicates import distinct_rows
from .features import checked_features
from .isolated import Participants, participants
from .morton import MANY_CELLS, by_degree, morton_order, reordered
from .rows import Rows

MIN_CELLS = 5
Source = Tensor | KnnGraph | AffinityMatrix


@dataclass(frozen=True, slots=True)
class Given:
    """What a run starts from, checked: distinct rows where duplicates are processed, sorted where they are many."""

    source: Source
    features: Tensor | None  # centred
    raw: Tensor | None  # as they were given, for an encoder
    rows: Rows
    n_cells: int


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that take part: P, their features, how many cells each stands for; and the way back to all cells."""

    matrix: AffinityMatrix | DenseAffinity
    features: Tensor | None
    raw: Tensor | None
    counts: Tensor | None
    given: Given
    participants: Participants

    def of(self, rows: Tensor) -> Tensor:
        return self.participants.of(self.given.rows.of(rows))

    def spread(self, values: Tensor) -> Tensor:
        """(m,) values of those that take part as values of all cells, NaN of the others."""
        everywhere = values.new_full((n_obs_of(self.given.source),), torch.nan)
        everywhere[slice(None) if self.participants.members is None else self.participants.members] = values
        return self.given.rows.complete(everywhere)

    def complete(self, positions: Tensor) -> Tensor:
        return self.given.rows.complete(self.participants.complete(positions, n_obs_of(self.given.source)))


def n_obs_of(source: Source) -> int:
    if isinstance(source, Tensor):
        return source.shape[0]
    return source.n_obs if isinstance(source, KnnGraph) else source.n_rows


def checked(source: Source, features: Tensor | None, config: EmbeddingConfig) -> Given:
    n_cells, raw = n_obs_of(source), source if isinstance(source, Tensor) else features
    if n_cells < MIN_CELLS:
        raise ValueError(f"An embedding needs at least {MIN_CELLS} cells; got {n_cells}.")
    if isinstance(source, Tensor):
        source = features = checked_features(source, config.metric)
    elif features is not None:
        features = checked_features(features, None)
        if features.shape[0] != n_cells:
            raise ValueError(f"`features` has {features.shape[0]} rows, but the source has {n_cells} cells.")
    elif config.reads_features:
        raise ValueError(
            f"method={config.method!r} draws pairs by distances in a representation, and this source has none: pass "
            "`features` to the engine, name `use_rep`, or add the representation that the graph was built from."
        )
    if config.encoder is not None:
        check_encoder(config.encoder, raw, config.n_components)
        raw = as_input(config.encoder, raw)
    rows = distinct_rows(features) if processes_duplicates(config, source) else Rows()
    n_rows = n_cells if rows.first is None else len(rows.first)
    if n_rows < MIN_CELLS:
        raise ValueError(f"An embedding needs at least {MIN_CELLS} different cells; got {n_rows}.")
    if config.has_output and config.backend != "keops":
        radial_sum.choose(n_rows, config.n_components)  # refuses what would take hours
    if n_rows > MANY_CELLS and not isinstance(config.affinity_in, PrecomputedAffinity):
        plane = _plane(config, features, n_cells)
        if plane is not None:
            order = morton_order(rows.of(plane))
            if isinstance(source, AffinityMatrix):
                order = by_degree(order, source.degrees())
            rows = rows.sorted_by(order)
            source = source if isinstance(source, Tensor) else reordered(source, rows.first)
    features = rows.of(features)
    return Given(features if isinstance(source, Tensor) else source, features, rows.of(raw), rows, n_cells)


def _plane(config: EmbeddingConfig, features: Tensor | None, n_cells: int) -> Tensor | None:
    """Two coordinates of every cell that say who is near whom: of a given start, else of the features."""
    if not isinstance(config.init, str) and tuple(np.shape(config.init)) == (n_cells, 2):
        start = torch.as_tensor(config.init).detach().cpu().float()
        return start if torch.isfinite(start).all() else None  # what is wrong with it is said later
    return None if features is None else pca(features, 2, config.random_state)


def processes_duplicates(config: EmbeddingConfig, source: Source) -> bool:
    """Not for graphs and affinities, which say what equal cells are to each other, nor for dense losses."""
    given_p = isinstance(config.affinity_in, PrecomputedAffinity)
    return config.process_duplicates and isinstance(source, Tensor) and not given_p and not config.is_dense


def cells_of(
    config: EmbeddingConfig, given: Given, affinity: InputAffinity | None, graph: Tensor | KnnGraph | AffinityMatrix
) -> Cells:
    """P of the cells that take part."""
    matrix = graph
    if affinity is not None:
        matrix = affinity(graph, given.features, **({} if config.symmetric else {"symmetric": False}))
    if matrix.n_rows != n_obs_of(given.source):
        raise ValueError(
            f"The precomputed affinity is of {matrix.n_rows} cells, but there are {n_obs_of(given.source)}."
        )
    if isinstance(matrix, DenseAffinity):
        if not config.dense:
            raise ValueError(only_matched(f"`affinity_in={config.affinity_in!r}`", config.method))
        return Cells(matrix, given.features, given.raw, None, given, Participants(matrix, None))
    kept = participants(given.rows.weigh(matrix), in_ball=config.in_ball)
    counts = kept.of(given.rows.counts)
    return Cells(kept.matrix, kept.of(given.features), kept.of(given.raw), counts, given, kept)
