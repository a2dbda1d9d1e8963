"""What is written, and what is left alone."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch

import sc_nembed as ne
from _cells import QUICK, blobs, knn_distances, snapshot, with_graph


def assert_same_tree(left, right, path=""):
    """Two nested records hold the same keys and values."""
    assert set(left) == set(right), path
    for name, value in left.items():
        if isinstance(value, dict):
            assert_same_tree(value, right[name], f"{path}/{name}")
        else:
            np.testing.assert_array_equal(value, right[name], err_msg=f"{path}/{name}")
            assert isinstance(value, np.ndarray) == isinstance(right[name], np.ndarray), name


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize("source", [{}, {"use_rep": "X_pca", "perplexity": [5, 20], "dof": 0.8}])
def test_record_survives_a_file(kind, source, tmp_path):
    adata = with_graph(blobs())
    ne.tl.neighbor_embedding(adata, **source, **QUICK)
    path = tmp_path / f"cells.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of anndata and zarr about their formats
        getattr(adata, f"write_{kind}")(path)
        read = getattr(ad, f"read_{kind}")(path)
    assert_same_tree(adata.uns["ne"], read.uns["ne"])
    np.testing.assert_array_equal(read.obsm["X_ne"], adata.obsm["X_ne"])
    pd.testing.assert_frame_equal(ne.get.history(read), ne.get.history(adata))


def test_record_is_complete():
    adata = with_graph(blobs())
    ne.tl.neighbor_embedding(adata)
    record = adata.uns["ne"]
    assert set(record) == {"params", "input", "history", "final", "versions"}
    assert set(record["history"]) == {"iteration", "loss", "grad_norm", "lr", "exaggeration"}
    assert len({len(values) for values in record["history"].values()}) == 1
    assert {"loss", "kl_divergence", "n_iter", "stop_reason", "seconds"} <= set(record["final"])
    assert set(record["final"]["seconds"]) == {"neighbors", "affinity", "init", "optimize", "total"}
    assert record["final"]["loss"] == record["history"]["loss"][-1] == record["final"]["kl_divergence"]
    assert record["final"]["n_iter"] == record["history"]["iteration"][-1] == record["params"]["max_iter"] == 150
    assert all(type(value) is str for value in record["versions"].values())
    assert record["versions"]["sc_nembed"] == ne.__version__


def test_race_is_run_for_a_representation_and_declined():
    adata = blobs(n_groups=5)
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", key_added="raced")
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", race=False, key_added="single")
    raced, single = (adata.uns[key] for key in ("raced", "single"))
    assert raced["params"]["race"] is True
    assert raced["params"]["used_branch"] in "AB"
    assert raced["final"]["n_iter"] == {"A": 185, "B": 250}[raced["params"]["used_branch"]]
    assert single["params"]["race"] is False
    assert single["final"]["n_iter"] == 150


def test_views_copies_and_files_keep_their_parents(tmp_path):
    parent = with_graph(blobs())
    ne.tl.neighbor_embedding(parent, **QUICK)
    before = snapshot(parent)
    view = parent[:80]
    ne.tl.neighbor_embedding(view, use_rep="X_pca", random_state=9, **QUICK)
    assert not view.is_view
    assert view.obsm["X_ne"].shape == (80, 2)
    copied = ne.tl.neighbor_embedding(parent, use_rep="X_pca", random_state=4, copy=True, **QUICK)
    assert copied.uns["ne"]["params"]["random_state"] == 4
    assert snapshot(parent) == before
    parent.write_h5ad(tmp_path / "cells.h5ad")
    content = (tmp_path / "cells.h5ad").read_bytes()
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    ne.tl.neighbor_embedding(backed, use_rep="X_pca", **QUICK)
    with pytest.raises(ValueError, match="backed"):
        ne.tl.neighbor_embedding(backed, use_rep="X", **QUICK)
    backed.file.close()
    assert (tmp_path / "cells.h5ad").read_bytes() == content


@pytest.mark.parametrize(
    "container",
    [
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: pd.DataFrame(x, index=[str(i) for i in range(len(x))], columns=[f"pc{j}" for j in range(x.shape[1])]),
        sp.csr_matrix,
        sp.csc_array,
    ],
)
def test_container_of_the_representation_is_irrelevant(container):
    usual, other = blobs(), blobs()
    other.obsm["X_pca"] = container(usual.obsm["X_pca"])
    for adata in (usual, other):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", **QUICK)
    np.testing.assert_allclose(other.obsm["X_ne"], usual.obsm["X_ne"], atol=1e-2 * np.ptp(usual.obsm["X_ne"]))


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8])
def test_numbers_of_any_type_embed_like_float64(dtype):
    usual, other = blobs(), blobs()
    values = np.round(np.clip(usual.obsm["X_pca"] * 8 + 40, 0, 255)).astype(dtype)
    usual.obsm["X_pca"], other.obsm["X_pca"] = values.astype(np.float64), values
    for adata in (usual, other):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", **QUICK)
    np.testing.assert_array_equal(other.obsm["X_ne"], usual.obsm["X_ne"])


def test_text_is_no_representation():
    adata = blobs()
    adata.obsm["text"] = np.array([["a", "b"]] * 120, dtype=object)
    with pytest.raises(ValueError, match="must hold numbers"):
        ne.tl.neighbor_embedding(adata, use_rep="text")


@pytest.mark.parametrize("n_obs", [0, 1, 2, 3, 4])
def test_too_few_cells_are_explained(n_obs):
    adata = ad.AnnData(
        np.ones((n_obs, 3), np.float32), obsm={"X_pca": np.random.default_rng(0).normal(size=(n_obs, 3))}
    )
    before = snapshot(adata)
    with pytest.raises(ValueError, match="at least 5 cells"):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca")
    assert snapshot(adata) == before


def test_five_cells_are_enough():
    adata = ad.AnnData(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    ne.tl.neighbor_embedding(adata, use_rep="X")
    assert np.isfinite(adata.obsm["X_ne"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["X_pca", "X", "distances", "connectivities"])
def test_missing_numbers_are_counted_and_located(where, value):
    adata = with_graph(blobs())
    source = {"use_rep": where} if where.startswith("X") else {}
    if where == "X":
        adata.X[[4, 50], 3] = value
    elif where == "X_pca":
        adata.obsm["X_pca"][[4, 50], 3] = value
    else:
        adata.obsp[where].data[[adata.obsp[where].indptr[4], adata.obsp[where].indptr[50]]] = value
        source = {"obsp": where} if where == "connectivities" else {"neighbors_key": "neighbors"}
    before = snapshot(adata)
    with pytest.raises(ValueError, match=r"NaN or infinite.* 2 cells, the first in row 4\b"):
        ne.tl.neighbor_embedding(adata, **source, **QUICK)
    assert snapshot(adata) == before


@pytest.mark.parametrize("where", ["X_pca", "X"])
def test_constant_data_are_explained(where):
    adata = ad.AnnData(np.ones((40, 6), np.float32))
    if where == "X_pca":
        adata.obsm["X_pca"] = np.ones((40, 3))
    with pytest.raises(ValueError, match="equal"):
        ne.tl.neighbor_embedding(adata, **QUICK)
    assert list(adata.uns) == []


def test_seed_global_state_and_threads_are_left_as_found():
    adata = blobs()
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(), torch.get_num_threads()  # noqa: NPY002
    for seed in (0, 0, 1):
        ne.tl.neighbor_embedding(
            adata, use_rep="X_pca", init="random", random_state=seed, key_added=f"s{seed}", **QUICK
        )
    after = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(), torch.get_num_threads()  # noqa: NPY002
    assert after == before
    assert not np.array_equal(adata.obsm["s0"], adata.obsm["s1"])


def test_random_seed_is_drawn_and_recorded():
    adata = blobs()
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", init="random", random_state=None, **QUICK)
    seed = adata.uns["ne"]["params"]["random_state"]
    ne.tl.neighbor_embedding(adata, use_rep="X_pca", init="random", random_state=seed, key_added="again", **QUICK)
    np.testing.assert_array_equal(adata.obsm["X_ne"], adata.obsm["again"])


def test_failing_callback_leaves_everything_as_it_was():
    adata = with_graph(blobs())
    ne.tl.neighbor_embedding(adata, **QUICK)
    before = snapshot(adata)

    def fail(info):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ne.tl.neighbor_embedding(adata, callbacks=[fail], random_state=2, **QUICK)
    assert snapshot(adata) == before


def test_callback_that_returns_true_ends_the_run():
    adata, seen = with_graph(blobs()), []
    ne.tl.neighbor_embedding(adata, callbacks=[lambda info: seen.append(info) or info.iteration >= 20])
    assert [info.iteration for info in seen] == [1, 10, 20]
    assert adata.uns["ne"]["final"]["stop_reason"] == "callback"
    assert adata.uns["ne"]["final"]["n_iter"] == 20
    np.testing.assert_array_equal(seen[-1].embedding, adata.obsm["X_ne"])


def test_init_from_obsm_array_and_tensor_agree():
    adata = blobs()
    start = np.random.default_rng(3).normal(size=(120, 2)).astype(np.float32)
    adata.obsm["X_umap"] = start
    results = []
    for init in ("X_umap", "umap", start, start.astype(np.float64), torch.from_numpy(start)):
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", init=init, **QUICK)
        results.append(adata.obsm["X_ne"])
        assert adata.uns["ne"]["params"]["init"] == "array"
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_scanpy_graph_end_to_end():
    adata = blobs(n_per=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scanpy's own dependencies
        sc.pp.neighbors(adata, n_neighbors=12, use_rep="X_pca", key_added="nb")
    ne.tl.neighbor_embedding(adata, neighbors_key="nb")
    embedded = adata.obsm["X_ne"]
    nearest = knn_distances(embedded, 5).indices.reshape(300, 5)
    group = adata.obs["group"].cat.codes.to_numpy()
    assert (group[nearest] == group[:, None]).mean() > 0.99
