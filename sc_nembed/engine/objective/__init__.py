"""From a configuration and P to what is minimised: one function for each family of methods, named by its preset."""

from __future__ import annotations

from .additions import with_additions
from .dense import matching
from .normalized import by_normalization
from .problem import Problem, Sums, Terms
from .umap import n_epochs, umap

__all__ = ["Problem", "Sums", "Terms", "by_normalization", "matching", "n_epochs", "umap", "with_additions"]
