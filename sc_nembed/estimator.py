"""scikit-learn's way to the same engine: parameters in, `embedding_` out. No computation happens here.

numpy in, numpy out; a torch tensor gives a tensor of its dtype on its device. `fit` sets `embedding_`, (n,
n_components), `n_iter_`, `history_` (a dict of arrays, one entry per check), `per_cell_` (a dict of arrays, one entry
per cell; with `density`, log local radii "rad_orig" and "rad_emb") and, with an encoder, `encoder_`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from .engine.affinity import PrecomputedAffinity, as_affinity
from .engine.cells import MIN_CELLS
from .engine.config import ALIASES, EmbeddingConfig
from .engine.draws import seed_of
from .engine.pipeline import embed
from .engine.presets import resolve_method, with_options

SPARSE = ("csr", "csc", "coo")


class _Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the classes share; each names its preset and lists its parameters."""

    _preset: str

    def _take(self, given: dict[str, Any], others: dict[str, Any]) -> None:
        """Keep the arguments of a constructor, aliases among the `others` under their usual names."""
        usual = _defaults(type(self))
        unknown = sorted(name for name in others if ALIASES.get(name, name) not in usual)
        if unknown:
            aliases = sorted(alias for alias, name in ALIASES.items() if name in usual)
            available = sorted([*usual, *aliases])
            raise TypeError(f"{type(self).__name__} has no parameter {unknown}; available: {available}.")
        for name, default in usual.items():
            setattr(self, name, given.get(name, default))
        for alias in set(ALIASES) & set(others):
            name = ALIASES[alias]
            if name in given and given[name] is not usual[name]:
                raise TypeError(f"`{alias}` is another name of `{name}`; give one of them.")
            setattr(self, name, others[alias])

    def set_params(self, **params: Any) -> _Embedder:
        """Set parameters by name or alias.

        Raises
        ------
        ValueError, TypeError
            For a name that does not exist, and for both names of one parameter.
        """
        for alias, name in ALIASES.items():
            if alias in params and name in self.get_params(deep=False):
                if name in params:
                    raise TypeError(f"`{alias}` is another name of `{name}`; give one of them.")
                params[name] = params.pop(alias)
        return super().set_params(**params)

    def fit(self, X: Any, y: None = None) -> _Embedder:
        """Embed the rows of X, (n, d) features, or (n, n) affinities where `affinity_in` is "precomputed"."""
        self._embed(X)
        return self

    def fit_transform(self, X: Any, y: None = None) -> Any:
        """Embed the rows of X and return `embedding_`."""
        return self._embed(X)

    def transform(self, X: Any) -> Any:
        """Positions of new cells, (m, n_components), by the trained encoder; without an encoder it is missing."""
        check_is_fitted(self)
        is_tensor = isinstance(X, torch.Tensor)
        if not is_tensor:
            X = validate_data(self, X, reset=False, accept_sparse=SPARSE, dtype=(np.float64, np.float32))
        first = next(self.encoder_.parameters())
        with torch.no_grad():
            made = self.encoder_(as_tensor(X).to(first.device, first.dtype)).to(_precision(X))
        return made.to(X.device) if is_tensor else made.cpu().numpy()

    def _embed(self, X: Any) -> Any:
        settings = self.get_params(deep=False) | self._adjusted()
        callbacks = settings.pop("callbacks") or ()
        is_tensor, pairwise = isinstance(X, torch.Tensor), self._is_pairwise()
        if not is_tensor:
            X = validate_data(
                self, X, accept_sparse=SPARSE, dtype=(np.float64, np.float32),
                ensure_min_samples=MIN_CELLS, ensure_non_negative=pairwise,
            )  # fmt: skip
        else:
            self.n_features_in_ = X.shape[-1]
            vars(self).pop("feature_names_in_", None)  # of an earlier fit
            if settings["device"] == "auto":
                settings["device"] = X.device
        config = self._config(settings, _precision(X))
        source = PrecomputedAffinity(X)(symmetric=config.symmetric) if pairwise else as_tensor(X)
        result = embed(source, config, callbacks=(callbacks,) if callable(callbacks) else tuple(callbacks))
        self.embedding_ = result.embedding.to(X.device) if is_tensor else result.embedding.cpu().numpy()
        self.n_iter_, self.history_, self.encoder_ = result.n_iter, result.history, result.encoder
        self.per_cell_ = {name: values.cpu().numpy() for name, values in result.per_cell.items()}
        if self.encoder_ is not None:
            self.encoder_.eval()  # new cells do not train it, and may come one by one
        self._n_features_out = self.embedding_.shape[1]
        return self.embedding_

    def _is_pairwise(self) -> bool:
        """Whether X holds affinities of cells by cells."""
        given = self.get_params(deep=False).get("affinity_in")
        return isinstance(given, str) and given.lower() == "precomputed"

    def _adjusted(self) -> dict[str, Any]:
        """Parameters that mean something else to the engine."""
        return {}

    def _config(self, settings: dict[str, Any], dtype: torch.dtype) -> EmbeddingConfig:
        preset = resolve_method(self._preset)
        settings["random_state"] = seed_of(settings["random_state"])
        settings["affinity_in"] = None if self._is_pairwise() else as_affinity(settings["affinity_in"])
        if settings["init"] is not None and not isinstance(settings["init"], str | torch.Tensor):
            settings["init"] = torch.from_numpy(np.array(settings["init"]))
        given = {name: value for name, value in settings.items() if value is not None}
        options = {name: given.pop(name) for name in list(given) if name in preset.option_names}
        return with_options(replace(preset, **given, dtype=dtype), options)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = tags.input_tags.positive_only = self._is_pairwise()
        tags.transformer_tags.preserves_dtype = []
        return tags


# only here: scikit-learn wraps the methods of a new class for `set_output`, which would hide the condition
_Embedder.transform = available_if(lambda self: self.encoder is not None)(_Embedder.transform)


def as_tensor(X: Any) -> torch.Tensor:
    return X if isinstance(X, torch.Tensor) else torch.from_numpy(X.toarray() if sp.issparse(X) else np.array(X))


def _precision(X: Any) -> torch.dtype:
    """Of the positions: float64 for tensors of that type alone."""
    return torch.float64 if isinstance(X, torch.Tensor) and X.dtype == torch.float64 else torch.float32


def _without_aliases(constructor: Any) -> Any:
    """A constructor whose signature lists parameters alone, as scikit-learn reads it; its aliases are still taken."""
    signature = inspect.signature(constructor)
    listed = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
    constructor.__signature__ = signature.replace(parameters=listed)
    return constructor


def _defaults(kind: type) -> dict[str, Any]:
    """The parameters of a class and their defaults."""
    return {item.name: item.default for item in inspect.signature(kind).parameters.values()}


class NeighborEmbedding(_Embedder):
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
        the first column has the standard deviation `init_scaling`.
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

    @_without_aliases
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
        init_scaling: float = 1e-4,
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
        return changed | _start_of_encoder(self)


class AffinityMatcher(_Embedder):
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

    @_without_aliases
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
        init_scaling: float = 1e-4,
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
        return _start_of_encoder(self)


def _start_of_encoder(estimator: Any) -> dict[str, Any]:
    """An encoder makes the start itself: the usual scaling is then not asked for."""
    return {"init_scaling": None} if estimator.encoder is not None and estimator.init_scaling == 1e-4 else {}


class _Method(_Embedder):
    """A method of `tl.neighbor_embedding` as a class: its preset, with the parameters under the names they have there.

    None means what the preset says. The signature is the common parameters and the options of the method.
    """

    _common: ClassVar[dict[str, Any]] = dict.fromkeys(
        (
            "n_components", "affinity_in", "affinity_out", "kwargs_affinity_out", "perplexity", "n_neighbors", "metric",
            "lr", "optimizer", "optimizer_kwargs", "scheduler", "scheduler_kwargs", "min_grad_norm", "max_iter",
            "check_interval", "init", "init_scaling", "early_exaggeration_coeff", "early_exaggeration_iter",
            "exaggeration", "repulsion_strength", "process_duplicates", "encoder", "max_grad_norm", "reference",
            "reference_strength", "density", "backend",
        )
    ) | {"device": "auto", "n_jobs": None, "verbose": False, "random_state": 0, "callbacks": None}  # fmt: skip
    _options: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            return

        def __init__(self, **given: Any) -> None:
            self._take(given, given)

        kinds = inspect.Parameter
        names = [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in (cls._options | cls._common).items()]
        __init__.__signature__ = inspect.Signature([kinds("self", kinds.POSITIONAL_OR_KEYWORD), *names])
        cls.__init__ = __init__


class TSNE(_Method):
    """t-SNE (van der Maaten & Hinton 2008): `tl.neighbor_embedding(method="tsne")` for arrays and tensors.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors. None: 30, and above 200 000 cells uniform affinities of 15 neighbors.
    dof
        Degrees of freedom of the Student kernel, 1.
    race
        Whether two early phases are raced; None: up to 200 000 cells where the schedule is left alone.
    tolerance
        Relative error of the forces on the grid; None: by the number of cells.
    **common
        All parameters of `tl.neighbor_embedding` that do not concern AnnData, with its defaults; `init` arrays are kept
        as they are unless `init_scaling` is given. With `affinity_in="precomputed"`, `fit` is given P.

    Attributes
    ----------
    embedding_, n_iter_, history_, encoder_
        As in `NeighborEmbedding`.
    per_cell_
        With `density`, log local radii in the data, "rad_orig", and in the embedding, "rad_emb".
    """

    _preset = "tsne"
    _options: ClassVar = {"dof": None, "race": None, "tolerance": None}


class SNE(_Method):
    """SNE (Hinton & Roweis 2002): Gaussian output affinities, each row a distribution.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors. None: 30, and above 200 000 cells uniform affinities of 15 neighbors.
    sigma
        Of the Gaussian exp(−d² / sigma), 1.
    tolerance
        Relative error of the forces on the grid; None: by the number of cells.
    **common
        As in `TSNE`.
    """

    _preset = "sne"
    _options: ClassVar = {"sigma": None, "tolerance": None}


class TSNEkhorn(_Method):
    """TSNEkhorn (Van Assel et al. 2023): t-SNE whose P and Q are both doubly stochastic, so that no cell is a hub.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors of each cell in the symmetric entropic affinity, 30; up to 10 000 cells. With
        `n_neighbors` or another `affinity_in` the rows of Q sum to those of that P.
    dof
        Degrees of freedom of the Student kernel, 1.
    tolerance
        Relative error of the forces on the grid; None: by the number of cells.
    **common
        As in `TSNE`.
    """

    _preset = "tsnekhorn"
    _options: ClassVar = {"dof": None, "tolerance": None}


class COSNE(_Method):
    """CO-SNE (Guo, Guo & Yu 2022): t-SNE in the Poincaré ball, where what is far from the origin has room to spread.

    `embedding_` lies in the open unit ball, where the distance of y and z is arcosh(1 + 2 ‖y − z‖² / ((1 − ‖y‖²)
    (1 − ‖z‖²))). Up to 10 000 cells.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors, 30.
    gamma
        Scale of the Cauchy kernel 1 / (1 + d² / gamma²), in hyperbolic distances, 0.5. TorchDR has 2, and 0.5 for
        single cells.
    norm_strength
        Weight of the mean of (‖x‖² − d²)², d the distance of a cell from the origin, 0.01: what is small in the data
        stays near the origin. TorchDR calls it `learning_rate_for_h_loss` and has 1, and 0.01 for single cells.
    norm_scale
        Factor on the norms ‖x‖; 1 takes the features as they are, as TorchDR does. None: their root mean square becomes
        2.
    lr
        Distance that a cell moves in a step at most, about; "auto" is 0.1, falling to 0.01.
    init, init_scaling
        As in `TSNE`, "hyperbolic" by default, by distances and directions from the origin, whose first coordinate has
        the standard deviation `init_scaling`, 1. Arrays must lie in the open unit ball.
    **common
        As in `TSNE`; `optimizer` is Riemannian Adam, with `optimizer_kwargs` `betas` and `eps`.
    """

    _preset = "cosne"
    _options: ClassVar = {"gamma": None, "norm_strength": None, "norm_scale": None}


class UMAP(_Method):
    """UMAP (McInnes et al. 2018), by default without sampling (Damrich & Hamprecht 2021).

    Parameters
    ----------
    n_neighbors
        Neighbors of the fuzzy set, the cell itself counted, 15.
    min_dist, spread
        What the kernel is fitted to, 0.5 and 1; or its `a` and `b`.
    negative_sample_rate
        Cells drawn for each edge that is sampled, or their number in the expected repulsion, 5.
    repulsion
        "expected" (default) or "sampled", as umap-learn does.
    exclude_neighbors
        Never draw a neighbor; for "sampled".
    **common
        As in `TSNE`.
    """

    _preset = "umap"
    _options: ClassVar = {
        "min_dist": None, "spread": None, "a": None, "b": None, "negative_sample_rate": None, "repulsion": None,
        "exclude_neighbors": None,
    }  # fmt: skip


class NegTSNE(_Method):
    """t-SNE's kernel by negative sampling (Damrich et al. 2023), see `engine.presets.neg_tsne`.

    Parameters
    ----------
    n_neighbors
        Neighbors, the cell itself counted, 15; of uniform affinity.
    n_negatives
        Cells a cell is told apart from in each step, 5.
    repulsion
        "expected" (default): the mean over all draws; or "sampled".
    Z_bar
        The constant that q is divided by; None: n² / 5, as UMAP does. About 100 n is like t-SNE.
    tolerance
        Relative error of the forces on the grid, of an expected repulsion; None: by the number of cells.
    **common
        As in `TSNE`.
    """

    _preset = "neg_tsne"
    _options: ClassVar = {"n_negatives": None, "repulsion": None, "Z_bar": None, "tolerance": None}


class NCTSNE(_Method):
    """t-SNE's kernel by noise-contrastive estimation (Artemenkov & Panov 2020), see `engine.presets.nc_tsne`.

    Parameters
    ----------
    n_neighbors
        Neighbors, the cell itself counted, 15; of uniform affinity.
    n_negatives
        Cells drawn for each cell in each step, 5.
    **common
        As in `TSNE`.
    """

    _preset = "nc_tsne"
    _options: ClassVar = {"n_negatives": None}


class InfoTSNE(_Method):
    """InfoNCE with t-SNE's kernel (Damrich et al. 2023), see `engine.presets.info_tsne`.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors, 30; above 200 000 cells uniform affinities of 15 neighbors.
    n_negatives
        Cells drawn for each cell in each step, 300.
    with_positive
        Whether the denominator holds the neighbor too (default), or the negatives alone.
    **common
        As in `TSNE`.
    """

    _preset = "info_tsne"
    _options: ClassVar = {"n_negatives": None, "with_positive": None}


class LargeVis(_Method):
    """LargeVis (Tang et al. 2016), see `engine.presets.largevis`.

    Parameters
    ----------
    perplexity
        Smooth number of neighbors, 50; above 200 000 cells uniform affinities of 15 neighbors.
    n_negatives
        Cells a cell is told apart from in each step, 5; their weight is `repulsion_strength`, 7.
    repulsion
        "expected" (default): the mean over all draws; or "sampled".
    tolerance
        Relative error of the forces on the grid, of an expected repulsion; None: by the number of cells.
    **common
        As in `TSNE`.
    """

    _preset = "largevis"
    _options: ClassVar = {"n_negatives": None, "repulsion": None, "tolerance": None}


class PACMAP(_Method):
    """PaCMAP (Wang et al. 2021): near and mid-near pairs pull, far pairs push, in three phases.

    Parameters
    ----------
    n_neighbors
        Near pairs of a cell, the cell itself counted; None: 11, above 10 000 cells 15 more for each power of ten.
    MN_ratio, FP_ratio
        Mid-near and far pairs for each near pair, 0.5 and 2.
    **common
        As in `TSNE`; Adam at rate 1 where `optimizer` and `lr` are "auto", 450 steps. `early_exaggeration_coeff`,
        `early_exaggeration_iter`, `exaggeration`, `affinity_out`, `kwargs_affinity_out` and `process_duplicates` have
        no effect and are refused. Affinities alone, `affinity_in="precomputed"`, do not suffice.

    Attributes
    ----------
    embedding_, n_iter_, history_, encoder_
        As in `NeighborEmbedding`.
    """

    _preset = "pacmap"
    _options: ClassVar = {"MN_ratio": None, "FP_ratio": None}


class LocalMAP(_Method):
    """LocalMAP (Wang et al. 2024): PaCMAP whose last phase pulls and pushes cells that are near in the embedding.

    Parameters
    ----------
    n_neighbors, MN_ratio, FP_ratio
        As in `PACMAP`.
    low_dist_thres
        Distance in the embedding within which far pairs are drawn anew, 10; half of it is the strength of the pull.
    **common
        As in `PACMAP`.

    Attributes
    ----------
    embedding_, n_iter_, history_, encoder_
        As in `NeighborEmbedding`.
    """

    _preset = "localmap"
    _options: ClassVar = {"MN_ratio": None, "FP_ratio": None, "low_dist_thres": None}


class ForceAtlas2(_Method):
    """ForceAtlas2 (Jacomy et al. 2014), the layout of `scanpy.tl.draw_graph`: attraction by d, repulsion by 1 / d.

    Parameters
    ----------
    scaling_ratio
        Strength of the repulsion, 2; lengths grow with its root.
    gravity
        Strength of the pull towards the origin, 1; 0 is none.
    n_neighbors
        Neighbors of UMAP's fuzzy set, the cell itself counted, 15.
    **common
        As in `TSNE`.
    """

    _preset = "force_atlas2"
    _options: ClassVar = {"scaling_ratio": None, "gravity": None}
