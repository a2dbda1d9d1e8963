"""Plots of embeddings and of how they were found."""

from .._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"embedding": "_embedding", "loss": "_loss"})
