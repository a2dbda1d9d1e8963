"""What an objective adds up. A term maps a view of the positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ

| repulsion | of an output affinity normalised | class |
|---|---|---|
| (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ | over all pairs: t-SNE | `Partition` |
| Σᵢ rᵢ log Σⱼ qᵢⱼ, rᵢ the mass of row i of P | by row: SNE | `RowPartition` |
| Σᵢⱼ Qᵢⱼ − 2 Σᵢ rᵢ fᵢ − Σᵢ rᵢ, Q = exp(fᵢ + fⱼ) q with the row sums of P | by Sinkhorn | `SinkhornPartition` |
| Σᵢⱼ qᵢⱼ | not | `Mass` |
| (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ) | not: UMAP | `ExpectedRepulsion` |
| Σᵢ rᵢ Σₖ φ(uᵢₖ), k drawn, or the mean | not: negative sampling, LargeVis | `DrawnContrast`, `ExpectedContrast` |
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + Σₖ qᵢₖ), k drawn | not: InfoNCE | `InfoNCE` |
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + ν) + Σᵢ rᵢ Σₖ log(1 + qᵢₖ / ν), k drawn | not: NCE | `NCE` |
| Σᵢⱼ wᵢ wⱼ φ(uᵢⱼ) | not: ForceAtlas2, with `Gravity` beside it | `WeightedMass` |

PaCMAP and LocalMAP have none of these: their terms are sums of a potential over pairs of cells, `PairSum` and
`NearbyPairSum`.

CO-SNE has terms of its own, in the Poincaré ball: `terms.hyperbolic`.

Two more terms can be added to any of these: `Reference` pulls towards a given layout, `Density` keeps local radii.

A term sees a `View`: the rows it is asked about (`mine`) and all that act on them (`everyone`). Its `Force` is that on
the rows, by three rules:

* Gradient and curvature are what the rows feel of the whole objective, in which a pair of cells stands at both of its
  ends. A new cell, which is in nobody's row, feels each of its pairs as from both ends: what a cell of a fit with the
  same neighbors would.
* The value is the rows' share, so that those of shards add up; where it is a nonlinear function of a sum over all rows
  it is that of all, and the class says `of_all_rows`: `Partition`, `HyperbolicPartition`, `Density`, `Autograd`.
* Numbers per cell are of all rows, and a term takes the view's own; `counts`, which weigh those who act, are of
  everyone. Edges and lists of partners are of the view's rows: `shard` cuts them out.

What needs a number of all rows gets it from the view's world. So most terms take any view; `Autograd` and `Reference`
refuse new cells, and terms that need such a number a batch whose other rows no process holds.

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from .attraction import Attraction
from .autograd import Autograd
from .contrast import DrawnContrast, ExpectedContrast
from .denominators import NCE, Edges, InfoNCE
from .density import Density
from .gravity import Gravity
from .hyperbolic import HyperbolicAttraction, HyperbolicPartition, NormTerm
from .nearby import NearbyPairSum, nearby_pair_sum
from .pair_sum import PairSum
from .partition import Mass, Partition, WeightedMass
from .reference import Reference
from .row_partition import RowPartition
from .sinkhorn import SinkhornPartition
from .term import Force, Objective, Term
from .umap import ExpectedRepulsion

__all__ = [
    "NCE",
    "Attraction",
    "Autograd",
    "Density",
    "DrawnContrast",
    "Edges",
    "ExpectedContrast",
    "ExpectedRepulsion",
    "Force",
    "Gravity",
    "HyperbolicAttraction",
    "HyperbolicPartition",
    "InfoNCE",
    "Mass",
    "NearbyPairSum",
    "NormTerm",
    "Objective",
    "PairSum",
    "Partition",
    "Reference",
    "RowPartition",
    "SinkhornPartition",
    "Term",
    "WeightedMass",
    "nearby_pair_sum",
]
