"""`pl.loss`: the course of an optimization."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import _keys
from ..get._history import history
from ._figure import is_shown, save_figure


def loss(
    adata: AnnData,
    key: str | Sequence[str] = "ne",
    *,
    log: bool = False,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | bool | None = None,
    return_fig: bool | None = None,
) -> Axes | Figure | None:
    """Plot the loss of one or several embeddings against the step.

    The loss is the objective at exaggeration 1 (for t-SNE the KL divergence), so that phases and tools can be compared.
    Where the exaggeration changes, a dotted line marks it.

    Parameters
    ----------
    adata
        Annotated data with results of this package.
    key
        Name of a result, or several, with or without `X_`.
    log
        Logarithmic axis of the loss.
    ax
        Axes to draw into; a new figure by default.
    show
        Show the figure; None follows scanpy's setting.
    save
        True, or a string that is appended to "loss", saves into scanpy's figure directory; a path with a folder, there.
    return_fig
        Return the figure.

    Returns
    -------
    The axes where `show` is False; the figure where `return_fig` is True; else None.

    Raises
    ------
    KeyError
        Where there is no such result; lists those that exist.
    """
    keys = [key] if isinstance(key, str) else list(key)
    if not keys:
        raise ValueError("`key` must name at least one result; got an empty list.")
    courses = {name: history(adata, name) for name in keys}
    distribution = ["kl_divergence" in adata.uns[_keys.result_of(adata, name).uns]["final"] for name in keys]
    if ax is None:
        ax = plt.subplots(figsize=(5.5, 4), layout="constrained")[1]
    for name, course in courses.items():
        (line,) = ax.plot(course["iteration"], course["loss"], label=name, linewidth=1.8)
        for step in _phase_ends(course["iteration"].to_numpy(), course["exaggeration"].to_numpy()):
            ax.axvline(step, color=line.get_color(), linestyle=":", linewidth=1, alpha=0.7)
        ax.plot(course["iteration"].iloc[-1:], course["loss"].iloc[-1:], "o", color=line.get_color(), markersize=4)
    ax.set_xlabel("step")
    ax.set_ylabel("KL divergence (nats)" if all(distribution) else "loss")
    if log:
        ax.set_yscale("log")
    if any(len(set(course["exaggeration"])) > 1 for course in courses.values()):
        ax.plot([], [], color="gray", linestyle=":", label="exaggeration changes")
    if len(ax.get_legend_handles_labels()[0]) > 1:
        ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.02)
    save_figure(ax.get_figure(), "loss", save)
    if return_fig:
        return ax.get_figure()
    return None if is_shown(show) else ax


def _phase_ends(iteration: np.ndarray, exaggeration: np.ndarray) -> list[float]:
    """Steps at which the exaggeration begins to change, and at which it has arrived."""
    changes = np.flatnonzero(np.diff(exaggeration))
    if not changes.size:
        return []
    return sorted({float(iteration[changes[0]]), float(iteration[changes[-1] + 1])})
