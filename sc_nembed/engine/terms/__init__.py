"""What an objective adds up. A term maps positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ

| repulsion | of an output affinity normalised | class |
|---|---|---|
| (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ | over all pairs: t-SNE | `Partition` |
| Σᵢ rᵢ log Σⱼ qᵢⱼ, rᵢ the mass of row i of P | by row: SNE | `RowPartition` |
| Σᵢⱼ qᵢⱼ | not | `Mass` |
| (m / n) Σᵢ degreeᵢ Σⱼ −log(1 − qᵢⱼ) | not: UMAP | `ExpectedRepulsion` |

Two more terms can be added to any of these: `Reference` pulls towards a given layout, `Density` keeps local radii.

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from .attraction import Attraction
from .autograd import Autograd
from .density import Density
from .partition import Mass, Partition
from .reference import Reference
from .row_partition import RowPartition
from .term import Force, Objective, Term
from .umap import ExpectedRepulsion

__all__ = [
    "Attraction",
    "Autograd",
    "Density",
    "ExpectedRepulsion",
    "Force",
    "Mass",
    "Objective",
    "Partition",
    "Reference",
    "RowPartition",
    "Term",
]
