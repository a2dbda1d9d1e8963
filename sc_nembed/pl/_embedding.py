"""`pl.embedding`: scanpy's scatter plot of an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from .. import _compat, _keys
from ._figure import is_shown, save_figure
from ._panels import TOTAL_AREA, Panel, dress_in_space, in_scanpys_terms, panels

RASTER_CELLS = 100_000  # above, points are drawn as an image also in vector formats
STRIP_ASPECT = 0.35  # height of a strip over its length
SCANPY_NAMES = ("X_tsne", "X_umap")  # whose axes scanpy has names for


def embedding(adata: AnnData, key: str = "ne", *, color: Any = None, **kwargs: Any) -> Any:
    """Scatter plot of an embedding, drawn by `scanpy.pl.embedding`.

    Axes are named NE1, NE2, NE3 and have equal scales. An embedding in one dimension is drawn as a strip with seeded
    jitter, one in three dimensions in space; of more dimensions the first two are drawn. Points above 100 000 cells are
    rasterised.

    Parameters
    ----------
    adata
        Annotated data with a result of this package. Only scanpy's own colors are written to it.
    key
        Name of the result, with or without `X_`.
    color
        Keys of `.obs` or genes to color by.
    **kwargs
        Parameters of `scanpy.pl.embedding`. Where `projection` is not given, there are as many axes as `dimensions` or
        `components` names; where these are not given either, three for a result in three dimensions, else two.

    Returns
    -------
    What `scanpy.pl.embedding` returns: axes where `show=False`, a figure where `return_fig=True`, else None.

    Raises
    ------
    KeyError
        Where there is no such result; lists those that exist.
    ValueError
        For dimensions that the result does not have, and for what cannot be drawn in space: `edges`, `arrows`,
        `add_outline`, `scale_factor`, or flat `ax`.
    """
    slots = _keys.result_of(adata, key)
    n_components = adata.obsm[slots.obsm].shape[1]
    shown = adata if n_components > 1 else _strip(adata, slots.obsm, kwargs)
    points = np.asarray(shown.obsm[slots.obsm])
    show, save, return_fig = (kwargs.pop(name, None) for name in ("show", "save", "return_fig"))
    chosen = (kwargs.pop(name, None) for name in ("components", "dimensions", "projection"))
    parts = panels(color, *chosen, points.shape[1])
    in_space = len(parts[0].dimensions) == 3
    given = in_scanpys_terms(kwargs) if in_space else kwargs
    if n_components == 1 and given.get("size") is None and "s" not in given:
        given["size"] = STRIP_ASPECT * TOTAL_AREA / adata.n_obs
    basis = slots.obsm.removeprefix("X_") if slots.obsm in SCANPY_NAMES else slots.obsm
    drawn = _compat.scanpy_embedding_plot()(
        shown, basis, color=[part.color for part in parts], dimensions=[part.dimensions for part in parts],
        projection="3d" if in_space else "2d", show=False, **given,
    )  # fmt: skip
    for name in set(shown.uns) - set(adata.uns):
        adata.uns[name] = shown.uns[name]  # the colors of a strip
    for ax, part in zip(np.ravel(drawn), parts, strict=True):
        if slots.obsm not in SCANPY_NAMES:
            _name_axes(ax, part)
        if in_space:
            dress_in_space(ax, points[:, part.dimensions], shown, part, kwargs)
        else:
            _dress(ax, n_components)
        for collection in ax.collections:
            collection.set_rasterized(adata.n_obs > RASTER_CELLS or collection.get_rasterized())
    figure = np.ravel(drawn)[0].get_figure()
    save_figure(figure, slots.uns, save)
    if return_fig:
        return figure
    return None if is_shown(show) else drawn


def _strip(adata: AnnData, obsm: str, options: dict[str, Any]) -> AnnData:
    """The same data with a second, random coordinate, so that cells in one dimension do not hide each other."""
    given = sorted({"components", "dimensions", "projection"} & {name for name in options if options[name] is not None})
    if given and options.get("projection") != "2d":
        raise ValueError(f"This result has one dimension and is drawn as a strip, for which {given} cannot be chosen.")
    points = np.asarray(adata.obsm[obsm])
    jitter = np.random.default_rng(0).uniform(-1, 1, size=points.shape)
    raw = None if adata.raw is None else {"X": adata.raw.X, "var": adata.raw.var}
    strip = AnnData(adata.X, obs=adata.obs, var=adata.var, uns=dict(adata.uns), layers=dict(adata.layers), raw=raw)
    strip.obsm[obsm] = np.hstack([points, jitter])
    return strip


def _name_axes(ax: Axes, part: Panel) -> None:
    for place, name in zip(part.dimensions, ("x", "y", "z"), strict=False):
        ax.set(**{f"{name}label": f"NE{place + 1}"})


def _dress(ax: Axes, n_components: int) -> None:
    if n_components > 1:
        ax.set_aspect("equal", adjustable="datalim")
        return
    ax.set_ylabel("")
    ax.set_ylim(-1.4, 1.4)
    ax.set_box_aspect(STRIP_ASPECT)
    bar = ax.collections[0].colorbar
    if bar is not None and bar.orientation == "vertical":
        for either in (ax, bar.ax):
            either.apply_aspect()
        strip, box = ax.get_position(), bar.ax.get_position()
        bar.ax.set_box_aspect(None)
        bar.ax.set_position([box.x0, strip.y0, box.width, strip.height])
