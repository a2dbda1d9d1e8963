"""What an objective adds up. A term maps positions to a `Force`; an objective is a dict of named terms.

    loss = λ · attraction + ρ · repulsion        attraction = −Σᵢⱼ Pᵢⱼ log qᵢⱼ        repulsion = (Σᵢⱼ Pᵢⱼ) log Σᵢⱼ qᵢⱼ

λ, the exaggeration, and ρ, the repulsion strength, are weights of the loop; a term itself is never weighted, so its
value can be compared across phases. Gradients are true gradients, with their factor 4.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from .attraction import Attraction
from .force import Force
from .partition import Partition

__all__ = ["Attraction", "Force", "Objective", "Partition", "Term"]


class Term(Protocol):
    """A part of an objective."""

    def __call__(self, positions: Tensor, *, value: bool) -> Force: ...


Objective = dict[str, Term]
