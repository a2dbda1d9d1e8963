"""`EmbeddingConfig`: what a user wishes of a run, in fields named as the parameters of `tl.neighbor_embedding`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from . import config_rules
from .affinity import InputAffinity
from .optimize.optimizer import resolve_optimizer, with_options
from .optimize.protocol import Optimizer
from .output_affinity import CallableAffinity, NegativeDistanceAffinity, OutputAffinity, resolve_output_affinity

if TYPE_CHECKING:
    from .presets.method import Method, Options


@dataclass(frozen=True, eq=False)
class EmbeddingConfig:
    """What a user wishes of a run. None means: as the method's rules say for the source at hand.

    Make one with a function of `engine.presets` and change it with `engine.configure.configured`, or, but for the
    options of its method, with `dataclasses.replace`. The parameters are explained in
    `sc_nembed.tl.neighbor_embedding`; `options` are the method's own, as a value of `method.options`.
    """

    method: Method
    affinity_in: str | InputAffinity | None = None
    affinity_out: Any = None
    kwargs_affinity_out: Mapping[str, Any] | None = None
    perplexity: float | list[float] | None = None
    n_neighbors: int | None = None
    metric: str | None = None
    n_components: int = 2
    lr: float | str = "auto"
    optimizer: Any = "auto"
    optimizer_kwargs: Mapping[str, Any] | str | None = None
    scheduler: Any = None
    scheduler_kwargs: Mapping[str, Any] | None = None
    min_grad_norm: float = 1e-7
    max_iter: int | None = None
    check_interval: int = 10
    init: Any = "pca"
    init_scaling: float | str | None = None
    early_exaggeration_coeff: float | None = None
    early_exaggeration_iter: int | None = None
    exaggeration: float | None = None
    repulsion_strength: float = 1.0
    backend: str | None = None
    device: Any = "auto"
    n_jobs: int | None = None
    verbose: bool = False
    random_state: int = 0
    process_duplicates: bool = False
    encoder: torch.nn.Module | None = None
    max_grad_norm: float | None = None
    reference: Any = None
    reference_strength: float | None = None
    density: float | bool | None = None
    options: Options | None = None
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.options is None:
            object.__setattr__(self, "options", self.method.options())
        config_rules.check(self)

    def resolved_optimizer(self) -> Optimizer:
        if self.is_automatic:
            return with_options(self.method.optimizer, self.optimizer_kwargs)
        return resolve_optimizer(self.optimizer, self.optimizer_kwargs)

    def output_affinity(self) -> OutputAffinity | CallableAffinity | NegativeDistanceAffinity | None:
        """Kernel and normalization; None for a method without."""
        given = self.method.affinity_out if self.affinity_out is None else self.affinity_out
        return None if given is None else resolve_output_affinity(given, self.kwargs_affinity_out)

    @property
    def is_automatic(self) -> bool:
        """Whether the optimizer is the method's own."""
        return isinstance(self.optimizer, str) and self.optimizer == "auto"

    @property
    def is_dense(self) -> bool:
        """Whether the loss is over dense matrices, by autograd."""
        output = self.output_affinity()
        return self.method.matrix == "dense" or (output is not None and output.is_dense)

    @property
    def needs(self) -> dict[str, str]:
        """What the run needs beside P, and what for."""
        return {**self.method.needs, **self.options.needs}

    @property
    def refuses(self) -> dict[str, str]:
        """Parameters that have no effect, and why."""
        return {**self.method.refuses, **self.options.refuses}

    @property
    def pull_strength(self) -> float | None:
        """The strength of the reference; None where there is none."""
        given = self.method.pull if self.reference_strength is None else float(self.reference_strength)
        return None if self.reference is None else given

    @property
    def density_strength(self) -> float | None:
        """The strength of the correlation of local radii; None where it is not asked for."""
        if self.density is True:
            return self.method.density
        return None if self.density is None or self.density is False else float(self.density)

    @property
    def per_cell(self) -> tuple[str, ...]:
        """Names of the values that a run finds for each cell: log local radii in the data and in the embedding."""
        return () if self.density_strength is None else ("rad_orig", "rad_emb")
