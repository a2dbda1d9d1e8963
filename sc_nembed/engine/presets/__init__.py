"""Presets: functions that return an `EmbeddingConfig`, one for each method.

A method is one file here, named as the method with an underscore before it, and one line in `METHODS`. What several
methods share lies beside them: `method` (what a method is), `phases` (stretches of schedules), `normalized`, `contrast`
and `losses` (losses), `extra_terms` (terms that any objective can carry).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from ..config import EmbeddingConfig

METHODS = (
    "affinity_matcher",
    "cosne",
    "force_atlas2",
    "info_tsne",
    "largevis",
    "localmap",
    "nc_tsne",
    "neg_tsne",
    "neighbor_embedding",
    "pacmap",
    "sne",
    "tsne",
    "tsnekhorn",
    "umap",
)


def __getattr__(name: str) -> Callable[[], EmbeddingConfig]:
    """A method is imported when it is first asked for (PEP 562)."""
    if name not in METHODS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; available: {list(METHODS)}")
    return vars(importlib.import_module(f"._{name}", __name__))[name]


def resolve_method(method: str | EmbeddingConfig) -> EmbeddingConfig:
    """The preset of a name, whatever its case, hyphens and underscores; a config is returned as it is."""
    if isinstance(method, EmbeddingConfig):
        return method
    found = [name for name in METHODS if isinstance(method, str) and _bare(name) == _bare(method)]
    if not found:
        raise ValueError(f"Unknown `method` {method!r}; available: {list(METHODS)}, or an EmbeddingConfig.")
    return __getattr__(found[0])()


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
