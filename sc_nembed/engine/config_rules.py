"""What is wrong with a configuration, said before anything is computed: each function raises ValueError."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .affinity import AFFINITIES, PHATEAffinity
from .affinity._named import OF_PERPLEXITY
from .compute import backend
from .compute.checks import check_number
from .initialization import NAMES as INIT_NAMES
from .losses import LOSSES, only_matched
from .neighbors import METRICS
from .optimize.optimizer import PreconditionedNesterov, TorchOptimizer
from .output_affinity import NegativeDistanceAffinity

if TYPE_CHECKING:
    from .config import EmbeddingConfig


def _number(
    config: EmbeddingConfig, name: str, wanted: str, accept: Callable[[float], bool], *, whole: bool = False
) -> None:
    if getattr(config, name) is not None:
        check_number(name, getattr(config, name), wanted, accept, whole=whole)


def check_numbers(config: EmbeddingConfig) -> None:
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
    _number(config, "reference_strength", "a number of at least 0", lambda value: value >= 0)
    if not isinstance(config.density, bool):
        _number(config, "density", "a number of at least 0, or True", lambda value: value >= 0)
    _number(config, "negative_sample_rate", "an integer of at least 1", lambda value: value >= 1, whole=True)
    if config.lr != "auto":
        _number(config, "lr", "a positive number or 'auto'", lambda value: value > 0)
        if config.is_automatic and config.in_ball and config.lr > 10:
            raise ValueError(
                f"`lr={config.lr}` is too large for method={config.method!r}: it is the distance that a cell moves in "
                "a step, of at most about 20 between any two. Use 0.1, or lr='auto'."
            )
        preconditioned = config.is_automatic and isinstance(config.automatic, PreconditionedNesterov)
        if preconditioned and config.repulsion != "sampled" and config.lr > 10:
            raise ValueError(
                f"`lr={config.lr}` is too large for optimizer='auto', whose rate is dimensionless and about 1, since "
                "each gradient is divided by its curvature. Rates in the hundreds belong to plain gradient descent: "
                "use optimizer='SGD' or 'DeltaBarDelta' for them, or lr='auto'."
            )


def check_combinations(config: EmbeddingConfig) -> None:
    """Parameters that exclude each other."""
    if config.perplexity is not None and config.affinity_in is None and config.search_affinity not in OF_PERPLEXITY:
        raise ValueError(
            f"`perplexity` has no effect with method={config.method!r}, whose input affinity is "
            f"{config.search_affinity!r}: use `n_neighbors`, or `affinity_in='entropic'`."
        )
    for name in ("affinity_out", "kwargs_affinity_out"):
        if not config.has_output and getattr(config, name) is not None:
            raise ValueError(
                f"`{name}` has no effect with method={config.method!r}, whose loss has no output affinity."
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
            ("reference", config.reference is not None), ("density", config.density_strength is not None),
        ):  # fmt: skip
            if given:
                raise ValueError(
                    f"`{name}` has no effect with `repulsion='sampled'`, whose epochs are steps of their own."
                )
    _check_additions(config)
    if config.in_ball:
        _check_ball(config)
    if config.encoder is not None:
        if not isinstance(config.init, str) or config.init != "pca" or config.init_scaling is not None:
            raise ValueError(
                "`init` and `init_scaling` have no effect with an `encoder`, which makes the start itself."
            )
        if not config.is_automatic and not isinstance(config.resolved_optimizer(), TorchOptimizer):
            raise ValueError(
                f"`optimizer={config.optimizer!r}` moves cells; an `encoder` needs one of torch, or 'auto'."
            )


def _check_additions(config: EmbeddingConfig) -> None:
    """Of the terms that any objective can carry."""
    if config.reference_strength is not None and config.reference is None:
        raise ValueError("`reference_strength` has no effect without a `reference`; give one, or drop it.")
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


def _check_ball(config: EmbeddingConfig) -> None:
    if not config.is_automatic:
        raise ValueError(
            f"`optimizer={config.optimizer!r}` moves cells along straight lines, out of the unit ball that "
            f"method={config.method!r} embeds in; leave it at 'auto', Riemannian Adam."
        )
    if config.encoder is not None:
        raise ValueError(f"An `encoder` cannot be kept inside the unit ball that method={config.method!r} embeds in.")


def check_names(config: EmbeddingConfig) -> None:
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


def check_negative(config: EmbeddingConfig) -> None:
    """Affinities without a logarithm are for losses between dense matrices."""
    given, output = config.affinity_in, config.output_affinity()
    is_phate = isinstance(given, PHATEAffinity) or (isinstance(given, str) and given.lower() == "phate")
    if is_phate and not config.dense:
        raise ValueError(only_matched(f"`affinity_in={given!r}`", config.method))
    if not isinstance(output, NegativeDistanceAffinity):
        return
    if not config.dense:
        raise ValueError(only_matched(f"`affinity_out={config.affinity_out!r}`", config.method))
    if config.loss_fn in LOSSES and config.loss_fn != "square_loss":
        raise ValueError(
            f"`loss_fn={config.loss_fn!r}` takes logarithms, which negative distances do not have. Use 'square_loss', "
            "or a function of P and Q."
        )
