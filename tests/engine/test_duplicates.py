"""Equal rows embedded once, with their number as weight."""

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine.affinity import EntropicAffinity, PrecomputedAffinity, UniformAffinity
from sc_nembed.engine.cells.duplicates import distinct_rows
from sc_nembed.engine.cells.rows import Rows
from sc_nembed.engine.neighbors import nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import resolve_method, sne, tsne, umap

from . import _truth

N = 120
METHODS_WITH_COUNTS = {"tsne": tsne(), "sne": sne(), "umap": umap()}
every_method = pytest.mark.parametrize("preset", METHODS_WITH_COUNTS.values(), ids=METHODS_WITH_COUNTS)


@pytest.fixture(scope="module")
def features(pbmc):
    return pbmc[:N].contiguous()


def times(seed: int = 0, most: int = 5) -> torch.Tensor:
    """How many copies of each row; of half of them one."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.where(rng.uniform(size=N) < 0.5, 1, rng.integers(2, most, N)))


def shuffled_copies(features, counts, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """All copies in any order, and the row each of them is a copy of."""
    row = torch.arange(len(counts)).repeat_interleave(counts)
    row = row[torch.from_numpy(np.random.default_rng(seed).permutation(len(row)))]
    return features[row].contiguous(), row


def quick(preset, **changes):
    return changed(preset, max_iter=30, n_jobs=2, **{"process_duplicates": True, **changes})


# --- the distinct rows ---


def test_distinct_rows_are_the_first_of_each_kind_in_the_order_of_the_cells():
    rows = torch.tensor([[2.0, 1.0], [0.0, 5.0], [2.0, 1.0], [1.0, 1.0], [-0.0, 5.0], [2.0, 1.0]])
    before = rows.clone()
    found = distinct_rows(rows)
    assert found.first.tolist() == [0, 1, 3]
    assert found.inverse.tolist() == [0, 1, 0, 2, 1, 0]
    assert found.counts.tolist() == [3.0, 2.0, 1.0]
    assert found.counts.dtype == torch.float32
    assert torch.equal(rows, before)
    assert torch.equal(found.complete(found.select(rows)), rows)  # −0 is 0


def test_distinct_rows_equal_those_of_numpy(features):
    cells, row = shuffled_copies(features, times())
    found = distinct_rows(cells)
    expected, counts = np.unique(cells.numpy(), axis=0, return_counts=True)
    assert len(found.first) == len(expected) == N
    order = np.lexsort(found.select(cells).numpy().T[::-1])
    np.testing.assert_array_equal(found.select(cells).numpy()[order], expected)
    np.testing.assert_array_equal(found.counts.numpy()[order], counts)
    assert (found.first.diff() > 0).all()
    assert torch.equal(found.complete(found.select(row)), row)


def test_rows_that_differ_in_one_bit_are_distinct(features):
    cells = torch.cat([features, features[:1]])
    assert len(distinct_rows(cells).first) == N
    cells[-1, 7] = torch.nextafter(cells[-1, 7], torch.tensor(torch.inf))
    assert distinct_rows(cells) == Rows()


def test_nothing_happens_where_all_rows_differ(features):
    found = distinct_rows(features)
    assert found == Rows()
    matrix = UniformAffinity()(nearest_neighbors(features, 10))
    assert found.select(features) is features
    assert found.complete(features) is features
    assert found.weigh(matrix) is matrix
    assert found.select(None) is None


@pytest.mark.parametrize("affinity", [EntropicAffinity(10), UniformAffinity()], ids=str)
def test_weighed_affinities_keep_their_sums_and_favour_edges_of_many_cells(features, affinity):
    cells, _ = shuffled_copies(features, times())
    distinct = distinct_rows(cells)
    matrix = affinity(nearest_neighbors(distinct.select(cells), 30))
    weighed = distinct.weigh(matrix)
    assert weighed.total == matrix.total
    assert float(weighed.weights.double().sum()) == pytest.approx(matrix.total, rel=1e-6)
    assert float(weighed.row_mass.double().sum()) == pytest.approx(float(matrix.row_mass.double().sum()), rel=1e-6)
    before, after, counts = _truth.dense(matrix), _truth.dense(weighed), distinct.counts.double().numpy()
    np.testing.assert_allclose(after, after.T, rtol=1e-6)
    expected = before * (counts[:, None] + counts) / 2
    np.testing.assert_allclose(after, expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(weighed.row_mass, counts / counts.sum(), rtol=1e-5)


# --- through embed ---


@every_method
def test_equal_rows_get_equal_positions(features, preset):
    cells, row = shuffled_copies(features, times())
    result = embed(cells, quick(preset))
    assert result.embedding.shape == (len(cells), 2)
    assert torch.isfinite(result.embedding).all()
    first = torch.full((N,), -1)
    for cell in reversed(range(len(cells))):
        first[row[cell]] = cell
    assert torch.equal(result.embedding, result.embedding[first[row]])
    assert len(torch.unique(result.embedding, dim=0)) == N
    assert result.used["process_duplicates"]
    assert result.kl_divergence is None  # P of the distinct rows and Q of all cells
    usual = embed(cells, quick(preset, process_duplicates=False))
    assert len(torch.unique(usual.embedding, dim=0)) > N
    assert not usual.used["process_duplicates"]


@every_method
def test_without_duplicates_nothing_changes(features, preset):
    on, off = (embed(features, quick(preset, process_duplicates=value)) for value in (True, False))
    assert torch.equal(on.embedding, off.embedding)
    assert on.kl_divergence == off.kl_divergence
    for name, values in off.history.items():
        np.testing.assert_array_equal(on.history[name], values)


@every_method
def test_numbers_of_copies_matter(features, preset):
    """The same distinct rows in the same order, in other numbers; without process_duplicates once each."""
    config = quick(preset, init="spectral")
    found = [embed(features, config).embedding]
    for seed in (0, 1):
        row = torch.cat([torch.arange(N), torch.arange(N).repeat_interleave(times(seed) - 1)])
        found.append(embed(features[row], config).embedding[:N])
    span = float(found[0].amax() - found[0].amin())
    for i in range(3):
        for j in range(i):
            assert float((found[i] - found[j]).abs().max()) > 1e-3 * span


@every_method
def test_order_of_the_copies_does_not_matter(features, preset):
    """Where the first ones of each kind are in the same order."""
    counts, config = times(), quick(preset)
    extra = torch.arange(N).repeat_interleave(counts - 1)
    one, two = torch.cat([torch.arange(N), extra]), torch.cat([torch.arange(N), extra.flip(0)])
    first = embed(features[one], config).embedding
    second = embed(features[two], config).embedding
    # the mean that the features are centred by is added up in another order
    torch.testing.assert_close(first[:N], second[:N], rtol=0, atol=2e-2 * float(first.abs().max()))


@pytest.mark.parametrize("normalization", ["all", "row", "none"])
def test_loss_counts_every_cell(features, normalization):
    """−Σ P log q of the distinct rows, and the repulsion of all cells, one by one."""
    cells, _ = shuffled_copies(features, times())
    preset = changed(
        resolve_method("neighborembedding"), kwargs_affinity_out={"dof": 1.0, "normalization": normalization}
    )
    result = embed(cells, quick(preset, perplexity=10.0))
    kernel = _truth.student(_truth.sq_distances(result.embedding, result.embedding))
    np.fill_diagonal(kernel, 0)
    expected = {
        "all": np.log(kernel.sum()), "row": np.log(kernel.sum(1)).mean(), "none": kernel.sum(),
    }[normalization]  # fmt: skip
    assert result.history["repulsion"][-1] == pytest.approx(expected, rel=1e-5)
    distinct = distinct_rows(cells)
    centred = cells - cells.double().mean(0).float()
    matrix = distinct.weigh(EntropicAffinity(10)(nearest_neighbors(distinct.select(centred), 30)))
    positions = distinct.select(result.embedding)
    attraction = (_truth.dense(matrix) * np.log1p(_truth.sq_distances(positions, positions))).sum()
    assert result.history["attraction"][-1] == pytest.approx(attraction, rel=1e-4)


def test_given_start_is_that_of_the_first_cells(features):
    cells, _ = shuffled_copies(features, times())
    start = torch.from_numpy(np.random.default_rng(0).normal(size=(len(cells), 2)).astype(np.float32))
    distinct = distinct_rows(cells)
    seen = []
    config = quick(tsne(), init=start, lr=1e-12, check_interval=1)
    embed(cells, config, callbacks=[lambda info: seen.append(info.embedding) or True])
    assert seen[0].shape == start.shape
    np.testing.assert_allclose(np.asarray(seen[0]), start[distinct.first][distinct.inverse], atol=1e-6)


@pytest.mark.parametrize("source", ["graph", "matrix", "precomputed"])
def test_graphs_and_affinities_are_taken_as_they_are(features, source):
    """They say themselves what equal cells are to each other."""
    cells, _ = shuffled_copies(features, times())
    graph = nearest_neighbors(cells, 30)
    given, changes = cells, {}
    if source == "precomputed":
        changes["affinity_in"] = PrecomputedAffinity(np.exp(-_truth.sq_distances(cells, cells) / 50))
    else:
        given = graph if source == "graph" else EntropicAffinity(10)(graph)
    results = [embed(given, quick(tsne(), process_duplicates=on, **changes)) for on in (True, False)]
    assert torch.equal(results[0].embedding, results[1].embedding)
    assert not results[0].used["process_duplicates"]
    assert len(torch.unique(results[0].embedding, dim=0)) > N


def test_dense_losses_take_every_cell(features):
    cells, _ = shuffled_copies(features, times())
    config = resolve_method("affinitymatcher")
    results = [embed(cells, quick(config, process_duplicates=on)) for on in (True, False)]
    assert torch.equal(results[0].embedding, results[1].embedding)
    assert not results[0].used["process_duplicates"]


def test_cosine_merges_equal_rows_and_not_those_of_one_direction(features):
    result = embed(torch.cat([features, features[:40], 2 * features[:10]]), quick(tsne(), metric="cosine"))
    assert torch.equal(result.embedding[N : N + 40], result.embedding[:40])
    assert len(torch.unique(result.embedding, dim=0)) == N + 10


def test_too_few_different_cells_are_refused(features):
    with pytest.raises(ValueError, match="at least 5 different cells; got 4"):
        embed(features[torch.arange(40) % 4], quick(tsne()))
    assert embed(features[torch.arange(40) % 5], quick(tsne())).embedding.shape == (40, 2)
