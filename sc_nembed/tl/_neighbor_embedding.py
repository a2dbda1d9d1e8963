"""`tl.neighbor_embedding`: AnnData in, AnnData out; everything in between is the engine's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from anndata import AnnData

from .. import _keys
from .._compat import loaded_scanpy
from .._input.source import find_source
from ..engine.affinity import as_affinity
from ..engine.compute import backend
from ..engine.compute.counter_rng import seed_of
from ..engine.config import ALIASES as CONFIG_ALIASES
from ..engine.config import EmbeddingConfig
from ..engine.initialization import NAMES as INIT_NAMES
from ..engine.pipeline import embed
from ..engine.presets import resolve_method, with_options
from ._result import check_slots, record_of, write

_UNGIVEN = {"random_state": 0}  # defaults other than None of parameters that have an alias
ALIASES = CONFIG_ALIASES | {"rng": "random_state"}


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
    random_state: Any = 0,
    callbacks: Sequence[Callable] = (),
    key_added: str | None = None,
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
    return run(dict(locals()), _keys.slots(key_added))


def run_method(
    method: str, adata: AnnData, slots: _keys.Slots, given: dict[str, Any], *, replaces: bool
) -> AnnData | None:
    """`run` for a function whose method is in its name."""
    if "method" in given:
        raise TypeError(f"`tl.{method}` has no parameter `method`; use `tl.neighbor_embedding` for other methods.")
    bound = inspect.signature(neighbor_embedding).bind(adata, method=method, **given)
    bound.apply_defaults()
    return run(bound.arguments, slots, replaces=replaces)


_CONFIG_FIELDS = {item.name for item in fields(EmbeddingConfig)} - {"method", "verbose"}


def run(arguments: dict[str, Any], slots: _keys.Slots, *, replaces: bool = False) -> AnnData | None:
    """The way of every tool, from the arguments of `neighbor_embedding`; `replaces` allows slots that are not ours."""
    adata, verbose = arguments["adata"], arguments["verbose"]
    if not isinstance(adata, AnnData):
        raise TypeError(f"Expected an AnnData; got {type(adata).__name__}.")
    config = _config(adata, arguments)
    source = {name: arguments[name] for name in ("use_rep", "n_pcs", "neighbors_key", "obsp")}
    with backend.session(backend.resolve_n_jobs(config.n_jobs)):
        found = find_source(adata, config, **source)
    reference = _obsm_key(adata, arguments["reference"])
    found = replace(found, names=found.names | ({reference} - {None}))
    columns = {} if config.density_strength is None else _keys.columns(slots)
    check_slots(adata, slots, found, replaces, columns)
    start = _say(verbose, f"computing neighbor embedding ({config.method}) of {found.said}")
    callbacks = (arguments["callbacks"],) if callable(arguments["callbacks"]) else tuple(arguments["callbacks"])
    result = embed(found.data, config, features=found.features, callbacks=callbacks)
    if isinstance(config.init, str) and config.init == "pca" and result.config.init != "pca":
        _say(verbose, f"    there is no representation to start from by PCA: the start is {result.config.init}")
    target = adata.copy() if arguments["copy"] else adata
    write(target, slots, result, record_of(result, found, source | {"reference": reference}), columns)
    if result.encoder is not None:
        config.encoder.load_state_dict(result.encoder.state_dict())
    added = (
        f"added\n    {slots.obsm!r}, coordinates (adata.obsm)\n    {slots.uns!r}, parameters and history (adata.uns)"
    )
    added += "".join(f"\n    {column!r}, log local radii (adata.obs)" for column in columns.values())
    _say(verbose, "    finished", time=start, deep=added)
    return target if arguments["copy"] else None


def _config(adata: AnnData, arguments: dict[str, Any]) -> EmbeddingConfig:
    """What the engine is asked to do: the preset, with what was given put over it."""
    given = {name: value for name, value in arguments.items() if name in _CONFIG_FIELDS and value is not None}
    given["random_state"] = arguments["random_state"]
    given, options = _without_aliases(given, arguments["method_options"])
    preset = resolve_method(arguments["method"])
    given["random_state"] = seed_of(given["random_state"])
    shape = (adata.n_obs, given.get("n_components", preset.n_components))
    given["init"] = _layout(adata, "init", given.get("init", preset.init), shape, INIT_NAMES)
    if "reference" in given:
        given["reference"] = _layout(adata, "reference", given["reference"], shape)
    scanpy, verbose = loaded_scanpy(), arguments["verbose"]
    if scanpy is not None and scanpy.settings.n_jobs != 1:
        given.setdefault("n_jobs", scanpy.settings.n_jobs)
    given["affinity_in"] = as_affinity(given.get("affinity_in"))
    if verbose is None:
        verbose = scanpy is not None and scanpy.settings.verbosity >= 3
    given["verbose"] = bool(verbose)
    return with_options(replace(preset, **given), options)


def _without_aliases(given: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    options = dict(options)
    for alias, name in ALIASES.items():
        if alias not in options:
            continue
        if given.get(name, _UNGIVEN.get(name)) != _UNGIVEN.get(name):
            raise TypeError(f"`{alias}` is another name of `{name}`; give one of them.")
        value = options.pop(alias)
        if value is not None or name == "random_state":
            given[name] = value
    return given, options


def _obsm_key(adata: AnnData, given: Any) -> str | None:
    """The key of `.obsm` that a name stands for, with or without X_."""
    keys = [key for key in (given, f"X_{given}") if key in adata.obsm] if isinstance(given, str) else []
    return keys[0] if keys else None


def _layout(adata: AnnData, parameter: str, given: Any, shape: tuple[int, int], names: Sequence[str] = ()) -> Any:
    """A name the engine knows, or an array of the right shape."""
    if isinstance(given, str):
        if given in names:
            return given
        key = _obsm_key(adata, given)
        if key is None:
            known = f"{list(names)}, " if names else ""
            raise ValueError(
                f"Unknown `{parameter}` {given!r}; available: {known}the keys of .obsm {list(adata.obsm)}, or an array."
            )
        given = adata.obsm[key]
    array = np.array(given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given, dtype=np.float32)
    if array.shape != shape:
        hint = f" Take its first columns, array[:, :{shape[1]}]?" if array.shape[:1] == shape[:1] else ""
        raise ValueError(f"`{parameter}` must have the shape (cells, n_components) = {shape}; got {array.shape}.{hint}")
    if not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array).all(1))
        raise ValueError(f"`{parameter}` has NaN or infinite values in {rows.size} cells, the first in row {rows[0]}.")
    return array


def _say(verbose: bool | None, message: str, **kwargs: Any) -> Any:
    """A message in scanpy's form, by scanpy's logger."""
    scanpy = loaded_scanpy()
    return None if verbose is False or scanpy is None else scanpy.logging.info(message, **kwargs)
