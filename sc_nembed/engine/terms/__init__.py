"""What an objective adds up. A term maps positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ

| repulsion | of an output affinity normalised | class |
|---|---|---|
| (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ | over all pairs: t-SNE | `Partition` |
| Σᵢ rᵢ log Σⱼ qᵢⱼ, rᵢ the mass of row i of P | by row: SNE | `RowPartition` |
| Σᵢⱼ Qᵢⱼ − 2 Σᵢ rᵢ fᵢ − Σᵢ rᵢ, Q = exp(fᵢ + fⱼ) q with the row sums of P | by Sinkhorn | `SinkhornPartition` |
| Σᵢⱼ qᵢⱼ | not | `Mass` |
| (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ) | not: UMAP | `ExpectedRepulsion` |

CO-SNE has terms of its own, in the Poincaré ball: `terms.hyperbolic`.

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from .attraction import Attraction
from .autograd import Autograd
from .hyperbolic import HyperbolicAttraction, HyperbolicPartition, NormTerm
from .partition import Mass, Partition
from .row_partition import RowPartition
from .sinkhorn import SinkhornPartition
from .term import Force, Objective, Term
from .umap import ExpectedRepulsion

__all__ = [
    "Attraction",
    "Autograd",
    "ExpectedRepulsion",
    "Force",
    "HyperbolicAttraction",
    "HyperbolicPartition",
    "Mass",
    "NormTerm",
    "Objective",
    "Partition",
    "RowPartition",
    "SinkhornPartition",
    "Term",
]
