"""The methods of `tl.neighbor_embedding` as classes: a preset, and the parameters under the names they have there."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from ..engine.configure import WISHES
from ..engine.presets import resolve_method
from ._base import Embedder


class _Method(Embedder):
    """A method of `tl.neighbor_embedding` as a class: its preset, with the parameters under the names they have there.

    None means what the preset says. The signature is the common parameters and the options of the method.
    """

    _common: ClassVar[dict[str, Any]] = dict.fromkeys(name for name in WISHES if name != "dtype") | {
        "device": "auto", "verbose": False, "random_state": 0, "callbacks": None,
    }  # fmt: skip

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            return

        def __init__(self, **given: Any) -> None:
            self._take(given, given)

        kinds = inspect.Parameter
        options = dict.fromkeys(resolve_method(cls._preset).method.option_names)
        names = [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in (options | cls._common).items()]
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
