"""Combinations of parameters that exclude each other, for `config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import EmbeddingConfig


def check_additions(config: EmbeddingConfig) -> None:
    """Of the terms that any objective can carry.

    Raises
    ------
    ValueError
        For a strength without its term, and for radii where there are no edges or no radii of single cells.
    """
    if config.reference_strength is not None and config.reference is None:
        raise ValueError("`reference_strength` has no effect without a `reference`; give one, or drop it.")
    if config.density_strength is None:
        return
    if config.is_dense:
        raise ValueError(
            "`density` needs the edges of a sparse input affinity and an output kernel; a loss over dense matrices, or "
            "an output affinity that is a function, has none. Drop it."
        )
    if config.process_duplicates:
        raise ValueError(
            "`density` cannot be combined with `process_duplicates`: equal cells that are embedded once have no local "
            "radii of their own. Drop one of them."
        )
