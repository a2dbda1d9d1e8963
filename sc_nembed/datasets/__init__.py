"""Public data sets, downloaded once and checked; a local folder keeps the files."""

from .._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"snareseq": "_snareseq"})
