"""How an all-pairs sum over the embedding is evaluated.

A plan sums a potential over all sources j, for every target i:

    massᵢ = Σⱼ wⱼ value(‖zᵢ − zⱼ‖²)        pushᵢ = Σⱼ wⱼ slope(‖zᵢ − zⱼ‖²) (zᵢ − zⱼ) = ½ ∂massᵢ / ∂zᵢ

where `value` is the potential as a function of the squared distance u and `slope` its derivative with respect to u.
Where the targets are rows of the sources, target i is source first + i and is left out of its own sum; `first=None`
says that the two sets are disjoint.

| name | what | cost |
|---|---|---|
| torch | exact, in blocks of rows; any number of dimensions, any device | n² |
| fft | one convolution on a regular grid, in 1-D to 3-D; its errors are in the table of `radial_sum.fft` | n + grid |
| keops | exact, compiled on first use; any number of dimensions, any device, on the CPU slower than torch | n² |

Every entry of `RADIAL_SUMS` has the signature `make(potential, *, n_components, tolerance, device, dtype, world) ->
plan`; a plan is made once per run. `plan(targets, sources, first, weights=None)` gives (mass, push) at once;
`plan.field(sources, weights=None)` gives a field that is asked with `(targets, first)` as often as one likes. To add
one, write a file with such a function and add a line to `RADIAL_SUMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from . import exact, fft, keops


class Potential(Protocol):
    """What a radial sum adds up, as a function of the squared distance."""

    def value(self, sq_dist: Any) -> Any: ...

    def slope(self, sq_dist: Any) -> Any: ...


class Field(Protocol):
    """The potential of fixed sources, asked at targets: (m, d) -> mass (m,), push (m, d)."""

    def __call__(self, targets: Tensor, first: int | None) -> tuple[Tensor, Tensor]: ...


class Plan(Protocol):
    """An evaluator of radial sums with its buffers and cached transforms."""

    def field(self, sources: Tensor, weights: Tensor | None = None) -> Field: ...

    def __call__(
        self, targets: Tensor, sources: Tensor, first: int | None, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...


RADIAL_SUMS = {"torch": exact.make, "fft": fft.make, "keops": keops.make}
# by number of dimensions: up to here n² pairs cost less than the grid of a t-SNE (measured on two cores); an embedding
# in 3-D is as wide as one in 2-D, so its grid is large
EXACT_CELLS = {1: 1_000, 2: 3_500, 3: 40_000}
EXACT_LIMIT = 50_000  # cells above which an exact sum is refused: minutes per hundred steps


def choose(n_obs: int, n_components: int, *, exact_cells: Mapping[int, int] = EXACT_CELLS) -> str:
    """The evaluation to use for n_obs cells: exact where that is cheaper or the only one, else the grid.

    `exact_cells` says up to how many cells exact sums are cheaper in each number of dimensions that the grid works in;
    embeddings that stay smaller than t-SNE's have smaller grids.
    """
    if n_components in exact_cells:
        return "fft" if n_obs > exact_cells[n_components] else "torch"
    if n_obs > EXACT_LIMIT:
        raise ValueError(
            f"An embedding of {n_obs} cells in {n_components} dimensions needs exact sums over all pairs, which is "
            f"sensible up to {EXACT_LIMIT} cells. Use n_components=1, 2 or 3, which have a grid, or fewer cells."
        )
    return "torch"
