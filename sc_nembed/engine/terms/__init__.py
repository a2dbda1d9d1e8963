"""What an objective adds up. A term maps positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ

| repulsion | of an output affinity normalised | class |
|---|---|---|
| (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ | over all pairs: t-SNE | `Partition` |
| Σᵢ rᵢ log Σⱼ qᵢⱼ, rᵢ the mass of row i of P | by row: SNE | `RowPartition` |
| Σᵢⱼ qᵢⱼ | not | `Mass` |
| (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ) | not: UMAP | `ExpectedRepulsion` |
| Σᵢ rᵢ Σₖ φ(uᵢₖ), k drawn, or the mean | not: negative sampling, LargeVis | `DrawnContrast`, `ExpectedContrast` |
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + Σₖ qᵢₖ), k drawn | not: InfoNCE | `InfoNCE` |
| Σᵢⱼ pᵢⱼ log(qᵢⱼ + ν) + Σᵢ rᵢ Σₖ log(1 + qᵢₖ / ν), k drawn | not: NCE | `NCE` |
| Σᵢⱼ wᵢ wⱼ φ(uᵢⱼ) | not: ForceAtlas2, with `Gravity` beside it | `WeightedMass` |

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from .attraction import Attraction
from .autograd import Autograd
from .contrast import DrawnContrast, ExpectedContrast
from .denominators import NCE, Edges, InfoNCE
from .gravity import Gravity
from .partition import Mass, Partition, WeightedMass
from .row_partition import RowPartition
from .term import Force, Objective, Term
from .umap import ExpectedRepulsion

__all__ = [
    "NCE",
    "Attraction",
    "Autograd",
    "DrawnContrast",
    "Edges",
    "ExpectedContrast",
    "ExpectedRepulsion",
    "Force",
    "Gravity",
    "InfoNCE",
    "Mass",
    "Objective",
    "Partition",
    "RowPartition",
    "Term",
    "WeightedMass",
]
