"""`EmbeddingConfig`: everything a run is asked to do, in fields named as the parameters of `tl.neighbor_embedding`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from . import backend
from .affinity import AFFINITIES, EntropicAffinity, InputAffinity, UMAPAffinity, UniformAffinity
from .graph import AffinityMatrix
from .initialization import NAMES as INIT_NAMES
from .matching import resolve_loss
from .neighbors import METRICS
from .optimizer import (
    Optimizer,
    PreconditionedNesterov,
    TorchOptimizer,
    resolve_optimizer,
    with_options,
)
from .output_affinity import CallableAffinity, OutputAffinity, resolve_output_affinity
from .rate_scheduler import resolve_scheduler
from .record import plain
from .schedule import Schedule

ALIASES = {"learning_rate": "lr", "early_exaggeration": "early_exaggeration_coeff"}  # of fields, for users
OF_PERPLEXITY = ("entropic", "symmetric_entropic")
OF_NEIGHBORS = ("uniform", "umap")
OF_METHODS = {
    "exclude_neighbors", "kwargs_loss", "loss_fn", "negative_sample_rate", "race", "repulsion", "tolerance",
}  # fmt: skip
NOT_RECORDED = {
    "automatic", "dtype", "graph_affinity", "named_init_scaling", "options", "reads_weights", "schedule",
    "entropic_cells", "of_method", "search_affinity", "usual_perplexity", "symmetric", "terms", "verbose",
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
    of_method: Any = None  # a frozen dataclass of the method's own options; those below are older
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
    named_init_scaling: float | str | Callable[[EmbeddingConfig, AffinityMatrix], float] = 1e-4
    schedule: Callable[[EmbeddingConfig, AffinityMatrix, bool], Schedule] | None = None
    terms: Callable[..., Any] | None = None  # of `engine.objective`
    automatic: Optimizer = field(default_factory=PreconditionedNesterov)  # what optimizer="auto" is
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_names(self)
        self.resolved_optimizer()
        if resolve_scheduler(self.scheduler, self.scheduler_kwargs) is None and self.scheduler_kwargs:
            raise ValueError("`scheduler_kwargs` has no effect without a `scheduler`; name one, or drop it.")
        self.output_affinity()
        if self.perplexity is not None:
            EntropicAffinity(self.perplexity)
        resolve_loss(self.loss_fn, self.kwargs_loss)
        _check_combinations(self)

    def resolved_optimizer(self) -> Optimizer:
        if isinstance(self.optimizer, str) and self.optimizer == "auto":
            return with_options(self.automatic, self.optimizer_kwargs)
        return resolve_optimizer(self.optimizer, self.optimizer_kwargs)

    @property
    def is_dense(self) -> bool:
        """Whether the loss is over dense matrices, by autograd."""
        return not self.symmetric or isinstance(self.output_affinity(), CallableAffinity)

    @property
    def is_automatic(self) -> bool:
        """Whether the optimizer is the method's own."""
        return isinstance(self.optimizer, str) and self.optimizer == "auto"

    def output_affinity(self) -> OutputAffinity:
        return resolve_output_affinity(self.affinity_out, self.kwargs_affinity_out)

    def input_affinity(self, *, searching: bool, n_obs: int) -> InputAffinity:
        """The input affinity for a new search (`searching`) or a finished graph."""
        given = self.affinity_in
        if given is None or isinstance(given, str):
            return self._named_affinity((given or self._usual_affinity(searching, n_obs)).lower(), searching, n_obs)
        for name in ("perplexity", "n_neighbors") if searching else ("perplexity",):
            if getattr(self, name) is not None:
                raise ValueError(f"`{name}` has no effect: `affinity_in` is {given!r}, which holds its own parameters.")
        return given

    def _usual_affinity(self, searching: bool, n_obs: int) -> str:
        if self.perplexity is not None:
            return "entropic"
        if not searching:
            return self.graph_affinity
        uniformly = self.n_neighbors is not None or n_obs > self.entropic_cells
        return "uniform" if self.search_affinity == "entropic" and uniformly else self.search_affinity

    def _named_affinity(self, name: str, searching: bool, n_obs: int) -> InputAffinity:
        if name == "precomputed":
            raise ValueError(
                "`affinity_in='precomputed'` needs a matrix: pass `obsp=` to the AnnData function, or "
                "PrecomputedAffinity(P)."
            )
        if name not in OF_PERPLEXITY and self.perplexity is not None:
            raise ValueError(
                f"`perplexity` has no effect with `affinity_in={name!r}`; it belongs to {list(OF_PERPLEXITY)}."
            )
        if name in OF_PERPLEXITY:
            return AFFINITIES[name](self.usual_perplexity if self.perplexity is None else self.perplexity)
        if name not in OF_NEIGHBORS or self.n_neighbors is None:
            if searching and self.n_neighbors is not None and name != "entropic":
                raise ValueError(f"`n_neighbors` has no effect with `affinity_in={name!r}`, which is of all pairs.")
            return AFFINITIES[name]()
        counted = min(self.n_neighbors, n_obs)
        return UniformAffinity(counted - 1) if name == "uniform" else UMAPAffinity(counted)

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


def vars_of(options: Any) -> dict[str, Any]:
    """Fields of a dataclass and their values, as they are."""
    return {item.name: getattr(options, item.name) for item in fields(options)}


def _number(
    config: EmbeddingConfig, name: str, wanted: str, accept: Callable[[float], bool], *, whole: bool = False
) -> None:
    value = getattr(config, name)
    if value is None:
        return
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value) or not accept(value):
        raise ValueError(f"`{name}` must be {wanted}; got {value!r}.")


def _check_numbers(config: EmbeddingConfig) -> None:
    for name, least in (("n_components", 1), ("max_iter", 1), ("check_interval", 1), ("n_neighbors", 2)):
        _number(config, name, f"an integer of at least {least}", lambda value, least=least: value >= least, whole=True)
    _number(config, "early_exaggeration_iter", "an integer of at least 0", lambda value: value >= 0, whole=True)
    _number(config, "random_state", "an integer of at least 0", lambda value: value >= 0, whole=True)
    for name in ("early_exaggeration_coeff", "exaggeration", "repulsion_strength"):
        _number(config, name, "a positive number", lambda value: value > 0)
    _number(config, "min_grad_norm", "a number of at least 0 (0: never stop early)", lambda value: value >= 0)
    _number(config, "tolerance", "a relative error between 0 and 1", lambda value: 0 < value < 1)
    if config.init_scaling not in ("keep", "range"):
        _number(config, "init_scaling", "a positive number, 'range' or 'keep'", lambda value: value > 0)
    _number(config, "max_grad_norm", "a positive number", lambda value: value > 0)
    _number(config, "negative_sample_rate", "an integer of at least 1", lambda value: value >= 1, whole=True)
    if config.lr != "auto":
        _number(config, "lr", "a positive number or 'auto'", lambda value: value > 0)
        if config.is_automatic and config.repulsion != "sampled" and config.lr > 10:
            raise ValueError(
                f"`lr={config.lr}` is too large for optimizer='auto', whose rate is dimensionless and about 1, since "
                "each gradient is divided by its curvature. Rates in the hundreds belong to plain gradient descent: "
                "use optimizer='SGD' or 'DeltaBarDelta' for them, or lr='auto'."
            )


def _check_combinations(config: EmbeddingConfig) -> None:
    """Parameters that exclude each other."""
    if config.perplexity is not None and config.affinity_in is None and config.search_affinity != "entropic":
        raise ValueError(
            f"`perplexity` has no effect with method={config.method!r}, whose input affinity is "
            f"{config.search_affinity!r}: use `n_neighbors`, or `affinity_in='entropic'`."
        )
    if config.repulsion not in (None, "expected", "sampled"):
        raise ValueError(f"Unknown `repulsion` {config.repulsion!r}; available: ['expected', 'sampled'].")
    if config.exclude_neighbors and config.repulsion != "sampled":
        raise ValueError("`exclude_neighbors` has no effect without `repulsion='sampled'`: nothing is drawn.")
    if config.repulsion == "sampled":
        for name, given in (
            ("optimizer", not config.is_automatic), ("optimizer_kwargs", bool(config.optimizer_kwargs)),
            ("encoder", config.encoder is not None), ("process_duplicates", config.process_duplicates),
            ("max_grad_norm", config.max_grad_norm is not None), ("backend", config.backend == "keops"),
        ):  # fmt: skip
            if given:
                raise ValueError(
                    f"`{name}` has no effect with `repulsion='sampled'`, whose epochs are steps of their own."
                )
    if config.encoder is not None:
        if not isinstance(config.init, str) or config.init != "pca" or config.init_scaling is not None:
            raise ValueError(
                "`init` and `init_scaling` have no effect with an `encoder`, which makes the start itself."
            )
        if not config.is_automatic and not isinstance(config.resolved_optimizer(), TorchOptimizer):
            raise ValueError(
                f"`optimizer={config.optimizer!r}` moves cells; an `encoder` needs one of torch, or 'auto'."
            )


def _check_names(config: EmbeddingConfig) -> None:
    if isinstance(config.init, str) and config.init not in INIT_NAMES:
        raise ValueError(f"Unknown `init` {config.init!r}; available: {list(INIT_NAMES)}, or an array.")
    if isinstance(config.affinity_in, str) and config.affinity_in.lower() not in AFFINITIES:
        raise ValueError(f"Unknown `affinity_in` {config.affinity_in!r}; available: {sorted(AFFINITIES)}.")
    if config.backend is not None and config.backend not in backend.BACKENDS:
        raise ValueError(f"Unknown `backend` {config.backend!r}; available: {[*backend.BACKENDS, None]}.")
    if config.metric is not None and config.metric not in METRICS:
        raise ValueError(f"Unknown `metric` {config.metric!r}; available: {list(METRICS)}.")
    backend.resolve_device(config.device)
    backend.resolve_n_jobs(config.n_jobs)
