"""`pl.embedding` of results in one, three and four dimensions."""

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import sc_nembed as ne
from _cells import QUICK, blobs

LABELS = ("xlabel", "ylabel", "zlabel")


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cells():
    adata = blobs()
    for n_components in (1, 3, 4):
        ne.tl.neighbor_embedding(
            adata, use_rep="X_pca", n_components=n_components, key_added=f"d{n_components}", **QUICK
        )
    return adata


def labels(ax) -> list[str]:
    return [ax.properties()[name] for name in LABELS if name in ax.properties()]


def drawn_in_space(ax, n_obs: int) -> np.ndarray:
    """(n, 3), in the order of the cells where no color sorts them."""
    cloud = next(c for c in ax.collections if len(c.get_offsets()) == n_obs)
    return np.stack(cloud._offsets3d, 1)


def test_three_dimensions_are_drawn_in_space_with_equal_scales(cells):
    ax = ne.pl.embedding(cells, "d3", show=False)
    assert ax.name == "3d"
    assert labels(ax) == ["NE1", "NE2", "NE3"]
    points = cells.obsm["d3"]
    np.testing.assert_allclose(drawn_in_space(ax, cells.n_obs), points, rtol=1e-5)
    limits = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()), np.ptp(ax.get_zlim())])
    np.testing.assert_allclose(limits / ax._box_aspect, limits[0] / ax._box_aspect[0], rtol=1e-4)
    assert limits[0] >= np.ptp(points[:, 0])


@pytest.mark.parametrize(
    ("key", "options", "expected"),
    [
        ("d3", {"projection": "2d"}, [["NE1", "NE2"]]),
        ("d3", {"dimensions": (2, 0)}, [["NE3", "NE1"]]),
        ("d3", {"components": "1,3"}, [["NE1", "NE3"]]),
        ("d3", {"components": ["1,3", "2,3"]}, [["NE1", "NE3"], ["NE2", "NE3"]]),
        ("d3", {"components": "all"}, [["NE1", "NE2"], ["NE1", "NE3"], ["NE2", "NE3"]]),
        ("d3", {"dimensions": (2, 1, 0)}, [["NE3", "NE2", "NE1"]]),
        ("d4", {}, [["NE1", "NE2"]]),
        ("d4", {"projection": "3d"}, [["NE1", "NE2", "NE3"]]),
        ("d4", {"components": "2,3,4"}, [["NE2", "NE3", "NE4"]]),
        ("d4", {"dimensions": [(0, 1), (2, 3)]}, [["NE1", "NE2"], ["NE3", "NE4"]]),
        ("d1", {"projection": "2d"}, [["NE1", ""]]),
    ],
    ids=str,
)
def test_dimensions_drawn_are_those_asked_for(cells, key, options, expected):
    axes = np.ravel(ne.pl.embedding(cells, key, color="group", show=False, **options))
    assert [labels(ax) for ax in axes] == expected
    if key == "d1":
        return
    for ax, names in zip(axes, expected, strict=True):
        points = cells.obsm[key][:, [int(name[2:]) - 1 for name in names]]
        if len(names) == 3:
            drawn = drawn_in_space(ax, cells.n_obs)
        else:
            drawn = next(c.get_offsets() for c in ax.collections if len(c.get_offsets()) == cells.n_obs)
        np.testing.assert_allclose(np.asarray(drawn), points, rtol=1e-5)


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        ("d3", {"dimensions": (0, 3)}, r"\[1, 4\]"),
        ("d3", {"dimensions": (0, 1), "projection": "3d"}, "shows 2 or"),
        ("d3", {"dimensions": (0, 1), "components": "1,2"}, "give one"),
        ("d3", {"projection": "4d"}, "'2d' or '3d'"),
        ("d3", {"edges": True}, "edges"),
        ("d3", {"add_outline": True}, "add_outline"),
        ("d3", {"color": ["group", "3"], "dimensions": [(0, 1), (1, 2), (0, 2)]}, "2 panels"),
        ("d1", {"projection": "3d"}, "one dimension"),
        ("d1", {"components": "1,2"}, "one dimension"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(cells, key, options, message):
    with pytest.raises(ValueError, match=message):
        ne.pl.embedding(cells, key, show=False, **options)


def test_three_dimensions_need_axes_of_three(cells):
    with pytest.raises(ValueError, match="subplot_kw"):
        ne.pl.embedding(cells, "d3", ax=plt.subplots()[1], show=False)
    plt.close("all")
    figure, (left, right) = plt.subplots(1, 2, subplot_kw={"projection": "3d"})
    assert ne.pl.embedding(cells, "d3", color="3", ax=right, show=False) is right
    assert not left.has_data()
    assert len(drawn_in_space(right, cells.n_obs)) == cells.n_obs
    assert plt.get_fignums() == [figure.number]


def test_groups_are_named_at_their_medians_in_space(cells):
    ax = ne.pl.embedding(cells, "d3", color="group", legend_loc="on data", legend_fontoutline=2, show=False)
    assert ax.get_legend() is None
    found = {text.get_text(): text.get_position_3d() for text in ax.texts}
    assert set(found) == set(cells.obs["group"].cat.categories)
    for name, place in found.items():
        median = np.median(cells.obsm["d3"][(cells.obs["group"] == name).to_numpy()], axis=0)
        np.testing.assert_allclose(place, median, rtol=1e-5)
    some = next(iter(found))
    ax = ne.pl.embedding(cells, "d3", color="group", legend_loc="on data", groups=[some], show=False)
    assert [text.get_text() for text in ax.texts] == [some]


def test_sizes_in_space_follow_the_number_of_cells_or_the_caller(cells):
    def sizes(**options):
        ax = ne.pl.embedding(cells, "d3", color="3", show=False, **options)
        return ax.collections[0].get_sizes()

    assert sizes() == pytest.approx([60_000 / cells.n_obs])
    assert sizes(size=7) == sizes(s=7) == [7]
    assert len(sizes(size=np.arange(1.0, cells.n_obs + 1))) == cells.n_obs


def test_legends_and_color_bars_leave_room_for_the_third_label(cells):
    left, right = ne.pl.embedding(cells, "d3", color=["group", "3"], show=False)
    figure = left.get_figure()
    figure.canvas.draw()
    legend, bar = left.get_legend(), right.collections[0].colorbar.ax
    for ax, beside in ((left, legend), (right, bar)):
        assert ax.zaxis.label.get_window_extent().x1 < beside.get_window_extent().x0


def test_figures_and_files_in_space(cells, tmp_path):
    figure = ne.pl.embedding(cells, "d3", color=["group", "3"], return_fig=True, show=False, save=tmp_path / "a.png")
    assert isinstance(figure, Figure)
    assert [ax.name for ax in figure.axes if ax.get_xlabel()] == ["3d", "3d"]
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_color_bar_of_a_strip_is_as_high_as_the_strip(cells):
    ax = ne.pl.embedding(cells, "d1", color="3", show=False)
    ax.get_figure().canvas.draw()
    strip, bar = ax.get_window_extent(), ax.collections[0].colorbar.ax.get_window_extent()
    assert bar.y0 == pytest.approx(strip.y0, abs=1)
    assert bar.height == pytest.approx(strip.height, abs=1)
    assert strip.height < 0.5 * strip.width


def test_strip_of_data_with_raw_counts(cells):
    adata = cells.copy()
    adata.raw = adata.copy()
    adata.X = np.zeros_like(adata.X)
    ax = ne.pl.embedding(adata, "d1", color="3", show=False)
    np.testing.assert_allclose(sorted(ax.collections[0].get_array()), sorted(cells.X[:, 3]), rtol=1e-5)
    assert isinstance(adata.raw, anndata.Raw)
