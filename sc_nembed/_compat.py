"""The only place that looks at other libraries: at their versions, and whether they are loaded."""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType

RECORDED = ("anndata", "faiss-cpu", "numba", "numpy", "scanpy", "scipy", "torch")


@functools.cache
def _installed() -> dict[str, str]:
    found = {}
    for name in RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # conda's faiss goes by another name
            continue
    return found


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries a result depends on."""
    from . import __version__

    return {"sc_nembed": __version__} | _installed()


def loaded_scanpy() -> ModuleType | None:
    """Scanpy where somebody has imported it: else nobody has changed its settings, and importing it takes a second."""
    return sys.modules.get("scanpy")


def scanpy_embedding_plot() -> Callable:
    """Scanpy's embedding scatter plot, which moves to `sc.pl.legacy` after scanpy 1.12."""
    import scanpy as sc

    legacy = getattr(sc.pl, "legacy", None)
    return sc.pl.embedding if legacy is None else legacy.embedding
