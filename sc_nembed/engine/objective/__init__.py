"""From a configuration and P to what is minimised: one function for each family of methods, named by its preset."""

from __future__ import annotations

from .contrastive import info_nce, largevis, nce, negative_sampling
from .dense import matching
from .force_atlas2 import force_atlas2, start_size
from .normalized import by_normalization
from .problem import Problem, Sums, Terms
from .umap import n_epochs, umap

__all__ = [
    "Problem", "Sums", "Terms", "by_normalization", "force_atlas2", "info_nce", "largevis", "matching", "n_epochs",
    "nce", "negative_sampling", "start_size", "umap",
]  # fmt: skip
