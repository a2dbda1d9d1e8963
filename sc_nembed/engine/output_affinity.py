"""Output affinities Q: a kernel and how it is normalised."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from .kernel import Kernel, StudentT

NORMALIZATIONS = ("all",)


@dataclass(frozen=True, slots=True)
class OutputAffinity:
    """Similarity of embedded cells, q normalised over all pairs i ≠ j (`normalization="all"`)."""

    kernel: Kernel = field(default_factory=StudentT)
    normalization: str = "all"

    def __post_init__(self) -> None:
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(f"Unknown `normalization` {self.normalization!r}; available: {list(NORMALIZATIONS)}.")


@dataclass(frozen=True, slots=True)
class StudentAffinity:
    """Student's t over all pairs, the output affinity of t-SNE; see `StudentT` for `dof`."""

    dof: float = 1.0

    def resolve(self) -> OutputAffinity:
        return OutputAffinity(StudentT(self.dof), "all")


OUTPUT_AFFINITIES = {"student": StudentAffinity}


def resolve_output_affinity(affinity_out: Any, kwargs: dict[str, Any] | None) -> OutputAffinity:
    """An output affinity from a name, a class or an instance, with its arguments."""
    kwargs = dict(kwargs or {})
    if isinstance(affinity_out, str):
        name = affinity_out.lower()
        if name not in OUTPUT_AFFINITIES:
            raise ValueError(f"Unknown `affinity_out` {affinity_out!r}; available: {sorted(OUTPUT_AFFINITIES)}.")
        affinity_out = OUTPUT_AFFINITIES[name]
    if affinity_out not in (OutputAffinity, *OUTPUT_AFFINITIES.values()) and not is_dataclass(affinity_out):
        raise TypeError(
            f"`affinity_out` must be one of {sorted(OUTPUT_AFFINITIES)}, an output affinity or its class; got "
            f"{affinity_out!r}."
        )
    known = [item.name for item in fields(affinity_out)]
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        raise TypeError(f"Unknown `kwargs_affinity_out` {unknown}; available: {known}.")
    made = affinity_out(**kwargs) if isinstance(affinity_out, type) else replace(affinity_out, **kwargs)
    return made if isinstance(made, OutputAffinity) else made.resolve()


def describe(affinity: OutputAffinity) -> tuple[str, dict[str, Any]]:
    """The name and arguments that make this output affinity."""
    kernel = affinity.kernel
    name = "student" if isinstance(kernel, StudentT) else type(kernel).__name__
    return name, {item.name: getattr(kernel, item.name) for item in fields(kernel)}
