"""Read out of an AnnData: results for users; representations and graphs for the tools."""

from .._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"history": "_history"})
