"""Preprocessing: what comes before an embedding, in the form scanpy takes."""

from .._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"FaissNeighbors": "_faiss_neighbors"})
