"""`pl.embedding`: scanpy's scatter plot of an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import _compat, _keys
from ._figure import is_shown, save_figure

RASTER_CELLS = 100_000  # above, points are drawn as an image also in vector formats
SCANPY_NAMES = ("X_tsne", "X_umap")  # whose axes scanpy has names for


def embedding(adata: AnnData, key: str = "ne", *, color: Any = None, **kwargs: Any) -> Any:
    """Scatter plot of an embedding, drawn by `scanpy.pl.embedding`.

    Axes are named NE1, NE2 and have equal scales; an embedding in one dimension is drawn as a strip with seeded jitter;
    points above 100 000 cells are rasterised.

    Parameters
    ----------
    adata
        Annotated data with a result of this package. Only scanpy's own colors are written to it.
    key
        Name of the result, with or without `X_`.
    color
        Keys of `.obs` or genes to color by.
    **kwargs
        Parameters of `scanpy.pl.embedding`.

    Returns
    -------
    What `scanpy.pl.embedding` returns: axes where `show=False`, a figure where `return_fig=True`, else None.

    Raises
    ------
    KeyError
        Where there is no such result; lists those that exist.
    """
    slots = _keys.result_of(adata, key)
    n_components = adata.obsm[slots.obsm].shape[1]
    shown = adata if n_components > 1 else _strip(adata, slots.obsm)
    show, save = kwargs.pop("show", None), kwargs.pop("save", None)
    basis = slots.obsm.removeprefix("X_") if slots.obsm in SCANPY_NAMES else slots.obsm
    drawn = _compat.scanpy_embedding_plot()(shown, basis, color=color, show=False, **kwargs)
    for name in set(shown.uns) - set(adata.uns):
        adata.uns[name] = shown.uns[name]  # the colors of a strip
    axes = drawn.axes if isinstance(drawn, Figure) else list(np.ravel(drawn))
    for ax in axes:
        if ax.get_xlabel():  # a panel, not a color bar
            _dress(ax, slots, n_components, many=adata.n_obs > RASTER_CELLS)
    save_figure(axes[0].get_figure(), slots.uns, save)
    if isinstance(drawn, Figure):
        return drawn
    return None if is_shown(show) else drawn


def _strip(adata: AnnData, obsm: str) -> AnnData:
    """The same data with a second, random coordinate, so that cells in one dimension do not hide each other."""
    points = np.asarray(adata.obsm[obsm])
    jitter = np.random.default_rng(0).uniform(-1, 1, size=points.shape)
    strip = AnnData(adata.X, obs=adata.obs, var=adata.var, uns=dict(adata.uns), layers=dict(adata.layers))
    strip.obsm[obsm] = np.hstack([points, jitter])
    strip.raw = adata.raw
    return strip


def _dress(ax: Axes, slots: _keys.Slots, n_components: int, *, many: bool) -> None:
    if slots.obsm not in SCANPY_NAMES:
        ax.set_xlabel(f"NE{ax.get_xlabel()[-1]}")
        ax.set_ylabel(f"NE{ax.get_ylabel()[-1]}")
    if n_components == 1:
        ax.set_ylabel("")
        ax.set_ylim(-4, 4)
    elif ax.name != "3d":
        ax.set_aspect("equal", adjustable="datalim")
    for collection in ax.collections:
        collection.set_rasterized(many or collection.get_rasterized())
