"""What all plots do at their end: save and show, as scanpy does."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import scanpy as sc
from matplotlib.figure import Figure

ENDINGS = (".pdf", ".png", ".svg")


def save_figure(figure: Figure, name: str, save: str | bool | Path | None) -> None:
    """Save a figure: True, or a string put after `name`, in scanpy's figure directory; a path with a folder, there."""
    if not save:
        return
    text = "" if save is True else str(save)
    path = Path(text) if "/" in text or isinstance(save, Path) else Path(sc.settings.figdir) / f"{name}{text}"
    if path.suffix not in ENDINGS:
        path = path.with_name(f"{path.name}.{sc.settings.file_format_figs}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def is_shown(show: bool | None) -> bool:
    """Show the current figures, if that is wanted; None follows scanpy's setting."""
    if sc.settings.autoshow if show is None else show:
        plt.show()
        return True
    return False
