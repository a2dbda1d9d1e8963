"""ForceAtlas2: its forces against the formulas pair by pair, the grid against exact sums, its layouts against fa2's."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

import sc_nembed as ne
from _cells import blobs, with_graph
from _configs import changed
from sc_nembed.engine.affinity import PrecomputedAffinity, UMAPAffinity
from sc_nembed.engine.configure import configured
from sc_nembed.engine.kernel import LogRepulsion
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import force_atlas2 as preset
from sc_nembed.engine.presets._force_atlas2 import SOFTENING, edge_length
from sc_nembed.engine.presets.method import Inputs, Sums
from sc_nembed.engine.radial_sum import RADIAL_SUMS, _spacing
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

from . import _truth
from ._plain import only_plain

CPU, N = torch.device("cpu"), 40


def some_graph(n: int = N, seed: int = 0) -> np.ndarray:
    """Symmetric weights of which the largest is 1."""
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.2), 1)
    weights += weights.T
    return weights / weights.max()


def affinity(weights) -> object:
    return PrecomputedAffinity(weights, normalize=False)()


def objective(matrix, n_components: int = 2, dtype=torch.float64, **options):
    config = changed(configured(preset(), options), n_components=n_components, dtype=dtype)
    return config.method.problem(
        config, Inputs(matrix), Sums(None, config.n_components, matrix.n_rows, CPU, dtype)
    ).objective


def plan(potential, name: str, dtype=torch.float64):
    return RADIAL_SUMS[name](potential, n_components=2, tolerance=None, device=CPU, dtype=dtype, world=SERIAL)


def forces(weights, points, ratio: float, gravity: float) -> dict[str, np.ndarray]:
    """What ForceAtlas2 adds to `dx` and `dy` of each cell, pair by pair."""
    found = {name: np.zeros_like(points) for name in ("attraction", "repulsion", "gravity")}
    mass = 1 + (weights > 0).sum(1)
    for i, here in enumerate(points):
        for j, there in enumerate(points):
            if i != j:
                apart = here - there
                found["attraction"][i] -= weights[i, j] * apart
                found["repulsion"][i] += ratio * mass[i] * mass[j] * apart / np.linalg.norm(apart) ** 2
        found["gravity"][i] = -gravity * mass[i] * here / np.linalg.norm(here)
    return found


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize(("ratio", "gravity"), [(2.0, 1.0), (7.0, 0.3)])
def test_forces_are_those_of_forceatlas2_up_to_one_factor(ratio, gravity, n_components):
    weights = some_graph()
    points = 1e5 * np.random.default_rng(1).normal(size=(N, n_components))  # far apart: nothing is softened
    terms = objective(affinity(weights), n_components, scaling_ratio=ratio, gravity=gravity)
    for name, expected in forces(weights, points, ratio, gravity).items():
        found = terms[name](View.whole(torch.from_numpy(points)), value=False).gradient
        assert _truth.relative(-weights.sum() / 4 * found, expected) <= (1e-6 if name == "attraction" else 1e-4)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_gradients_equal_finite_differences(n_components):
    matrix = affinity(some_graph())
    points = torch.from_numpy(30 * np.random.default_rng(1).normal(size=(N, n_components)))
    points[3] = points[4]  # two cells that meet, and one at the origin
    points[5] = 0
    for term in objective(matrix, n_components).values():
        force, expected = term(View.whole(points), value=True), np.empty((N, n_components))
        for entry in np.ndindex(expected.shape):
            moved = torch.zeros_like(points)
            moved[entry] = 1e-4
            expected[entry] = (
                term(View.whole(points + moved), value=True).value - term(View.whole(points - moved), value=True).value
            ) / 2e-4
        assert _truth.relative(force.gradient, expected) <= 1e-6
        assert (force.curvature > 0).all()


def test_values_are_the_energies_of_the_forces():
    weights, points = some_graph(), 300 * np.random.default_rng(1).normal(size=(N, 2))
    mass, sq_dist = 1 + (weights > 0).sum(1), _truth.sq_distances(points, points)
    np.fill_diagonal(sq_dist, 1)
    expected = {
        "attraction": (weights * sq_dist).sum() / 4,
        "repulsion": -np.triu(2 * np.outer(mass, mass) * np.log(sq_dist) / 2, 1).sum(),
        "gravity": (mass * np.linalg.norm(points, axis=1)).sum(),
    }
    for name, term in objective(affinity(weights)).items():
        found = term(View.whole(torch.from_numpy(points)), value=True).value * weights.sum() / 4
        assert float(found) == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("softening", [0.3, 20.0])
def test_fused_sum_equals_plain_also_where_cells_meet(softening, monkeypatch):
    rng = np.random.default_rng(0)
    points = torch.from_numpy(500 * rng.normal(size=(300, 2))).float()
    points[7] = points[8]
    weights, potential = torch.from_numpy(rng.integers(5, 40, 300)).float(), LogRepulsion(softening)
    mass, push = plan(potential, "torch", torch.float32)(points, points, 0, weights)
    expected = plan(potential, "torch")(points.double(), points.double(), 0, weights.double())
    assert _truth.relative(mass, expected[0]) <= 1e-6
    assert _truth.relative(push, expected[1]) <= 1e-6
    only_plain(monkeypatch)
    assert _truth.relative(plan(potential, "torch", torch.float32)(points, points, 0, weights)[1], expected[1]) <= 1e-5


def layout(matrix, features, **given):
    return embed(matrix, changed(preset(), **({"n_jobs": 2} | given)), features=features)


def umap_graph(features):
    return UMAPAffinity()(nearest_neighbors(features - features.mean(0), 14))


@pytest.fixture(scope="module")
def real(pbmc):
    matrix = umap_graph(pbmc)
    return pbmc, matrix, layout(matrix, pbmc)


def grid_error(matrix, result) -> tuple[float, float]:
    """Relative errors of mass and push of the grid on a layout."""
    points, masses = result.embedding, (matrix.degrees() + 1).float()
    potential = LogRepulsion(SOFTENING * edge_length(result.config, matrix) / matrix.n_rows**0.5)
    expected = plan(potential, "torch")(points.double(), points.double(), 0, masses.double())
    found = plan(potential, "fft", torch.float32)(points, points, 0, masses)
    return tuple(_truth.relative(*pair) for pair in zip(found, expected, strict=True))


def test_grid_keeps_the_forces_of_a_layout(real):
    _, matrix, result = real
    mass, push = grid_error(matrix, result)
    assert mass <= 1e-3
    assert push <= 8e-2  # of few cells more of the force comes from near ones; their sums are exact


def test_grid_gives_layouts_of_the_same_energy(real_features, monkeypatch):
    features = real_features("worm_neuron")
    matrix = umap_graph(features)
    exact = layout(matrix, features)
    monkeypatch.setattr("sc_nembed.engine.radial_sum.choose", lambda *args, **kwargs: "fft")
    on_grid = layout(matrix, features)
    assert (exact.resolved["radial_sum"], on_grid.resolved["radial_sum"]) == ("torch", "fft")
    energies = [natural_energy(matrix, result.embedding) for result in (exact, on_grid)]
    assert energies[1] == pytest.approx(energies[0], rel=1e-4)
    mass, push = grid_error(matrix, exact)
    assert mass <= 1e-4
    assert push <= 3.5e-2


def test_grid_of_a_layout_that_grows_keeps_its_spacing():
    shapes = {_spacing.grid_shape(np.array([span, span]), 0.5) for span in np.linspace(5000, 5500, 50)}
    assert len({spacing for spacing, _ in shapes}) == 1
    for span in (1100, 5000, 1e6):
        spacing, nodes = _spacing.grid_shape(np.array([span, span]), 0.5)
        assert 0.8 * _spacing.MAX_CELLS[2] <= span / spacing <= _spacing.MAX_CELLS[2]
        assert span / spacing + 5 <= max(nodes)


def natural_energy(matrix, points, ratio: float = 2.0, gravity: float = 1.0) -> float:
    """The energy of a layout in units in which sets of any size are alike."""
    weights, points = _truth.dense(matrix), np.asarray(points, float)
    mass, sq_dist = 1 + (weights > 0).sum(1), _truth.sq_distances(points, points)
    attraction = (weights * sq_dist).sum() / 4
    np.fill_diagonal(sq_dist, 1)
    repulsion = -ratio / 4 * mass @ np.log(sq_dist) @ mass
    pull = gravity * mass @ np.linalg.norm(points, axis=1)
    return 4 * (attraction + repulsion + pull) / (ratio * mass.sum() ** 2)


def recall_and_accuracy(features, points, labels) -> tuple[float, float]:
    near, found = (
        NearestNeighbors(n_neighbors=16).fit(cells).kneighbors(return_distance=False)[:, :15]
        for cells in (features, points)
    )
    recall = np.mean([len(np.intersect1d(*rows)) / 15 for rows in zip(near, found, strict=True)])
    votes = [np.bincount(row).argmax() for row in labels[found[:, :10]]]
    return recall, np.mean(np.array(votes) == labels)


# what fa2_modified 0.4 reaches with scanpy's settings, 500 iterations, Barnes-Hut; energy from our start, and recall
# and accuracy the better ones of that start and of scanpy's random one
FA2 = {"pbmc3k_pca": (-15.1306, 0.0946, 0.9716), "paul15": (-15.5365, 0.1683, 0.6440)}
FA2_PBMC68K = (-14.0617, 0.3797, 0.8157)
LABELS = {"pbmc3k_pca": "louvain", "paul15": "paul15_clusters"}


def test_layout_is_as_good_as_that_of_fa2(real):
    import scanpy as sc

    features, matrix, result = real
    labels = sc.datasets.pbmc68k_reduced().obs["bulk_labels"].cat.codes.to_numpy().astype(int)
    energy, recall, accuracy = FA2_PBMC68K
    assert result.n_iter == 150
    assert natural_energy(matrix, result.embedding) < energy
    found = recall_and_accuracy(features, result.embedding, labels)
    assert found[0] >= recall - 0.01
    assert found[1] >= accuracy - 0.02


@pytest.mark.parametrize("name", FA2)
def test_layout_of_real_cells_is_as_good_as_that_of_fa2(name, data_dir, real_features):
    import anndata

    features, (energy, recall, accuracy) = real_features(name), FA2[name]
    labels = anndata.read_h5ad(data_dir / f"{name}.h5ad").obs[LABELS[name]].cat.codes.to_numpy().astype(int)
    matrix = umap_graph(features)
    result = layout(matrix, features)
    assert natural_energy(matrix, result.embedding) < energy
    found = recall_and_accuracy(features, result.embedding, labels)
    assert found[0] >= recall - 0.01
    assert found[1] >= accuracy - 0.02


def test_attraction_and_gravity_balance_the_repulsion(real):
    """At a minimum no scaling helps: 2 Σ P d² + Σ g r = Σ wᵢ wⱼ over pairs, whatever the layout."""
    _, matrix, result = real
    degrees = matrix.degrees().double() + 1
    pairs = 4 / matrix.total * (degrees.sum() ** 2 - degrees.square().sum())
    last = {name: values[-1] for name, values in result.history.items()}
    assert 2 * last["attraction"] + last["gravity"] == pytest.approx(float(pairs), rel=1e-2)


def test_lengths_grow_with_the_root_of_the_scaling_ratio(real):
    features, matrix, _ = real
    one, two = (
        embed(
            matrix,
            configured(changed(preset(), max_iter=40, n_jobs=1), {"scaling_ratio": ratio, "gravity": 0}),
            features=features,
        )
        for ratio in (2, 8)
    )
    assert torch.equal(2 * one.embedding, two.embedding)  # powers of two round nothing


def test_pairs_come_to_rest_where_attraction_and_repulsion_are_equal():
    """w d = k 2² / d; their repulsion is as stiff as their attraction, so the rate is lower than for usual graphs."""
    weights = np.kron(np.eye(20), [[0, 1], [1, 0]])
    result = layout(affinity(weights), None, init="random", max_iter=1000, lr=0.25, gravity=0.0)
    points = result.embedding.numpy()
    apart = np.linalg.norm(points[::2] - points[1::2], axis=1)
    np.testing.assert_allclose(apart, np.sqrt(2 * 2 * 2), rtol=0.02)


def test_gravity_holds_components_together():
    weights = np.kron(np.eye(2), np.ones((20, 20)) - np.eye(20))
    spans = [
        float(np.ptp(layout(affinity(weights), None, init="random", gravity=g)
                     .embedding.numpy()))
        for g in (0.0, 1.0, 20.0)
    ]  # fmt: skip
    assert spans[0] > 1.05 * spans[1] > 1.05**2 * spans[2]


def test_start_is_as_large_as_the_graph_asks_for(real):
    features, matrix, result = real
    config = changed(preset(), max_iter=1, lr=1e-6, n_jobs=1)
    start = embed(matrix, config, features=features).embedding
    total_mass, total = float((matrix.degrees() + 1).sum()), float(matrix.weights.double().sum())
    size = 3 * total_mass * np.sqrt(2 / total)
    assert float(start[:, 0].std(correction=0)) == pytest.approx(size, rel=1e-3)
    assert result.used["init_scaling"] == pytest.approx(size, rel=1e-5)
    given = 5 * torch.from_numpy(np.random.default_rng(0).normal(size=start.shape)).float()
    kept = embed(matrix, changed(config, init=given)).embedding
    np.testing.assert_allclose(kept, given, atol=1e-2 * size)
    assert float(kept.std()) == pytest.approx(float(given.std()), rel=0.2)


def test_weights_are_read_relative_to_the_largest(real):
    features, matrix, _ = real
    assert float(matrix.weights.max()) == 1
    scaled = PrecomputedAffinity(matrix.to_dense())()
    assert scaled.total == pytest.approx(1)
    one, two = (layout(of, features, max_iter=5).embedding for of in (matrix, scaled))
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3 * float(one.std()))


def test_graph_gives_its_connectivities():
    adata = with_graph(blobs(gap=3.0))
    ne.tl.neighbor_embedding(adata, method="force_atlas2", max_iter=20)
    assert adata.uns["ne"]["input"]["matrix"] == "connectivities"
    record = adata.uns["ne"]["params"]
    assert (record["scaling_ratio"], record["gravity"], record["affinity_in"]) == (2.0, 1.0, "umap")
    features = torch.from_numpy(adata.obsm["X_pca"])
    matrix = affinity(adata.obsp["connectivities"])
    np.testing.assert_array_equal(adata.obsm["X_ne"], layout(matrix, features, max_iter=20).embedding)


@pytest.mark.parametrize("n", [700, 5003])
def test_same_bits_for_any_number_of_threads(n):
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(20, 8))[rng.integers(0, 20, n)] + 0.4 * rng.normal(size=(n, 8))
    features = torch.from_numpy(cells).float()
    one, two = (embed(features, changed(preset(), max_iter=25, n_jobs=jobs)) for jobs in (1, 2))
    assert one.resolved["radial_sum"] == ("torch" if n < 5_000 else "fft")
    assert torch.equal(one.embedding, two.embedding)


@pytest.mark.parametrize(
    "given", [{"optimizer": "SGD"}, {"optimizer": "DeltaBarDelta"}, {"exaggeration": 3.0}], ids=str
)
def test_other_optimizers_and_exaggerations_lower_the_loss(given, real):
    features, matrix, _ = real
    result = layout(matrix, features, max_iter=60, **given)
    assert np.isfinite(result.embedding.numpy()).all()
    if "exaggeration" not in given:
        assert result.history["loss"][-1] < result.history["loss"][0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"scaling_ratio": 0}, ValueError, "scaling_ratio.*positive.*0"),
        ({"scaling_ratio": "2"}, ValueError, "scaling_ratio.*positive.*'2'"),
        ({"gravity": -1}, ValueError, "gravity.*at least 0.*-1"),
        ({"gravity": float("nan")}, ValueError, "gravity.*at least 0"),
        ({"perplexity": 10}, ValueError, "perplexity.*force_atlas2.*umap"),
        ({"affinity_out": "student"}, ValueError, "forces of its own.*student"),
        ({"kwargs_affinity_out": {"sigma": 2.0}}, ValueError, "forces of its own.*sigma"),
        ({"process_duplicates": True}, ValueError, "process_duplicates.*edges"),
        ({"dof": 1.0}, TypeError, "available.*scaling_ratio.*gravity"),
    ],
    ids=str,
)
def test_error_names_what_is_wrong(given, error, message):
    with pytest.raises(error, match=message):
        ne.tl.neighbor_embedding(blobs(), method="ForceAtlas2", use_rep="X_pca", max_iter=5, **given)
