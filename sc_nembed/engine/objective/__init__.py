"""From a configuration and P to what is minimised: one function for each family of methods, named by its preset."""

from __future__ import annotations

from .additions import with_additions
from .contrastive import info_nce, largevis, nce, negative_sampling
from .cosne import CosneOptions, cosne
from .dense import matching
from .force_atlas2 import force_atlas2, start_size
from .normalized import by_normalization
from .pacmap import LocalMAPOptions, PACMAPOptions, localmap, pacmap, pacmap_steps
from .problem import Inputs, Problem, Sums, Terms
from .umap import n_epochs, umap

__all__ = [
    "CosneOptions", "Inputs", "LocalMAPOptions", "PACMAPOptions", "Problem", "Sums", "Terms", "by_normalization",
    "cosne", "force_atlas2", "info_nce", "largevis", "localmap", "matching", "n_epochs", "nce", "negative_sampling",
    "pacmap", "pacmap_steps", "start_size", "umap", "with_additions",
]  # fmt: skip
