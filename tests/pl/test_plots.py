"""Plots: what is drawn, where, and that the data stay as they are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sc_nembed as ne
from _cells import QUICK, blobs, snapshot
from sc_nembed.pl import _embedding


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cells():
    adata = blobs()
    for key, n_components in {None: 2, "line": 1, "space": 3}.items():
        ne.tl.neighbor_embedding(adata, use_rep="X_pca", n_components=n_components, key_added=key, **QUICK)
    ne.tl.tsne(adata, use_rep="X_pca", **QUICK)
    return adata


def drawn_points(ax, n_obs):
    return next(np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets()) == n_obs)


@pytest.mark.parametrize("key", ["ne", "X_ne"])
def test_embedding_draws_the_points_on_equal_axes(cells, key):
    ax = ne.pl.embedding(cells, key, color="group", show=False)
    np.testing.assert_allclose(drawn_points(ax, cells.n_obs), cells.obsm["X_ne"], rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("NE1", "NE2")
    assert ax.get_aspect() == 1
    assert not ax.collections[0].get_rasterized()


def test_embedding_keeps_the_names_scanpy_has(cells):
    ax = ne.pl.embedding(cells, "tsne", show=False)
    assert ax.get_xlabel() == "tSNE1"


def test_many_points_are_rasterised(cells, monkeypatch):
    monkeypatch.setattr(_embedding, "RASTER_CELLS", 100)
    ax = ne.pl.embedding(cells, show=False)
    assert ax.collections[0].get_rasterized()


def test_one_dimension_is_a_strip_with_the_same_jitter(cells):
    first, again = (
        drawn_points(ne.pl.embedding(cells, "line", color="group", show=False), cells.n_obs) for _ in range(2)
    )
    np.testing.assert_allclose(first[:, 0], cells.obsm["line"][:, 0], rtol=1e-6)
    assert np.ptp(first[:, 1]) > 0
    np.testing.assert_array_equal(first, again)
    assert "group_colors" in cells.uns


@pytest.mark.parametrize("key", ["ne", "line", "space"])
def test_plots_change_nothing_but_colors(cells, key):
    before = snapshot(cells)
    ne.pl.embedding(cells, key, color="group", show=False)
    ne.pl.loss(cells, key, show=False)
    after = snapshot(cells)
    assert {name: after[name] for name in ("X", "obs", "obsm", "obsp")} == {
        name: before[name] for name in ("X", "obs", "obsm", "obsp")
    }


def test_several_panels_and_genes(cells):
    axes = ne.pl.embedding(cells, color=["group", "3"], show=False)
    assert [ax.get_xlabel() for ax in axes] == ["NE1", "NE1"]
    np.testing.assert_allclose(sorted(axes[1].collections[0].get_array()), sorted(cells.X[:, 3]), rtol=1e-5)


def test_loss_draws_each_history_and_marks_phases(cells):
    ax = ne.pl.loss(cells, ["ne", "line"], show=False)
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    for key, line in zip(["ne", "line"], curves, strict=True):
        course = ne.get.history(cells, key)
        np.testing.assert_allclose(line.get_ydata(), course["loss"])
        np.testing.assert_array_equal(line.get_xdata(), course["iteration"])
    dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert dotted
    assert {"ne", "line", "exaggeration changes"} == set(ax.get_legend_handles_labels()[1])
    assert ax.get_ylabel() == "KL divergence (nats)"


def test_loss_on_a_logarithmic_scale(cells):
    assert ne.pl.loss(cells, log=True, show=False).get_yscale() == "log"


@pytest.mark.parametrize("plot", ["loss", "embedding"])
def test_axes_figures_and_files(cells, plot, tmp_path, monkeypatch):
    import scanpy as sc

    draw = getattr(ne.pl, plot)
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("shown"))
    assert isinstance(draw(cells, show=False), Axes)
    assert isinstance(draw(cells, show=False, return_fig=True), Figure)
    plt.close("all")
    figure, (left, right) = plt.subplots(1, 2)
    assert draw(cells, ax=right, show=False) is right
    assert right.has_data()
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]
    before, sc.settings.figdir = sc.settings.figdir, tmp_path / "figures"
    draw(cells, show=False, save="_one.png")
    sc.settings.figdir = before
    draw(cells, show=False, save=str(tmp_path / "here" / "two.svg"))
    name = "loss" if plot == "loss" else "ne"
    assert (tmp_path / "figures" / f"{name}_one.png").stat().st_size > 1000
    assert (tmp_path / "here" / "two.svg").stat().st_size > 1000
    shown = []
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: shown.append(1))
    assert draw(cells, show=True) is None
    assert shown == [1]


@pytest.mark.parametrize("plot", ["loss", "embedding"])
def test_unknown_key_lists_results(cells, plot):
    with pytest.raises(KeyError, match=r"available: .*'ne'"):
        getattr(ne.pl, plot)(cells, "foo", show=False)
