"""What stands between the arguments of a tool and the engine: keys of `obsm`, scanpy's settings, the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anndata import AnnData

from .._compat import loaded_scanpy
from ..engine.initialization import NAMES as INIT_NAMES


def from_anndata(adata: AnnData, given: Mapping[str, Any], verbose: bool | None) -> dict[str, Any]:
    """What was given, with the arrays that keys of `.obsm` name, and what scanpy's settings say of the rest.

    Raises
    ------
    ValueError
        For a key that does not exist.
    """
    scanpy, filled = loaded_scanpy(), dict(given)
    if filled["n_jobs"] is None and scanpy is not None and scanpy.settings.n_jobs != 1:
        filled["n_jobs"] = scanpy.settings.n_jobs
    filled["verbose"] = scanpy is not None and scanpy.settings.verbosity >= 3 if verbose is None else bool(verbose)
    filled["init"] = _layout(adata, "init", filled["init"], INIT_NAMES)
    filled["reference"] = _layout(adata, "reference", filled["reference"])
    return filled


def obsm_key(adata: AnnData, given: Any) -> str | None:
    """The key of `.obsm` that a name stands for, with or without X_."""
    keys = [key for key in (given, f"X_{given}") if key in adata.obsm] if isinstance(given, str) else []
    return keys[0] if keys else None


def _layout(adata: AnnData, parameter: str, given: Any, names: tuple[str, ...] = ()) -> Any:
    """A name the engine knows, or the array of a key."""
    if not isinstance(given, str) or given in names:
        return given
    key = obsm_key(adata, given)
    if key is None:
        known = f"{list(names)}, " if names else ""
        raise ValueError(
            f"Unknown `{parameter}` {given!r}; available: {known}the keys of .obsm {list(adata.obsm)}, or an array."
        )
    return adata.obsm[key]


def say(verbose: bool | None, message: str, **kwargs: Any) -> Any:
    """A message in scanpy's form, by scanpy's logger."""
    scanpy = loaded_scanpy()
    return None if verbose is False or scanpy is None else scanpy.logging.info(message, **kwargs)
