"""Small AnnData objects that the tests of the door share."""

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

QUICK = {"max_iter": 40, "early_exaggeration_iter": 10}  # enough steps to see a difference


def blobs(n_per=40, n_groups=3, n_features=10, gap=8.0):
    """Groups of cells: positions in obsm["X_pca"], groups in obs["group"], noise in X."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(n_groups), n_per)
    points = rng.normal(size=(code.size, n_features))
    points[np.arange(code.size), code % n_features] += gap
    adata = ad.AnnData(rng.normal(size=(code.size, 20)).astype(np.float32))
    adata.obs["group"] = pd.Categorical([f"g{g}" for g in code])
    adata.obsm["X_pca"] = points.astype(np.float32)
    return adata


def knn_distances(points, k):
    """Exact distances to the k nearest other cells, csr."""
    return sp.csr_matrix(NearestNeighbors(n_neighbors=k).fit(points).kneighbors_graph(mode="distance"))


def with_graph(adata, k=12, key="neighbors", **params):
    """Store a graph of the representation where scanpy stores it."""
    prefix = "" if key == "neighbors" else f"{key}_"
    distances = knn_distances(adata.obsm["X_pca"], k)
    pattern = (distances > 0).astype(float)
    adata.obsp[f"{prefix}distances"] = distances
    adata.obsp[f"{prefix}connectivities"] = sp.csr_matrix(pattern.maximum(pattern.T))
    adata.uns[key] = {
        "distances_key": f"{prefix}distances",
        "connectivities_key": f"{prefix}connectivities",
        "params": {"n_neighbors": k + 1, "method": "umap", **params},
    }
    return adata


def snapshot(adata):
    """Everything an AnnData holds, in a form that can be compared with ==."""
    return {
        "X": None if adata.X is None else np.asarray(adata.X.todense() if sp.issparse(adata.X) else adata.X).tobytes(),
        "obs": adata.obs.to_csv(),
        "obsm": {name: np.asarray(value).tobytes() for name, value in adata.obsm.items()},
        "obsp": {
            name: (m.data.tobytes(), m.indices.tobytes(), m.indptr.tobytes())
            if sp.issparse(m)
            else np.asarray(m).tobytes()
            for name, m in adata.obsp.items()
        },
        "uns": repr(dict(adata.uns)),
        "varm": sorted(adata.varm),
        "layers": sorted(adata.layers),
    }
