"""What is wrong with a configuration, said before anything is computed: each function raises ValueError.

That a parameter has no effect is said here alone, from tables: what a method refuses (`Method.refuses` and
`Options.refuses`), and what needs another parameter (`WITHOUT`). What affinities refuse is in `affinity.request`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .affinity import request
from .compute import backend
from .compute.checks import check_number, no_effect
from .initialization import NAMES as INIT_NAMES
from .optimize.optimizer import PreconditionedNesterov
from .optimize.rate_scheduler import resolve_scheduler
from .optimize.riemannian_adam import RiemannianAdam
from .optimize.torch_optimizer import TorchOptimizer
from .output_affinity import NegativeDistanceAffinity

if TYPE_CHECKING:
    from .config import EmbeddingConfig

Rule = tuple[str, Callable[[Any], bool], bool]  # what is wanted, whether a value is, whether it has to be whole
POSITIVE: Rule = ("a positive number", lambda value: value > 0, False)
COUNT: Rule = ("an integer of at least 0", lambda value: value >= 0, True)
AT_LEAST_ONE: Rule = ("an integer of at least 1", lambda value: value >= 1, True)
NUMBERS: dict[str, Rule] = {
    "n_components": AT_LEAST_ONE,
    "max_iter": AT_LEAST_ONE,
    "check_interval": AT_LEAST_ONE,
    "n_neighbors": ("an integer of at least 2", lambda value: value >= 2, True),
    "early_exaggeration_iter": COUNT,
    "random_state": COUNT,
    "early_exaggeration_coeff": POSITIVE,
    "exaggeration": POSITIVE,
    "repulsion_strength": POSITIVE,
    "min_grad_norm": ("a number of at least 0 (0: never stop early)", lambda value: value >= 0, False),
    "init_scaling": ("a positive number, 'range' or 'keep'", lambda value: value > 0, False),
    "max_grad_norm": POSITIVE,
    "reference_strength": ("a number of at least 0", lambda value: value >= 0, False),
    "density": ("a number of at least 0, or True", lambda value: value >= 0, False),
    "lr": ("a positive number or 'auto'", lambda value: value > 0, False),
}
WORDS = {"init_scaling": ("keep", "range"), "density": (True, False), "lr": ("auto",)}
# values that ask for nothing, beside None
NOTHING = {
    "early_exaggeration_iter": (0,), "backend": ("faiss",), "density": (False,), "process_duplicates": (False,),
    "optimizer": ("auto",), "repulsion_strength": (1.0,), "optimizer_kwargs": ({}, "auto"),
}  # fmt: skip
WITHOUT = {"scheduler_kwargs": "scheduler", "reference_strength": "reference"}  # and what they have no effect without
LARGEST_RATE = 10.0  # of optimizers whose rate is no step in the unit of the gradient
RATES = {
    PreconditionedNesterov: "whose rate is dimensionless and about 1, since each gradient is divided by its curvature. "
    "Rates in the hundreds belong to plain gradient descent: use optimizer='SGD' or 'DeltaBarDelta' for them, or "
    "lr='auto'.",
    RiemannianAdam: "whose rate is the distance that a cell moves in a step, of at most about 20 between any two. Use "
    "0.1, or lr='auto'.",
}


def check_backend(config: EmbeddingConfig, resolved: dict[str, str]) -> None:
    """Refuse a backend that has nothing to do, once it is known what is searched and summed."""
    name = config.backend
    if name is None or "neighbors" in resolved or (name == "keops" and "radial_sum" in resolved):
        return
    sums = "" if name == "faiss" else " and no sums over all pairs are evaluated"
    no_effect(f"backend={name!r}", f"in this call: no neighbors are searched{sums}")


def check(config: EmbeddingConfig) -> None:
    """Everything that can be said without the cells."""
    _check_options(config)
    for name in NUMBERS:
        _check_number(config, name)
    _check_names(config)
    optimizer = config.resolved_optimizer()
    resolve_scheduler(config.scheduler, config.scheduler_kwargs)
    request.check(config)
    _check_output(config)
    for name, why in config.refuses.items():
        if asks(config, name):
            no_effect(name, f"with method={config.method.name!r}, which {why}")
    for name, other in WITHOUT.items():
        if asks(config, name) and getattr(config, other) in (None, "none"):
            no_effect(name, f"without a `{other}`", f"Give a `{other}`, or drop it.")
    _check_rate(config, type(optimizer))
    _check_density(config)
    if config.encoder is not None:
        _check_encoder(config, optimizer)
    config.method.check(config)


def asks(config: EmbeddingConfig, name: str) -> bool:
    """Whether a parameter asks for something."""
    value = getattr(config, name)
    return value is not None and not any(value is other or _equals(value, other) for other in NOTHING.get(name, ()))


def _equals(value: Any, other: Any) -> bool:
    return type(value) in (str, int, float, dict) and value == other


def _check_options(config: EmbeddingConfig) -> None:
    wanted = config.method.options
    if type(config.options) is not wanted:
        raise TypeError(
            f"`options` of method={config.method.name!r} must be a {wanted.__name__}; got {config.options!r}."
        )


def _check_number(config: EmbeddingConfig, name: str) -> None:
    value, (wanted, accept, whole) = getattr(config, name), NUMBERS[name]
    if value is not None and not any(value is word or _equals(value, word) for word in WORDS.get(name, ())):
        check_number(name, value, wanted, accept, whole=whole)


def _check_names(config: EmbeddingConfig) -> None:
    if isinstance(config.init, str) and config.init not in INIT_NAMES:
        raise ValueError(f"Unknown `init` {config.init!r}; available: {list(INIT_NAMES)}, or an array.")
    if config.backend is not None and config.backend not in backend.BACKENDS:
        raise ValueError(f"Unknown `backend` {config.backend!r}; available: {[*backend.BACKENDS, None]}.")
    backend.resolve_device(config.device)
    backend.resolve_n_jobs(config.n_jobs)


def _check_output(config: EmbeddingConfig) -> None:
    """Without a logarithm an output affinity is for losses between dense matrices alone."""
    if config.method.matrix != "dense" and config.output_affinity() == NegativeDistanceAffinity():
        raise ValueError(request.only_matched(f"`affinity_out={config.affinity_out!r}`", config.method.name))


def _check_rate(config: EmbeddingConfig, kind: type) -> None:
    is_own = config.is_automatic and "optimizer" not in config.options.refuses
    if config.lr != "auto" and config.lr > LARGEST_RATE and is_own and kind in RATES:
        raise ValueError(f"`lr={config.lr}` is too large for optimizer='auto', {RATES[kind]}")


def _check_density(config: EmbeddingConfig) -> None:
    if config.density_strength is None:
        return
    if config.is_dense:
        raise ValueError(
            "`density` needs the edges of a sparse input affinity and an output kernel; a loss over dense matrices, or "
            "an output affinity that is a function, has none. Drop it."
        )
    if config.process_duplicates:
        raise ValueError(
            "`density` cannot be combined with `process_duplicates`: equal cells that are embedded once have no local "
            "radii of their own. Drop one of them."
        )


def _check_encoder(config: EmbeddingConfig, optimizer: Any) -> None:
    if not isinstance(config.init, str) or config.init != "pca" or config.init_scaling is not None:
        raise ValueError("`init` and `init_scaling` have no effect with an `encoder`, which makes the start itself.")
    if not config.is_automatic and type(optimizer) is not TorchOptimizer:
        raise ValueError(f"`optimizer={config.optimizer!r}` moves cells; an `encoder` needs one of torch, or 'auto'.")
