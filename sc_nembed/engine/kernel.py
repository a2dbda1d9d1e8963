"""Output kernels: the unnormalised similarity q(u) of two embedded cells at squared distance u = ‖zᵢ − zⱼ‖².

A kernel states log q and d log q / d u; everything else (forces, sums, normalisation) follows from the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Kernel(Protocol):
    """An output kernel. Arguments are torch tensors or KeOps LazyTensors of squared distances."""

    def log_value(self, sq_dist: Any) -> Any: ...

    def log_slope(self, sq_dist: Any) -> Any: ...

    def value(self, sq_dist: Any) -> Any: ...

    def slope(self, sq_dist: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t: q(u) = (1 + u / dof) ** (−(dof + 1) / 2).

    dof = 1 is the kernel of t-SNE (van der Maaten & Hinton 2008); smaller values have heavier tails and show finer
    clusters (Kobak et al. 2019). q(0) = 1, and the log slope is finite at 0.
    """

    dof: float = 1.0

    def __post_init__(self) -> None:
        if not self.dof > 0:
            raise ValueError(f"`dof` of the Student kernel must be positive; got {self.dof!r}.")

    def log_value(self, sq_dist: Any) -> Any:
        return (1 + sq_dist / self.dof).log() * (-0.5 * (self.dof + 1))

    def log_slope(self, sq_dist: Any) -> Any:
        return (-0.5 * (self.dof + 1)) / (self.dof + sq_dist)

    def value(self, sq_dist: Any) -> Any:
        if self.dof == 1:
            return 1 / (1 + sq_dist)
        return self.log_value(sq_dist).exp()

    def slope(self, sq_dist: Any) -> Any:
        return self.value(sq_dist) * self.log_slope(sq_dist)
