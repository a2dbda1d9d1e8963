"""From a configuration and P to what is minimised: one function for each family of methods, named by its preset."""

from __future__ import annotations

from .cosne import CosneOptions, cosne
from .dense import matching
from .normalized import by_normalization
from .problem import Problem, Sums, Terms
from .umap import n_epochs, umap

__all__ = [
    "CosneOptions",
    "Problem",
    "Sums",
    "Terms",
    "by_normalization",
    "cosne",
    "matching",
    "n_epochs",
    "umap",
]
