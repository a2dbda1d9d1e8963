"""How much memory a run will take, asked before it starts: better refused at once than killed after minutes.

Bytes per cell for n cells, d features and k neighbors of each:

| stage | what is held | bytes |
|---|---|---|
| search | centred and sorted copies and the index, of 4 d each; candidates; lists to look into | 12 d + 4 k + 200 |
| affinity | what the search leaves; graph (8 k), weights (4 k), their transpose (8 k), P (16 k) | 16 d + 36 k + 150 |
| optimize | features, P, positions, velocity, forces, and grids that grow with the area | 8 d + 16 k + 200 |

A grid in 3-D grows to 2²³ nodes: buffers of that size, its spectrum, and an influence function being made.

`tests/engine/test_memory.py` holds the estimate against the peak of a run.
"""

from __future__ import annotations

from .backend import available_memory

BASE = 2e8  # code compiled or loaded on the way, buffers of fixed size
GRID_3D = 4e8  # measured


def estimated(n_obs: int, n_features: int, n_neighbors: int, n_components: int = 2) -> float:
    """Bytes a run takes at its peak, beyond what its input takes."""
    search = 12 * n_features + 4 * n_neighbors + 200
    affinity = 16 * n_features + 36 * n_neighbors + 150
    optimize = n_obs * (8 * n_features + 16 * n_neighbors + 200) + (GRID_3D if n_components == 3 else 0)
    return BASE + max(n_obs * max(search, affinity), optimize)


def check(n_obs: int, n_features: int, n_neighbors: int, n_components: int = 2) -> None:
    """Refuse what will not fit.

    Raises
    ------
    MemoryError
        Where the estimate is beyond what the process may still have.
    """
    needed, available = estimated(n_obs, n_features, n_neighbors, n_components), available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"Embedding {n_obs} cells with {n_neighbors} neighbors each takes about {needed / 1e9:.1f} GB, and "
            f"{available / 1e9:.1f} GB are free. Lower `n_neighbors` or `perplexity` (three times as many neighbors), "
            "embed fewer cells, or free memory."
        )
