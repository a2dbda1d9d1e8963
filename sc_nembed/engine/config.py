"""`EmbeddingConfig`: everything a run is asked to do, in fields named as the parameters of `tl.neighbor_embedding`."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from torch import Tensor

from . import backend
from .affinity import AFFINITIES, EntropicAffinity, InputAffinity, PrecomputedAffinity, UMAPAffinity, UniformAffinity
from .graph import AffinityMatrix
from .initialization import NAMES as INIT_NAMES
from .neighbors import METRICS
from .optimizer import resolve_optimizer, resolve_scheduler
from .output_affinity import OutputAffinity, resolve_output_affinity
from .schedule import Schedule


@dataclass(frozen=True, eq=False)
class EmbeddingConfig:
    """What a run is asked to do. None means: as the preset's rules say for the source at hand.

    Make one with a function of `engine.presets` and change it with `dataclasses.replace`. The parameters are explained
    in `sc_nembed.tl.neighbor_embedding`; the last five fields belong to the preset.
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
    race: bool | None = None
    tolerance: float | None = None
    named_init_scaling: float = 1e-4
    search_affinity: InputAffinity | None = None  # for a representation where nothing is asked for
    graph_affinity: InputAffinity | None = None  # for a finished graph where nothing is asked for
    schedule: Callable[[EmbeddingConfig, AffinityMatrix, bool], Schedule] | None = None
    options: tuple[str, ...] = ()  # what the method takes beside the common parameters

    def __post_init__(self) -> None:
        _check_numbers(self)
        _check_names(self)
        resolve_optimizer(self.optimizer, self.optimizer_kwargs)
        if resolve_scheduler(self.scheduler, self.scheduler_kwargs) is None and self.scheduler_kwargs:
            raise ValueError("`scheduler_kwargs` has no effect without a `scheduler`; name one, or drop it.")
        self.output_affinity()
        if self.perplexity is not None:
            EntropicAffinity(self.perplexity)

    def output_affinity(self) -> OutputAffinity:
        return resolve_output_affinity(self.affinity_out, self.kwargs_affinity_out)

    def input_affinity(self, *, searching: bool, n_obs: int) -> InputAffinity:
        """The input affinity for a new search (`searching`) or a finished graph."""
        given = self.affinity_in
        if given is not None and not isinstance(given, str):
            for name in ("perplexity", "n_neighbors") if searching else ("perplexity",):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` has no effect: `affinity_in` is {given!r}, which holds its own parameters."
                    )
            return given
        if given is None and self.perplexity is None:
            uniform = searching and self.n_neighbors is not None
            default = self.search_affinity if searching else self.graph_affinity
            given = "uniform" if uniform and isinstance(default, EntropicAffinity) else default
            if not isinstance(given, str):
                return given
        return self._named_affinity(given or "entropic", searching, n_obs)

    def _named_affinity(self, name: str, searching: bool, n_obs: int) -> InputAffinity:
        if name.lower() == "precomputed":
            raise ValueError(
                "`affinity_in='precomputed'` needs a matrix: pass `obsp=` to the AnnData function, or "
                "PrecomputedAffinity(P)."
            )
        if name.lower() != "entropic" and self.perplexity is not None:
            raise ValueError(f"`perplexity` has no effect with `affinity_in={name!r}`; it belongs to 'entropic'.")
        if name.lower() == "entropic":
            return EntropicAffinity() if self.perplexity is None else EntropicAffinity(self.perplexity)
        if self.n_neighbors is None:
            return UniformAffinity() if name.lower() == "uniform" else UMAPAffinity()
        counted = min(self.n_neighbors, n_obs)
        return UniformAffinity(counted - 1) if name.lower() == "uniform" else UMAPAffinity(counted)

    def to_record(self) -> dict[str, Any]:
        """Parameters as plain values that h5ad and zarr can hold; None is dropped."""
        hidden = {"schedule", "search_affinity", "graph_affinity", "named_init_scaling", "options", "verbose"}
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in hidden}
        return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, np.ndarray | Tensor):
        return "array"
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        plain = [_plain(item) for item in value]
        return np.asarray(plain) if plain and all(isinstance(item, int | float) for item in plain) else str(plain)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, PrecomputedAffinity):
        return "precomputed"
    return str(value)


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
    if config.init_scaling != "keep":
        _number(config, "init_scaling", "a positive number or 'keep'", lambda value: value > 0)
    if config.lr != "auto":
        _number(config, "lr", "a positive number or 'auto'", lambda value: value > 0)
        if isinstance(config.optimizer, str) and config.optimizer == "auto" and config.lr > 10:
            raise ValueError(
                f"`lr={config.lr}` is too large for optimizer='auto', whose rate is dimensionless and about 1, since "
                "each gradient is divided by its curvature. Rates in the hundreds belong to plain gradient descent: "
                "use optimizer='SGD' or 'DeltaBarDelta' for them, or lr='auto'."
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
