"""Presets: functions that return an `EmbeddingConfig`. What a method does by default is decided here.

What all methods share are the defaults of the config's fields; the schedules are in `engine.phases`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..config import EmbeddingConfig
from .contrastive import info_tsne, largevis, nc_tsne, neg_tsne, umap
from .forces import force_atlas2, localmap, pacmap
from .normalized import affinity_matcher, cosne, neighbor_embedding, sne, tsne, tsnekhorn

OUTPUT_OPTIONS = ("dof", "sigma", "min_dist", "spread", "a", "b", "normalization")  # arguments of the output affinity
METHODS = {
    "affinitymatcher": affinity_matcher,
    "forceatlas2": force_atlas2,
    "infotsne": info_tsne,
    "largevis": largevis,
    "nctsne": nc_tsne,
    "negtsne": neg_tsne,
    "localmap": localmap,
    "cosne": cosne,
    "neighborembedding": neighbor_embedding,
    "pacmap": pacmap,
    "sne": sne,
    "tsne": tsne,
    "tsnekhorn": tsnekhorn,
    "umap": umap,
}


def resolve_method(method: str | EmbeddingConfig) -> EmbeddingConfig:
    """The preset of a name, whatever its case, hyphens and underscores; a config is returned as it is."""
    if isinstance(method, EmbeddingConfig):
        return method
    if isinstance(method, str) and method.lower().replace("-", "").replace("_", "") in METHODS:
        return METHODS[method.lower().replace("-", "").replace("_", "")]()
    available = [preset.__name__ for preset in METHODS.values()]
    raise ValueError(f"Unknown `method` {method!r}; available: {available}, or an EmbeddingConfig.")


def with_options(config: EmbeddingConfig, options: dict[str, Any]) -> EmbeddingConfig:
    """The config with options of its method under the names users know.

    Raises
    ------
    TypeError
        For an unknown option; lists those of the method.
    """
    unknown = sorted(set(options) - set(config.option_names))
    if unknown:
        available = sorted(config.option_names)
        raise TypeError(f"Unknown option {unknown} of method {config.method!r}; available: {available}.")
    values = {name: value for name, value in options.items() if value is not None}
    of_output = {name: values.pop(name) for name in OUTPUT_OPTIONS if name in values}
    own = {name: values.pop(name) for name in list(values) if name not in config.options}
    if own:
        values["of_method"] = replace(config.of_method, **own)
    if of_output:
        values["kwargs_affinity_out"] = dict(config.kwargs_affinity_out or {}) | of_output
    return replace(config, **values)
