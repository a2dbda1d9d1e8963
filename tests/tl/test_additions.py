"""`reference` and `density` at the door: what is written and recorded, and what is left alone."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import sc_nembed as ne
from _cells import QUICK, blobs, knn_distances, snapshot, with_graph

COLUMNS = ["ne_rad_orig", "ne_rad_emb"]


def groups():
    """Three groups of cells, each wider than the one before."""
    adata = blobs(gap=30.0)
    rng = np.random.default_rng(1)
    adata.obsm["X_pca"] += (np.repeat([0.0, 1.0, 4.0], 40)[:, None] * rng.normal(size=(120, 10))).astype(np.float32)
    adata.obsm["X_two"] = adata.obsm["X_pca"][:, :2].copy()
    return adata


def radii_by_hand(points, affinity):
    sq_dist = ((points[:, None] - points[None]) ** 2).sum(2)
    return np.log(1e-8 + (affinity * sq_dist).sum(1) / affinity.sum(1))


def written(adata, kind, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anndata and zarr about their formats
        getattr(adata, f"write_{kind}")(path)
        return getattr(ad, f"read_{kind}")(path)


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_density_writes_radii_that_a_file_keeps(method, tmp_path):
    adata = with_graph(groups())
    ne.tl.neighbor_embedding(adata, method=method, density=True)
    record = adata.uns["ne"]
    assert record["obs"] == {"rad_orig": "ne_rad_orig", "rad_emb": "ne_rad_emb"}
    assert record["params"]["density"] == (2.0 if method == "umap" else 0.1)
    assert "reference" not in record["params"]
    for name in COLUMNS:
        assert adata.obs[name].dtype == np.float32
    assert adata.obs.groupby("group", observed=True)["ne_rad_orig"].mean().is_monotonic_increasing
    affinity = adata.obsp["connectivities"].toarray() if method == "umap" else None
    if affinity is None:
        pattern = (knn_distances(adata.obsm["X_pca"], 12) > 0).toarray() / 12
        affinity = pattern + pattern.T
    expected = radii_by_hand(adata.obsm["X_pca"].astype(float), affinity)
    np.testing.assert_allclose(adata.obs["ne_rad_orig"], expected, rtol=1e-4)
    for kind in ("h5ad", "zarr"):
        read = written(adata, kind, tmp_path / f"cells.{kind}")
        assert read.uns["ne"]["obs"] == record["obs"]
        assert read.uns["ne"]["params"]["density"] == record["params"]["density"]
        pd.testing.assert_frame_equal(read.obs[COLUMNS], adata.obs[COLUMNS])
        ne.tl.neighbor_embedding(read, method=method, density=True)  # its own columns are replaced
        pd.testing.assert_frame_equal(read.obs[COLUMNS], adata.obs[COLUMNS])


def test_density_of_real_cells_correlates_and_is_named_by_the_slot(pbmc):
    adata = ad.AnnData(obsm={"X_pca": pbmc.numpy()})
    ne.tl.umap(adata, use_rep="X_pca", density=True)
    assert list(adata.obs) == ["umap_rad_orig", "umap_rad_emb"]
    assert adata.obs.corr().iloc[0, 1] > 0.85
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", density=0.5, key_added="mine")
    assert {"mine_rad_orig", "mine_rad_emb"} <= set(adata.obs)


def test_result_without_density_removes_the_radii_of_the_one_it_replaces():
    adata = with_graph(groups())
    before = adata.obs.copy()
    ne.tl.neighbor_embedding(adata, density=True, **QUICK)
    ne.tl.neighbor_embedding(adata, density=True, key_added="other", **QUICK)
    ne.tl.neighbor_embedding(adata, **QUICK)
    assert "obs" not in adata.uns["ne"]
    assert not set(COLUMNS) & set(adata.obs)
    assert {"other_rad_orig", "other_rad_emb"} <= set(adata.obs)
    pd.testing.assert_frame_equal(adata.obs[list(before)], before)


@pytest.mark.parametrize("tool", [ne.tl.neighbor_embedding, ne.tl.tsne])
def test_column_of_somebody_else_is_not_overwritten(tool):
    adata = with_graph(groups())
    name = "ne_rad_emb" if tool is ne.tl.neighbor_embedding else "tsne_rad_emb"
    adata.obs[name] = 1.0
    before = snapshot(adata)
    with pytest.raises(ValueError, match=f"{name}.*not written by sc_nembed"):
        tool(adata, density=True, **QUICK)
    assert snapshot(adata) == before
    tool(adata, **QUICK)  # which has no radii to write
    assert (adata.obs[name] == 1.0).all()


def test_view_gets_its_own_radii_and_a_copy_leaves_the_original():
    adata = with_graph(groups())
    before = snapshot(adata)
    copied = ne.tl.neighbor_embedding(adata, density=True, copy=True, **QUICK)
    assert set(COLUMNS) <= set(copied.obs)
    view = adata[:100]
    ne.tl.neighbor_embedding(view, density=True, **QUICK)
    assert set(COLUMNS) <= set(view.obs)
    assert snapshot(adata) == before


def test_cells_without_neighbors_have_no_radius():
    adata = groups()
    distances = knn_distances(adata.obsm["X_pca"], 12).tolil()
    distances[7], distances[:, 7] = 0, 0
    adata = with_graph(adata)
    adata.obsp["distances"] = sp.csr_matrix(distances)
    with pytest.warns(UserWarning, match="1 cells have no neighbors"):
        ne.tl.neighbor_embedding(adata, density=True, **QUICK)
    for name in COLUMNS:
        assert np.flatnonzero(adata.obs[name].isna()).tolist() == [7]


@pytest.mark.parametrize("as_what", ["key", "short key", "array", "tensor"])
def test_reference_is_named_in_the_record(as_what, tmp_path):
    adata = with_graph(groups())
    layout = adata.obsm["X_two"]
    given = {"key": "X_two", "short key": "two", "array": layout, "tensor": torch.from_numpy(layout)}[as_what]
    kept = layout.copy()
    ne.tl.neighbor_embedding(adata, reference=given, reference_strength=1e3, init="random", max_iter=60)
    params = adata.uns["ne"]["params"]
    assert params["reference"] == ("array" if as_what in ("array", "tensor") else "X_two")
    assert params["reference_strength"] == 1e3
    np.testing.assert_array_equal(layout, kept)
    assert "obs" not in adata.uns["ne"]
    one, other = (points - points.mean(0) for points in (adata.obsm["X_ne"], kept))
    assert (one * other).sum() > 0.999 * np.linalg.norm(one) * np.linalg.norm(other)
    for kind in ("h5ad", "zarr"):
        assert written(adata, kind, tmp_path / f"cells.{kind}").uns["ne"]["params"]["reference"] == params["reference"]


def test_reference_has_a_usual_strength_that_is_recorded():
    adata = with_graph(groups())
    ne.tl.umap(adata, reference="X_two", max_iter=20)
    assert adata.uns["umap"]["params"]["reference_strength"] == 0.01
    ne.tl.neighbor_embedding(adata, reference="X_two", **QUICK)
    assert adata.uns["ne"]["params"]["reference_strength"] == 0.003
    final = adata.uns["ne"]["final"]
    assert final["loss"] > final["kl_divergence"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference_strength": 0.1}, "no effect without a `reference`"),
        ({"reference": "X_foo"}, "Unknown `reference` 'X_foo'; available: the keys of .obsm"),
        ({"reference": "X_pca"}, r"\(120, 2\); got \(120, 10\). Take its first columns"),
        ({"reference": np.zeros((7, 2))}, r"\(120, 2\); got \(7, 2\)\.$"),
        ({"reference": np.full((120, 2), np.inf)}, "`reference` has NaN or infinite values in 120 cells"),
        ({"reference": np.ones((120, 2))}, "all cells in one place"),
        ({"reference": "X_two", "reference_strength": -1}, "`reference_strength` must be"),
        ({"reference": "X_two", "key_added": "X_two"}, "own input"),
        ({"density": -1}, "`density` must be"),
        ({"density": True, "process_duplicates": True, "use_rep": "X_pca"}, "process_duplicates"),
        ({"density": True, "affinity_out": lambda z: -torch.cdist(z, z)}, "sparse input affinity"),
        ({"density": True, "method": "affinity_matcher"}, "sparse input affinity"),
        ({"density": True, "method": "umap", "repulsion": "sampled"}, "steps of their own"),
        ({"reference": "X_two", "method": "umap", "repulsion": "sampled"}, "steps of their own"),
    ],
    ids=str,
)
def test_wrong_terms_are_explained_and_nothing_written(given, message):
    adata = with_graph(groups())
    before = snapshot(adata)
    with pytest.raises(ValueError, match=message):
        ne.tl.neighbor_embedding(adata, max_iter=20, **given)
    assert snapshot(adata) == before


def test_density_of_weights_alone_needs_a_representation():
    adata = with_graph(groups())
    del adata.obsp["distances"]
    ne.tl.neighbor_embedding(adata, density=True, init="random", max_iter=20)  # what the graph was built from
    assert set(COLUMNS) <= set(adata.obs)
    del adata.obsm["X_pca"], adata.obs["ne_rad_orig"], adata.obs["ne_rad_emb"]
    with pytest.raises(ValueError, match="weights alone"):
        ne.tl.neighbor_embedding(adata, density=True, init="random", max_iter=20)


def test_density_of_false_is_none():
    adata = with_graph(groups())
    ne.tl.neighbor_embedding(adata, density=False, **QUICK)
    assert "density" not in adata.uns["ne"]["params"]
    assert not set(COLUMNS) & set(adata.obs)


@pytest.mark.parametrize("kind", [ne.TSNE, ne.UMAP])
def test_classes_take_the_terms(pbmc, kind):
    layout = pbmc[:, :2].numpy()
    fitted = kind(reference=layout, reference_strength=1.0, density=1.0, n_jobs=1).fit(pbmc.numpy())
    assert set(fitted.per_cell_) == {"rad_orig", "rad_emb"}
    assert np.corrcoef(*fitted.per_cell_.values())[0, 1] > 0.5
    adata = ad.AnnData(obsm={"X_pca": pbmc.numpy()})
    method = kind.__name__.lower()
    ne.tl.neighbor_embedding(
        adata, method=method, use_rep="X_pca", reference=layout, reference_strength=1.0, density=1.0
    )
    np.testing.assert_array_equal(adata.obsm["X_ne"], fitted.embedding_)
    assert kind(n_jobs=1, max_iter=10).fit(pbmc.numpy()).per_cell_ == {}
    with pytest.raises(ValueError, match="no effect without a `reference`"):
        kind(reference_strength=1.0).fit(pbmc.numpy())
