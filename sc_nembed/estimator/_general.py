"""`NeighborEmbedding` and `AffinityMatcher`: any pair of affinities, with the parameters and defaults of TorchDR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ._base import Embedder, hides_aliases

USUAL_SCALING = 1e-4  # of a start, but that of an encoder, which nothing scales


class NeighborEmbedding(Embedder):
    """Neighbor embedding with any pair of input and output affinities: minimises −λ Σ P log Q + ρ · L_rep(Q).

    L_rep follows from the normalization of the output affinity, see `sc_nembed.engine.terms`. It is a special case of
    `AffinityMatcher`: with exaggeration 1, that of the cross-entropy between P and a normalised Q.

    Parameters
    ----------
    affinity_in
        Input affinity: an instance such as `EntropicAffinity(30)`, a name, a sparse or dense P (n, n), or
        "precomputed", where `fit` is given P.
    affinity_out
        Output affinity: an instance such as `StudentAffinity()`, its class or name, or a function `log_q(Z, **kwargs)`
        that gives the (n, n) logarithms of q.
    kwargs_affinity_out
        Arguments of the output affinity.
    n_components
        Number of dimensions. A step takes as long in 1 as in 2, more in 3; 4 and more use exact sums, up to 50 000
        cells.
    lr
        Learning rate; "auto" is max(n / λ / 4, 50) in each phase for SGD and DeltaBarDelta, in the true-gradient
        convention, else about 1. Alias `learning_rate`.
    optimizer, optimizer_kwargs
        Name or class of an optimizer of torch, "DeltaBarDelta", or "auto" (the preconditioned Nesterov of this
        package); its arguments. "auto" arguments are momentum 0.5 in early exaggeration and 0.8 after for SGD, none for
        others.
    scheduler, scheduler_kwargs
        Name or class of a scheduler of torch, made anew in each phase, and its arguments. `LinearLR` without arguments
        runs from 1 to 0 over the phase.
    min_grad_norm
        Stop at a check where the Frobenius norm of the gradient is below; 0 never stops.
    max_iter
        All steps, early exaggeration included.
    init, init_scaling
        "pca", "spectral", "random" (= "normal"), "hyperbolic", or an array (n, n_components); all are scaled so that
        the first column has the standard deviation `init_scaling`, 1e-4 where it is None.
    device
        "auto" is the device of a tensor, else cuda if there is one, else cpu.
    backend
        "keops": exact neighbors and sums with KeOps; "faiss": neighbors with faiss; None: chosen.
    verbose
        Show a progress bar.
    random_state
        Integer, None or a numpy generator.
    early_exaggeration_coeff, early_exaggeration_iter
        λ and its number of steps; None is no step. Alias `early_exaggeration`.
    repulsion_strength
        ρ.
    check_interval
        Steps between two checks.
    process_duplicates
        Embed equal rows once, with their number as weight; not with "precomputed" or a given P.
    encoder
        A torch module from features to positions, optimised instead of them; `transform` maps new cells with the
        trained copy `encoder_`. `init` is not used then.
    max_grad_norm
        Gradients with a larger Frobenius norm are shortened to it.
    callbacks
        Functions of a `StepInfo`, called at each check; one that returns True ends the run.
    n_jobs
        Threads; None: all cores the process may use.

    Attributes
    ----------
    embedding_
        (n, n_components).
    n_iter_, history_, encoder_
        Steps done; loss, gradient norm, rate and exaggeration at each check; the trained encoder or None.

    References
    ----------
    Van Assel et al. (2024) TorchDR.

    Examples
    --------
    >>> ne.NeighborEmbedding(ne.EntropicAffinity(30), ne.StudentAffinity(), optimizer="auto", lr="auto", max_iter=150)
    """

    _preset = "neighbor_embedding"

    @hides_aliases
    def __init__(
        self,
        affinity_in: Any,
        affinity_out: Any,
        kwargs_affinity_out: dict[str, Any] | None = None,
        n_components: int = 2,
        lr: float | str = 1.0,
        optimizer: Any = "SGD",
        optimizer_kwargs: dict[str, Any] | str = "auto",
        scheduler: Any = None,
        scheduler_kwargs: dict[str, Any] | None = None,
        min_grad_norm: float = 1e-7,
        max_iter: int = 2000,
        init: Any = "pca",
        init_scaling: float | None = None,
        device: Any = "auto",
        backend: str | None = None,
        verbose: bool = False,
        random_state: Any = None,
        early_exaggeration_coeff: float = 1.0,
        early_exaggeration_iter: int | None = None,
        *,
        repulsion_strength: float = 1.0,
        check_interval: int = 10,
        process_duplicates: bool = True,
        encoder: torch.nn.Module | None = None,
        max_grad_norm: float | None = None,
        callbacks: Sequence[Any] | None = None,
        n_jobs: int | None = None,
        **aliases: Any,
    ) -> None:
        self._take(dict(locals()), aliases)

    def _adjusted(self) -> dict[str, Any]:
        changed = {"early_exaggeration_iter": self.early_exaggeration_iter or 0}
        return changed | _scaling(self)


class AffinityMatcher(Embedder):
    """Embedding by a loss between an input affinity P, as it is defined, and an output affinity Q, both dense.

    Parameters
    ----------
    affinity_in, affinity_out, kwargs_affinity_out
        As in `NeighborEmbedding`. P is not symmetrised; Q sums to 1 over all pairs, or to 1 / n in each row where it is
        normalised by row. i = j is left out.
    loss_fn, kwargs_loss
        "square_loss", "cross_entropy_loss", "binary_cross_entropy_loss" (arguments `negative_weight`, `eps`), or a
        function of P and log Q, (n, n) tensors; and its arguments. Q stays in the log domain where the loss does.
    n_components, optimizer, optimizer_kwargs, lr, scheduler, scheduler_kwargs, min_grad_norm, max_iter, init, \
init_scaling, device, backend, verbose, random_state, check_interval, encoder, max_grad_norm, callbacks, n_jobs
        As in `NeighborEmbedding`; gradients are autograd's. Up to 10 000 cells.
    """

    _preset = "affinity_matcher"

    @hides_aliases
    def __init__(
        self,
        affinity_in: Any,
        affinity_out: Any,
        kwargs_affinity_out: dict[str, Any] | None = None,
        n_components: int = 2,
        loss_fn: Any = "square_loss",
        kwargs_loss: dict[str, Any] | None = None,
        optimizer: Any = "Adam",
        optimizer_kwargs: dict[str, Any] | str | None = None,
        lr: float | str = 1.0,
        scheduler: Any = None,
        scheduler_kwargs: dict[str, Any] | None = None,
        min_grad_norm: float = 1e-7,
        max_iter: int = 1000,
        init: Any = "pca",
        init_scaling: float | None = None,
        device: Any = "auto",
        backend: str | None = None,
        verbose: bool = False,
        random_state: Any = None,
        *,
        check_interval: int = 10,
        encoder: torch.nn.Module | None = None,
        max_grad_norm: float | None = None,
        callbacks: Sequence[Any] | None = None,
        n_jobs: int | None = None,
        **aliases: Any,
    ) -> None:
        self._take(dict(locals()), aliases)

    def _adjusted(self) -> dict[str, Any]:
        return _scaling(self)


def _scaling(estimator: Any) -> dict[str, Any]:
    """Starts are scaled, but for that of an encoder, which is what it makes."""
    is_usual = estimator.init_scaling is None and estimator.encoder is None
    return {"init_scaling": USUAL_SCALING} if is_usual else {}
