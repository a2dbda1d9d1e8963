"""What an objective adds up. A term maps positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ

| repulsion | of an output affinity normalised | class |
|---|---|---|
| (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ | over all pairs: t-SNE | `Partition` |
| Σᵢ rᵢ log Σⱼ qᵢⱼ, rᵢ the mass of row i of P | by row: SNE | `RowPartition` |
| Σᵢⱼ qᵢⱼ | not | `Mass` |
| (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ) | not: UMAP | `ExpectedRepulsion` |

PaCMAP and LocalMAP have none of these: their terms are sums of a potential over pairs of cells, `PairSum` and
`NearbyPairSum`.

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from .attraction import Attraction
from .autograd import Autograd
from .nearby import NearbyPairSum, nearby_pair_sum
from .pairs import PairSum
from .partition import Mass, Partition
from .row_partition import RowPartition
from .term import Force, Objective, Term
from .umap import ExpectedRepulsion

__all__ = [
    "Attraction",
    "Autograd",
    "ExpectedRepulsion",
    "Force",
    "Mass",
    "NearbyPairSum",
    "Objective",
    "PairSum",
    "Partition",
    "RowPartition",
    "Term",
    "nearby_pair_sum",
]
