"""What the classes share: from parameters and X to a run of the engine, and its result."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from .._input.arrays import SPARSE, as_tensor
from ..engine.affinity import PrecomputedAffinity
from ..engine.cells import MIN_CELLS
from ..engine.config import EmbeddingConfig
from ..engine.configure import ALIASES, configured, without_aliases
from ..engine.pipeline import embed
from ..engine.presets import resolve_method


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What the classes share; each names its preset and lists its parameters."""

    _preset: str

    def _take(self, given: dict[str, Any], others: dict[str, Any]) -> None:
        """Keep the arguments of a constructor, aliases among the `others` under their usual names."""
        usual = _defaults(type(self))
        explicit = {name: given[name] for name in usual if name in given and given[name] is not usual[name]}
        named = without_aliases(explicit | others)
        unknown = sorted(set(named) - set(usual))
        if unknown:
            aliases = sorted(alias for alias, name in ALIASES.items() if name in usual)
            raise TypeError(
                f"{type(self).__name__} has no parameter {unknown}; available: {sorted([*usual, *aliases])}."
            )
        for name, default in usual.items():
            setattr(self, name, named.get(name, default))

    def set_params(self, **params: Any) -> Embedder:
        """Set parameters by name or alias.

        Raises
        ------
        ValueError, TypeError
            For a name that does not exist, and for both names of one parameter.
        """
        return super().set_params(**without_aliases(params))

    def fit(self, X: Any, y: None = None) -> Embedder:
        """Embed the rows of X, (n, d) features, or (n, n) affinities where `affinity_in` is "precomputed"."""
        self._embed(X)
        return self

    def fit_transform(self, X: Any, y: None = None) -> Any:
        """Embed the rows of X and return `embedding_`."""
        return self._embed(X)

    def transform(self, X: Any) -> Any:
        """Positions of new cells, (m, n_components), by the trained encoder; without an encoder it is missing."""
        check_is_fitted(self)
        is_tensor = isinstance(X, torch.Tensor)
        if not is_tensor:
            X = validate_data(self, X, reset=False, accept_sparse=SPARSE, dtype=(np.float64, np.float32))
        first = next(self.encoder_.parameters())
        with torch.no_grad():
            made = self.encoder_(as_tensor(X).to(first.device, first.dtype)).to(_precision(X))
        return made.to(X.device) if is_tensor else made.cpu().numpy()

    def _embed(self, X: Any) -> Any:
        settings = self.get_params(deep=False) | self._adjusted()
        callbacks = settings.pop("callbacks") or ()
        is_tensor, pairwise = isinstance(X, torch.Tensor), self._is_pairwise()
        if not is_tensor:
            X = validate_data(
                self, X, accept_sparse=SPARSE, dtype=(np.float64, np.float32),
                ensure_min_samples=MIN_CELLS, ensure_non_negative=pairwise,
            )  # fmt: skip
        else:
            self.n_features_in_ = X.shape[-1]
            vars(self).pop("feature_names_in_", None)  # of an earlier fit
            if settings["device"] == "auto":
                settings["device"] = X.device
        config = self._config(settings, X)
        symmetric = config.method.matrix == "symmetric"
        source = PrecomputedAffinity(X)(symmetric=symmetric) if pairwise else as_tensor(X)
        result = embed(source, config, callbacks=(callbacks,) if callable(callbacks) else tuple(callbacks))
        self.embedding_ = result.embedding.to(X.device) if is_tensor else result.embedding.cpu().numpy()
        self.n_iter_, self.history_, self.encoder_ = result.n_iter, result.history, result.encoder
        self.per_cell_ = {name: values.cpu().numpy() for name, values in result.per_cell.items()}
        if self.encoder_ is not None:
            self.encoder_.eval()  # new cells do not train it, and may come one by one
        self._n_features_out = self.embedding_.shape[1]
        return self.embedding_

    def _is_pairwise(self) -> bool:
        """Whether X holds affinities of cells by cells."""
        given = self.get_params(deep=False).get("affinity_in")
        return isinstance(given, str) and given.lower() == "precomputed"

    def _adjusted(self) -> dict[str, Any]:
        """Parameters that mean something else to the engine."""
        return {}

    def _config(self, settings: dict[str, Any], X: Any) -> EmbeddingConfig:
        given = settings | ({"affinity_in": None} if self._is_pairwise() else {})
        return configured(replace(resolve_method(self._preset), dtype=_precision(X)), given, X.shape[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = tags.input_tags.positive_only = self._is_pairwise()
        tags.transformer_tags.preserves_dtype = []
        return tags


# only here: scikit-learn wraps the methods of a new class for `set_output`, which would hide the condition
Embedder.transform = available_if(lambda self: self.encoder is not None)(Embedder.transform)


def _precision(X: Any) -> torch.dtype:
    """Of the positions: float64 for tensors of that type alone."""
    return torch.float64 if isinstance(X, torch.Tensor) and X.dtype == torch.float64 else torch.float32


def hides_aliases(constructor: Any) -> Any:
    """A constructor whose signature lists parameters alone, as scikit-learn reads it; its aliases are still taken."""
    signature = inspect.signature(constructor)
    listed = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
    constructor.__signature__ = signature.replace(parameters=listed)
    return constructor


def _defaults(kind: type) -> dict[str, Any]:
    """The parameters of a class and their defaults."""
    return {item.name: item.default for item in inspect.signature(kind).parameters.values()}
