"""UMAP by sampling (McInnes et al. 2018), as steps of the loop.

In each epoch every edge is sampled w / max w times on average, at fixed intervals. The cell is then moved towards the
other end, twice, since the mirrored edge is sampled at the same time, and then away from n_negatives cells drawn for
it, from all of them at once, where the original moves it after each: so their forces need not wait for each other.
Each cell owns its update: it reads the positions all others had before the epoch, and every draw is a function of seed,
epoch, cell and edge. So the result has the same bits for any number of threads.

The forces are those of `terms.umap`: on average an epoch does what `ExpectedRepulsion` states, with n_negatives ·
degreeᵢ / (n − excludedᵢ) for each pair; excluded is a cell itself, or the cell and its neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..compute import counter_rng
from ..compute.twins import twin
from ..graph import AffinityMatrix
from ..kernel import Rational, RationalRepulsion
from ..world import SERIAL
from .protocol import Optimizer


@dataclass(frozen=True)
class SampledEpochs(Optimizer):
    """An optimizer whose step is an epoch: it takes the weights of "attraction" and "repulsion", not their forces.

    Attributes
    ----------
    matrix
        Symmetric P, its largest weight 1.
    kernel, repulsion
        The rational kernel and the potential of the repulsion.
    n_negatives
        Cells drawn for each edge that is sampled.
    exclude_neighbors
        Never draw a neighbor; a cell itself is never drawn.
    seed
        Of the draws.
    """

    matrix: AffinityMatrix
    kernel: Rational
    repulsion: RationalRepulsion
    n_negatives: int
    exclude_neighbors: bool
    seed: int

    takes_forces = False
    parts = ("epochs",)

    def start(self, positions, setting, state, world=SERIAL):
        return (0,) if state is None else state  # epochs done

    def step(self, positions, forces, state, options):
        attract, repel, (done,) = options.weights["attraction"], options.weights["repulsion"], state
        key = counter_rng.key_of(self.seed, done)
        move = twin("sampled epoch", positions)
        return move(self, positions, done + 1, key, attract, repel, options.lr), (done + 1,)

    @cached_property
    def excluded(self) -> tuple[Tensor, Tensor]:
        """Cells that are never drawn: CSR (indptr, indices), each row sorted."""
        n, device = self.matrix.n_rows, self.matrix.indptr.device
        itself = torch.arange(n, device=device)
        if not self.exclude_neighbors:
            return torch.arange(n + 1, device=device), itself
        rows = torch.cat([self.matrix.rows(), itself])
        columns = torch.cat([self.matrix.indices.long(), itself])
        order = (rows * n + columns).argsort()
        counts = torch.bincount(rows, minlength=n)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), columns[order]

    def drawn(self, key: int, rows: Tensor, draw: int) -> tuple[Tensor, Tensor]:
        """Those of the rows that have somebody to draw, and whom they draw, (m,) int64 both."""
        indptr, excluded = self.excluded
        below = self.matrix.n_rows - (indptr[1:] - indptr[:-1])
        rows = rows[below[rows] > 0]
        found = counter_rng.integers(key, rows, torch.full_like(rows, draw), below[rows])
        first, last = indptr[rows], indptr[rows + 1]
        for place in range(int((last - first).max()) if len(rows) else 0):
            there = first + place < last
            passed = found >= excluded[(first + place).clamp_max(len(excluded) - 1)]
            found = found + (there & passed)
        return rows, found


def plain_epoch(
    epochs: SampledEpochs, positions: Tensor, epoch: int, key: int, attract: float, repel: float, rate: float
) -> Tensor:
    """All cells at once: the first edge of each, then the second, ...; the same order for every cell."""
    degrees, current = epochs.matrix.degrees(), positions.clone()
    for slot in range(int(degrees.max())):
        rows = (degrees > slot).nonzero()[:, 0]
        edges = epochs.matrix.indptr[rows] + slot
        share = epochs.matrix.weights[edges].double()
        sampled = (epoch * share).floor() > ((epoch - 1) * share).floor()
        rows, others = rows[sampled], epochs.matrix.indices[edges[sampled]].long()
        for _ in range(2):
            apart = current[rows] - positions[others]
            pull = -2 * epochs.kernel.log_slope(apart.square().sum(1, keepdim=True))
            current[rows] -= rate * attract * pull * apart
        push = torch.zeros_like(current)
        for k in range(epochs.n_negatives):
            chosen, drawn = epochs.drawn(key, rows, slot * epochs.n_negatives + k)
            apart = current[chosen] - positions[drawn]
            push[chosen] -= 2 * epochs.repulsion.slope(apart.square().sum(1, keepdim=True)) * apart
        current += rate * repel * push
    return current
