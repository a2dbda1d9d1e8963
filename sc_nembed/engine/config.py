"""`EmbeddingConfig`: everything a run is asked to do, in fields named as the parameters of `tl.neighbor_embedding`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from . import config_rules
from .affinity import EntropicAffinity, InputAffinity, PACMAPAffinity, named_affinity
from .affinity._named import OF_PERPLEXITY
from .graph import AffinityMatrix
from .losses import resolve_loss
from .optimize.optimizer import Optimizer, PreconditionedNesterov, resolve_optimizer, with_options
from .optimize.rate_scheduler import resolve_scheduler
from .optimize.schedule import Schedule
from .output_affinity import CallableAffinity, OutputAffinity, resolve_output_affinity
from .record import plain

ALIASES = {"learning_rate": "lr", "early_exaggeration": "early_exaggeration_coeff"}  # of fields, for users
OF_METHODS = {
    "exclude_neighbors", "kwargs_loss", "loss_fn", "negative_sample_rate", "race", "repulsion", "tolerance",
}  # fmt: skip
NOT_RECORDED = {
    "automatic", "dense", "dtype", "entropic_cells", "graph_affinity", "has_output", "in_ball", "named_init_scaling",
    "of_method", "options", "reads_features", "reads_weights", "schedule", "search_affinity", "symmetric", "terms",
    "usual_density", "usual_perplexity", "usual_pull", "verbose",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class EmbeddingConfig:
    """What a run is asked to do. None means: as the preset's rules say for the source at hand.

    Make one with a function of `engine.presets` and change it with `dataclasses.replace`. The parameters are explained
    in `sc_nembed.tl.neighbor_embedding`.
    """

    method: str
    affinity_in: str | InputAffinity | None = None
    affinity_out: Any = "student"
    kwargs_affinity_out: dict[str, Any] | None = None
    perplexity: float | list[float] | None = None
    n_neighbors: int | None = None
    metric: str | None = None
    n_components: int = 2
    lr: float | str = "auto"
    optimizer: Any = "auto"
    optimizer_kwargs: dict[str, Any] | str | None = None
    scheduler: Any = None
    scheduler_kwargs: dict[str, Any] | None = None
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
    of_method: Any = None  # a frozen dataclass of a method's own options; those of the first methods are fields
    # options of some methods
    race: bool | None = None
    tolerance: float | None = None
    repulsion: str | None = None
    negative_sample_rate: int = 5
    exclude_neighbors: bool = False
    loss_fn: Any = "square_loss"
    kwargs_loss: dict[str, Any] | None = None
    # what makes a method
    options: tuple[str, ...] = ()
    search_affinity: str = "entropic"  # for a representation where nothing is asked for
    entropic_cells: int = 200_000  # with more, "entropic" gives way to "uniform", and nothing is raced
    usual_perplexity: float = 30.0
    graph_affinity: str = "uniform"  # for a finished graph where nothing is asked for
    reads_weights: bool = False  # a stored graph's weights are P where nothing is asked for
    symmetric: bool = True  # P symmetrised; else as it is defined
    dense: bool = False  # the loss is over matrices of cells by cells
    has_output: bool = True  # the loss is between P and an output affinity
    reads_features: bool = False  # the method needs a representation beside P
    named_init_scaling: float | str | Callable[[EmbeddingConfig, AffinityMatrix], float] = 1e-4
    in_ball: bool = False  # positions lie in the Poincaré ball
    usual_pull: float = 0.003  # strength of a reference
    usual_density: float = 0.1  # of `density=True`
    schedule: Callable[[EmbeddingConfig, AffinityMatrix, bool], Schedule] | None = None
    terms: Callable[..., Any] | None = None  # of `engine.objective`
    automatic: Optimizer = field(default_factory=PreconditionedNesterov)  # what optimizer="auto" is
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        config_rules.check_numbers(self)
        config_rules.check_names(self)
        self.resolved_optimizer()
        if resolve_scheduler(self.scheduler, self.scheduler_kwargs) is None and self.scheduler_kwargs:
            raise ValueError("`scheduler_kwargs` has no effect without a `scheduler`; name one, or drop it.")
        self.output_affinity()
        if self.perplexity is not None:
            EntropicAffinity(self.perplexity)
        resolve_loss(self.loss_fn, self.kwargs_loss)
        config_rules.check_combinations(self)
        config_rules.check_negative(self)

    def resolved_optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, str) and self.optimizer == "auto":
            return with_options(self.automatic, self.optimizer_kwargs)
        return resolve_optimizer(self.optimizer, self.optimizer_kwargs)

    @property
    def pull_strength(self) -> float | None:
        """The strength of the reference; None where there is none."""
        given = self.usual_pull if self.reference_strength is None else float(self.reference_strength)
        return None if self.reference is None else given

    @property
    def density_strength(self) -> float | None:
        """The strength of the correlation of local radii; None where it is not asked for."""
        if isinstance(self.density, bool):
            return self.usual_density if self.density else None
        return None if self.density is None else float(self.density)

    @property
    def is_dense(self) -> bool:
        """Whether the loss is over dense matrices, by autograd."""
        return self.dense or isinstance(self.output_affinity(), CallableAffinity)

    @property
    def is_automatic(self) -> bool:
        """Whether the optimizer is the method's own."""
        return isinstance(self.optimizer, str) and self.optimizer == "auto"

    def output_affinity(self) -> OutputAffinity | CallableAffinity | None:
        """Kernel and normalization; None for a method without."""
        if not self.has_output:
            return None
        return resolve_output_affinity(self.affinity_out, self.kwargs_affinity_out)

    def input_affinity(self, *, searching: bool, n_obs: int, n_held: int | None = None) -> InputAffinity:
        """The input affinity for a new search (`searching`) or a finished graph that holds `n_held` neighbors."""
        given = self.affinity_in
        if given is None or isinstance(given, str):
            name = (given or self._usual_affinity(searching, n_obs)).lower()
            if name == "pacmap" and self.n_neighbors is None and self.perplexity is None:
                return PACMAPAffinity(min(pacmap_neighbors(n_obs), n_held or n_obs))
            perplexity = self.usual_perplexity if name in OF_PERPLEXITY and self.perplexity is None else self.perplexity
            return named_affinity(name, perplexity, self.n_neighbors, searching=searching, n_obs=n_obs)
        for name in ("perplexity", "n_neighbors") if searching else ("perplexity",):
            if getattr(self, name) is not None:
                raise ValueError(f"`{name}` has no effect: `affinity_in` is {given!r}, which holds its own parameters.")
        return given

    def _usual_affinity(self, searching: bool, n_obs: int) -> str:
        usual = self.search_affinity
        if self.perplexity is not None:
            return usual if searching else "entropic"
        if not searching:
            return self.graph_affinity
        many = usual == "entropic" and n_obs > self.entropic_cells
        return "uniform" if many or (usual in OF_PERPLEXITY and self.n_neighbors is not None) else usual

    def to_record(self) -> dict[str, Any]:
        """Parameters as plain values that h5ad and zarr can hold; None is dropped."""
        hidden = NOT_RECORDED | (OF_METHODS - set(self.options))
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in hidden}
        if self.encoder is not None:
            values["init"] = "encoder"
        own = {} if self.of_method is None else vars_of(self.of_method)
        return {name: plain(value) for name, value in (values | own).items() if value is not None}

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options of the method."""
        return (*self.options, *(() if self.of_method is None else vars_of(self.of_method)))


def pacmap_neighbors(n_obs: int) -> int:
    """Near pairs of a cell in PaCMAP: 10, above 10 000 cells 15 more for each power of ten, of few cells fewer."""
    k = 10 if n_obs <= 10_000 else round(10 + 15 * (math.log10(n_obs) - 4))
    return max(1, min(k, int(n_obs / 3.5)))  # half as many mid-near and twice as many far pairs are other cells


def vars_of(options: Any) -> dict[str, Any]:
    """Fields of a dataclass and their values, as they are."""
    return {item.name: getattr(options, item.name) for item in fields(options)}
