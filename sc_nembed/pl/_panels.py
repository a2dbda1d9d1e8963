"""What each panel of a scatter plot shows, and what scanpy leaves undone in space."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib import patheffects
from matplotlib.axes import Axes

FLAT_ONLY = ("edges", "arrows", "add_outline", "scale_factor")  # parameters that scanpy draws in a plane
TOTAL_AREA = 120_000  # of all points together, as scanpy has it in a plane
SPACE_SHARE = 0.5  # of that in space, since a box fills less of its panel
FLATTEST, ZOOM = (
    0.1,
    1.1,
)  # the least share of the longest side that a side gets; a box fills three quarters of its axes
LABEL_PAD, IN_FRONT = -10, 1_000  # labels of axes without numbers are nearer, those of groups before all points
ASIDE = 0.17  # of a panel's width: room for the label of the third axis, left of a legend or color bar


@dataclass(frozen=True)
class Panel:
    """One scatter plot: what colors the cells, and the dimensions along its axes, counted from 0."""

    color: Any
    dimensions: tuple[int, ...]


def panels(color: Any, components: Any, dimensions: Any, projection: str | None, n_components: int) -> list[Panel]:
    """The panels of a plot, in scanpy's terms.

    Without a projection they have as many axes as dimensions are named; where none are, three of a result in 3-D, else
    two.
    """
    if components is not None and dimensions is not None:
        raise ValueError("`components` and `dimensions` say the same, counted from 1 and from 0; give one of them.")
    if projection not in (None, "2d", "3d"):
        raise ValueError(f"`projection` must be '2d' or '3d'; got {projection!r}.")
    n_axes = {"2d": 2, "3d": 3}.get(projection)
    named = _named(components, dimensions, n_axes or 2, n_components)
    if named is None:
        n_axes = n_axes or (3 if n_components == 3 else 2)
        named = [tuple(range(n_axes))]
    n_axes = n_axes or len(named[0])
    for one in named:
        if len(one) != n_axes or n_axes not in (2, 3) or not set(one) <= set(range(n_components)):
            raise ValueError(
                f"A panel shows 2 or, with projection='3d', 3 of the {n_components} dimension(s) of this result; got "
                f"{[place + 1 for place in one]} (counted from 1)."
            )
    colors = [color] if color is None or isinstance(color, str) else list(color)
    if components is not None:
        return [Panel(*both) for both in product(colors, named)]
    many = max(len(colors), len(named))
    if {len(colors), len(named)} - {1, many}:
        raise ValueError(f"`color` names {len(colors)} panels and `dimensions` {len(named)}; give one, or as many.")
    return [Panel(colors[i % len(colors)], named[i % len(named)]) for i in range(many)]


def _named(components: Any, dimensions: Any, n_axes: int, n_components: int) -> list[tuple[int, ...]] | None:
    """The dimensions of each panel as the caller names them, if he does."""
    if components == "all":
        return list(combinations(range(n_components), n_axes))
    if components is not None:
        texts = [components] if isinstance(components, str) else components
        return [tuple(int(part) - 1 for part in text.split(",")) for text in texts]
    if dimensions is None:
        return None
    several = dimensions if np.ndim(dimensions[0]) else [dimensions]
    return [tuple(int(place) for place in one) for one in several]


def in_scanpys_terms(options: dict[str, Any]) -> dict[str, Any]:
    """The options for scanpy of a plot in space, without what it would draw wrongly or fail at there."""
    flat = [name for name in FLAT_ONLY if options.get(name)]
    if flat:
        raise ValueError(f"{flat} cannot be drawn in three dimensions. Use projection='2d'.")
    ax = options.get("ax")
    if ax is not None and ax.name != "3d":
        raise ValueError(
            "This embedding is drawn in three dimensions, and `ax` has two. Make it with "
            "plt.subplots(subplot_kw={'projection': '3d'}), or use projection='2d'."
        )
    given = {name: value for name, value in options.items() if name not in ("size", "s")}
    if options.get("legend_loc") == "on data":
        given["legend_loc"] = None
    return given | ({"sort_order": False} if np.ndim(_size(options)) else {})  # or its sizes would go astray


def _size(options: dict[str, Any]) -> Any:
    return options.get("s") if options.get("size") is None else options["size"]


def dress_in_space(ax: Axes, points: np.ndarray, adata: AnnData, part: Panel, options: dict[str, Any]) -> None:
    """Equal scales, sizes as in a plane, and labels where they belong; `points` are (n, 3)."""
    spans, size = np.ptp(points, axis=0), _size(options)
    ax.set_box_aspect(np.maximum(spans, FLATTEST * spans.max()), zoom=ZOOM)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.labelpad = LABEL_PAD
    ax.collections[0].set_sizes(np.atleast_1d(SPACE_SHARE * TOTAL_AREA / len(points) if size is None else size))
    if options.get("legend_loc") == "on data" and part.color in adata.obs and adata.obs[part.color].dtype == "category":
        _label_groups(ax, points, adata.obs[part.color], options)
    if ax.get_legend() is not None and options.get("legend_loc", "right margin") == "right margin":
        ax.get_legend().set_bbox_to_anchor((1 + ASIDE, 0.5))
    bar = ax.collections[0].colorbar
    if bar is not None and options.get("colorbar_loc", "right") == "right":
        box = bar.ax.get_position()
        bar.ax.set_position([box.x0 + ASIDE * ax.get_position().width, box.y0, box.width, box.height])


def _label_groups(ax: Axes, points: np.ndarray, groups: pd.Series, options: dict[str, Any]) -> None:
    """The name of each group at the median of its cells; scanpy knows two coordinates of it."""
    width, shown = options.get("legend_fontoutline"), options.get("groups")
    effects = None if width is None else [patheffects.withStroke(linewidth=width, foreground="w")]
    shown = groups.cat.categories if shown is None else [shown] if isinstance(shown, str) else shown
    for name in shown:
        members = points[(groups == name).to_numpy()]
        if len(members):
            ax.text(
                *np.median(members, axis=0), name, weight=options.get("legend_fontweight", "bold"),
                fontsize=options.get("legend_fontsize"), path_effects=effects, ha="center", va="center",
                zorder=IN_FRONT,
            )  # fmt: skip
