"""`tl.neighbor_embedding`: AnnData in, AnnData out; everything in between is the engine's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from anndata import AnnData

from .. import _keys
from .._input.source import Named, find_source
from ..engine.config import EmbeddingConfig
from ..engine.configure import USUAL_SEED, configured
from ..engine.pipeline import embed
from ..engine.presets import resolve_method
from ..engine.result import EmbeddingResult
from ._door import from_anndata, obsm_key, say
from ._result import check_slots, record_of, write


def neighbor_embedding(
    adata: AnnData,
    *,
    method: str | EmbeddingConfig = "tsne",
    use_rep: str | None = None,
    n_pcs: int | None = None,
    neighbors_key: str | None = None,
    obsp: str | None = None,
    affinity_in: Any = None,
    affinity_out: Any = None,
    kwargs_affinity_out: dict[str, Any] | None = None,
    perplexity: float | Sequence[float] | None = None,
    n_neighbors: int | None = None,
    metric: str | None = None,
    n_components: int | None = None,
    lr: float | str | None = None,
    optimizer: Any = None,
    optimizer_kwargs: dict[str, Any] | str | None = None,
    scheduler: Any = None,
    scheduler_kwargs: dict[str, Any] | None = None,
    min_grad_norm: float | None = None,
    max_iter: int | None = None,
    check_interval: int | None = None,
    init: Any = None,
    init_scaling: float | str | None = None,
    early_exaggeration_coeff: float | None = None,
    early_exaggeration_iter: int | None = None,
    exaggeration: float | None = None,
    repulsion_strength: float | None = None,
    process_duplicates: bool | None = None,
    encoder: torch.nn.Module | None = None,
    max_grad_norm: float | None = None,
    reference: Any = None,
    reference_strength: float | None = None,
    density: float | bool | None = None,
    backend: str | None = None,
    device: str | torch.device = "auto",
    n_jobs: int | None = None,
    verbose: bool | None = None,
    random_state: Any = USUAL_SEED,
    callbacks: Sequence[Callable] = (),
    key_added: str | _keys.Slots | None = None,
    copy: bool = False,
    **method_options: Any,
) -> AnnData | None:
    """Embed cells so that neighbors stay neighbors: t-SNE and its relatives.

    Minimises −λ Σ P log Q + ρ · L_rep(Q), with P the input affinity, Q the output affinity, λ the exaggeration and ρ
    the repulsion strength. None always means: what the method's preset says.

    Parameters
    ----------
    adata
        Annotated data matrix, cells in rows. A view becomes an actual AnnData; its parent is not touched.
    method
        "tsne", "sne", "tsnekhorn", "cosne" (in the Poincaré ball), "umap", "largevis", "neg_tsne", "nc_tsne",
        "info_tsne", "pacmap", "localmap", "force_atlas2" (the layout of `scanpy.tl.draw_graph`), "neighbor_embedding"
        (any pair of affinities) or "affinity_matcher" (a loss between two dense affinities); case and hyphens do not
        matter. Or an `EmbeddingConfig` made by `sc_nembed.engine.presets`.
    use_rep, n_pcs
        Search neighbors in this representation, a key of `.obsm` or "X", of which the first `n_pcs` columns are used;
        `n_pcs` alone takes `X_pca`, and `n_pcs=0` means X.
    neighbors_key
        Use this graph of `.uns` (from `scanpy.pp.neighbors` or any tool that stores its result alike); nothing is
        searched.
    obsp
        Use this matrix of weights (large = near) of `.obsp` as P, symmetrised and normalised.
    affinity_in
        Input affinity: "entropic", "symmetric_entropic", "uniform", "umap", "self_tuning", "magic", "pacmap",
        "sinkhorn", "doubly_stochastic_quadratic", "normalized_gaussian", "normalized_student", "phate" (for the
        affinity matcher), "precomputed" (with `obsp`), an input affinity such as `sc_nembed.EntropicAffinity(30)`, or a
        sparse or dense matrix of weights, cells by cells.
    affinity_out, kwargs_affinity_out
        Output affinity and its arguments, e.g. `{"dof": 0.5}`: "student", "gaussian", "rational", "negative_distance"
        (for the affinity matcher), an instance or class such as `sc_nembed.GaussianAffinity`, or a function
        `log_q(Z, **kwargs)` of the positions as a tensor, which gives the logarithms of q, (cells, cells). Its
        `normalization` is "all", "row", "sinkhorn" or "none".
    perplexity
        Smooth number of neighbors of an entropic affinity, at least 1; several give the mean of their affinities.
        Three times as many neighbors are searched; where there are fewer it is lowered to a third of them. Where it is
        not given, t-SNE, SNE and CO-SNE take 30, but above 200 000 cells the uniform affinities of 15 neighbors.
        TSNEkhorn's symmetric entropic affinity, also of perplexity 30, is of all pairs of at most 10 000 cells.
    n_neighbors
        Neighbors to search for, the cell itself counted; without a perplexity their affinity is uniform. With "magic"
        and "self_tuning": how many are read; with "pacmap", as for PaCMAP and LocalMAP: how many are chosen, 11 by
        default, among 50 more. With a named graph: keep that many.
    metric
        "euclidean" (default) or "cosine", for a new search.
    n_components
        Number of dimensions, 2 by default. A step takes as long in 1, more in 3; 4 and more use exact sums, up to
        50 000 cells; PaCMAP and LocalMAP need none.
    lr
        Learning rate: a number, constant, or "auto". With `optimizer="auto"` it is dimensionless, about 1. Alias
        `learning_rate`. Of UMAP's sampled epochs it is the first rate, from which they fall to 0. PaCMAP's and
        LocalMAP's is Adam's, 1.
    optimizer, optimizer_kwargs
        "auto" (preconditioned Nesterov; Adam for PaCMAP and LocalMAP), "DeltaBarDelta" (openTSNE's), or any optimizer
        of torch by name or class; and its arguments (for SGD, "auto" means momentum 0.5 in early exaggeration and 0.8
        after).
    scheduler, scheduler_kwargs
        Learning-rate scheduler of torch by name or class, stepped once a step and made anew in each phase, and its
        arguments; "none" for none. `LinearLR` without arguments runs from 1 to 0 over the phase.
    min_grad_norm
        Stop at a check where the Frobenius norm of the gradient is below; 0 never stops.
    max_iter
        All steps of the path kept: 150 by default, 100 for UMAP, 500 for CO-SNE and NC-t-SNE, 200 for InfoTSNE, 450 for
        PaCMAP and LocalMAP, whose phases take 100, 100 and 250 of them, or the same shares of another number; 750 with
        another optimizer than "auto". Sampled: 500, for UMAP above 10 000 cells 200.
    check_interval
        Steps between two checks (history, progress bar, callbacks, stop rules), 10 by default.
    init
        Start: "pca" (default; for a graph of what it was built from, else `X_pca`, else "spectral"), "spectral",
        "random" (= "normal"), "hyperbolic", a key of `.obsm`, or an array (cells, n_components).
    init_scaling
        Standard deviation of the first column of the start, or "range": the largest coordinate is 10. Named starts have
        1e-4 by default, those of UMAP "range", those of ForceAtlas2 about half the size of the layout; arrays and keys
        of `.obsm` are kept as they are unless it is given; "keep" scales nothing.
    early_exaggeration_coeff, early_exaggeration_iter
        λ of the early phase and its number of steps. With `optimizer="auto"` half of them have the full λ and half
        bring it down; 4 over 30 % of the steps by default, 12 over a third of them with other optimizers. UMAP and
        ForceAtlas2 have none by default. Alias `early_exaggeration`.
    exaggeration
        λ of the last phase, 1 by default. PaCMAP and LocalMAP know no exaggeration.
    repulsion_strength
        ρ, 1 by default; for PaCMAP and LocalMAP the weight of far pairs.
    process_duplicates
        Embed equal rows of a representation once, with their number as weight. Off by default, and for graphs and
        matrices, which say themselves what equal cells are to each other.
    encoder
        A torch module from the features of a cell (`use_rep`) to its coordinates, whose parameters are optimised
        instead of the coordinates, by Adam where `optimizer` is "auto". It is trained in place once the run has
        succeeded, and maps new cells afterwards. `init` has no effect then.
    max_grad_norm
        Gradients with a larger Frobenius norm are shortened to it.
    reference, reference_strength
        Pull towards this layout, a key of `.obsm` or an array (cells, n_components), which is centred and at each step
        made as large as the embedding is: the objective plus `reference_strength` · (1 / n) Σ ‖zᵢ − α rᵢ‖², times the
        sum of P. 0.003 by default, 0.01 for UMAP; it acts in all phases. Best started from the same layout (`init`).
    density
        Strength of the correlation of log local radii in the data and in the embedding, which makes sparse groups of
        cells large and dense ones small; it acts in the last 30 % of the steps. True is 2 for UMAP (densMAP), 0.1 for
        others (den-SNE). Distances are those of the graph, else Euclidean ones of its representation.
    backend
        "faiss" searches neighbors with faiss, "keops" exactly with KeOps, which also evaluates the sums over all pairs
        exactly and in linear memory. None chooses (neighbors exact up to 20 000 cells, then faiss; sums exact where
        that is cheaper, else on a grid) and records it.
    device
        "auto" (cuda if present, else cpu), or a torch device.
    n_jobs
        Threads; None: the cores this process may use, or `scanpy.settings.n_jobs` where that is not 1. Results have the
        same bits for any number of threads.
    verbose
        True shows a progress bar, False prints nothing at all, None follows scanpy's verbosity (the bar from 3 on).
    random_state
        Seed: an integer, None, or a numpy generator, of which one draw is made. The integer used is recorded. Alias
        `rng`.
    callbacks
        Functions of a `StepInfo`, called at each check; one that returns True ends the run.
    key_added
        Write `.obsm[key_added]` and `.uns[key_added]` instead of `.obsm["X_ne"]` and `.uns["ne"]`.
    copy
        Return a copy instead of writing into `adata`.
    **method_options
        Options of the method. t-SNE: `dof`, degrees of freedom of the Student kernel; `race`, whether two early phases
        are raced and the one with the better global arrangement is kept (by default for a representation of at most
        200 000 cells whose schedule is left alone); `tolerance`, relative error of the forces on the grid. SNE:
        `sigma`, `tolerance`. TSNEkhorn: `dof`, `tolerance`. CO-SNE: `gamma` (0.5), `norm_strength` (0.01) and
        `norm_scale`, as in `sc_nembed.COSNE`; its coordinates lie in the open unit ball.
        UMAP: `min_dist` (0.5) and `spread` (1), or `a` and `b`; `negative_sample_rate` (5); `repulsion`, "expected"
        (default: without sampling) or "sampled", then `exclude_neighbors`. PaCMAP: `MN_ratio` (0.5) and `FP_ratio` (2),
        mid-near and far pairs for each near one. LocalMAP: the same, and `low_dist_thres` (10), the distance in the
        embedding within which far pairs are drawn anew. Neg-t-SNE, LargeVis: `n_negatives` (5), `repulsion` as for
        UMAP, `tolerance`; Neg-t-SNE: `Z_bar`, the constant that q is divided by. NC-t-SNE: `n_negatives` (5). InfoTSNE:
        `n_negatives` (300), `with_positive` (True), whether the denominator holds the neighbor too. ForceAtlas2:
        `scaling_ratio` (2) and `gravity` (1), the strengths of the repulsion and of the pull to the origin. Affinity
        matcher: `loss_fn` ("square_loss", "cross_entropy_loss", "binary_cross_entropy_loss" or a function of P and
        log Q), `kwargs_loss`.

    Returns
    -------
    None, or the copy where `copy=True`. Sets

    `.obsm["X_ne"]`
        (n_obs, n_components) float32 coordinates.
    `.uns["ne"]`
        `params` (every value that took effect), `input` (what was embedded), `history`, `final` (loss, kl_divergence,
        n_iter, stop_reason, seconds per stage) and `versions`.
    `.obs["ne_rad_orig"]`, `.obs["ne_rad_emb"]`
        With `density`: log local radii in the data and in the embedding, float32, NaN of cells without neighbors. Their
        names are in `.uns["ne"]["obs"]`; the next result under the same key replaces or removes them.

    Raises
    ------
    ValueError, KeyError, TypeError
        For input that does not exist or cannot be embedded, and for parameters that are wrong or have no effect in this
        call; `adata` is then as it was.

    Notes
    -----
    **Input.** (1) `neighbors_key`, (2) `obsp`, (3) `use_rep` or `n_pcs`, (4) `.uns["neighbors"]`, unless `perplexity`,
    `n_neighbors` or `metric` ask for a new search, then the representation that graph was built from, (5)
    `.obsm["X_pca"]`, else a PCA of X with a warning. Of a graph t-SNE reads the pattern of its distances, 1/k per row
    and symmetrised, unless a perplexity is asked for; what was used is logged and recorded. Cells without neighbors are
    set around the others. UMAP and ForceAtlas2 take the connectivities of a graph as they are. PaCMAP and LocalMAP
    choose near pairs among the neighbors of a graph, and draw mid-near ones by distances in the representation it was
    built from, else `X_pca`.

    References
    ----------
    Hinton & Roweis (2002) NIPS 15; van der Maaten & Hinton (2008) JMLR 9:2579; McInnes, Healy & Melville (2018)
    arXiv:1802.03426; Linderman et al. (2019) Nat. Methods 16:243; Kobak & Berens (2019) Nat. Commun. 10:5416; Damrich &
    Hamprecht (2021) NeurIPS 34; Wang, Huang, Rudin & Shaposhnik (2021) JMLR 22:201; Böhm, Berens & Kobak (2022) JMLR
    23:95; Wang et al. (2024) arXiv:2412.15426; Jacomy et al. (2014) PLoS ONE 9:e98679.

    Examples
    --------
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> ne.tl.neighbor_embedding(adata)
    >>> ne.tl.neighbor_embedding(adata, use_rep="X_pca", perplexity=30, key_added="tsne_pca")
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"Expected an AnnData; got {type(adata).__name__}.")
    slots, named = _keys.slots(key_added), Named(use_rep, n_pcs, neighbors_key, obsp)
    wishes = {
        "affinity_in": affinity_in, "affinity_out": affinity_out, "kwargs_affinity_out": kwargs_affinity_out,
        "perplexity": perplexity, "n_neighbors": n_neighbors, "metric": metric, "n_components": n_components, "lr": lr,
        "optimizer": optimizer, "optimizer_kwargs": optimizer_kwargs, "scheduler": scheduler,
        "scheduler_kwargs": scheduler_kwargs, "min_grad_norm": min_grad_norm, "max_iter": max_iter,
        "check_interval": check_interval, "init": init, "init_scaling": init_scaling,
        "early_exaggeration_coeff": early_exaggeration_coeff, "early_exaggeration_iter": early_exaggeration_iter,
        "exaggeration": exaggeration, "repulsion_strength": repulsion_strength,
        "process_duplicates": process_duplicates, "encoder": encoder, "max_grad_norm": max_grad_norm,
        "reference": reference, "reference_strength": reference_strength, "density": density, "backend": backend,
        "device": device, "n_jobs": n_jobs, "random_state": random_state,
    }  # fmt: skip
    given = from_anndata(adata, wishes | method_options, verbose)
    config = configured(resolve_method(method), given, adata.n_obs)
    source = find_source(adata, config, named)
    columns, of_reference = _keys.columns(slots, config.per_cell), _reference(adata, reference)
    check_slots(adata, slots, source.names | set(of_reference.values()), columns)
    start = say(verbose, f"computing neighbor embedding ({config.method.name}) of {source.said}")
    result = embed(source.data, config, features=source.features, callbacks=_listed(callbacks))
    target = adata.copy() if copy else adata
    write(target, slots, result, record_of(result, source, named.given() | of_reference), columns)
    _train(encoder, result)
    _say_what_was_done(verbose, config, result, slots, columns, start)
    return target if copy else None


def _listed(callbacks: Callable | Sequence[Callable]) -> tuple[Callable, ...]:
    return (callbacks,) if callable(callbacks) else tuple(callbacks)


def _reference(adata: AnnData, reference: Any) -> dict[str, str]:
    """The entry of `.obsm` that is pulled to, where one is named."""
    key = obsm_key(adata, reference)
    return {} if key is None else {"reference": key}


def _train(encoder: torch.nn.Module | None, result: EmbeddingResult) -> None:
    """Hand the user's module what the run has found."""
    if encoder is not None:
        encoder.load_state_dict(result.encoder.state_dict())


def _say_what_was_done(
    verbose: bool | None, config: EmbeddingConfig, result: EmbeddingResult, slots: _keys.Slots,
    columns: dict[str, str], start: Any,
) -> None:  # fmt: skip
    if isinstance(config.init, str) and config.init == "pca" and result.used["init"] not in ("pca", "encoder"):
        say(verbose, f"    there is no representation to start from by PCA: the start is {result.used['init']}")
    added = (
        f"added\n    {slots.obsm!r}, coordinates (adata.obsm)\n    {slots.uns!r}, parameters and history (adata.uns)"
    )
    added += "".join(f"\n    {column!r}, log local radii (adata.obs)" for column in columns.values())
    say(verbose, "    finished", time=start, deep=added)
