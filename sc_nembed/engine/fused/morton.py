"""CSR rows in another order; see `engine.cells.morton`."""

from __future__ import annotations

from . import kernel


@kernel
def reorder(chunk, begin, end, indptr, indices, weights, order, rank, out_indptr, out_indices, out_weights):
    for i in range(begin, end):
        place = out_indptr[i]
        for edge in range(indptr[order[i]], indptr[order[i] + 1]):
            out_indices[place], out_weights[place] = rank[indices[edge]], weights[edge]
            place += 1
