"""Same machine, same seed: the same bits, whatever the number of threads, stage by stage."""

import hashlib
import multiprocessing
import queue
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from _configs import changed
from sc_nembed.engine.affinity import EntropicAffinity, UMAPAffinity, UniformAffinity
from sc_nembed.engine.cells.features import checked_features
from sc_nembed.engine.compute import backend
from sc_nembed.engine.initialization import NAMES, start_positions
from sc_nembed.engine.kernel import Gaussian, Rational, RationalRepulsion, StudentT
from sc_nembed.engine.neighbors import KNN, nearest_neighbors
from sc_nembed.engine.pipeline import embed
from sc_nembed.engine.presets import localmap, pacmap, sne, tsne, umap
from sc_nembed.engine.radial_sum import RADIAL_SUMS
from sc_nembed.engine.terms import Attraction, ExpectedRepulsion, Mass, Partition, RowPartition
from sc_nembed.engine.view import View
from sc_nembed.engine.world import SERIAL

N_JOBS = (1, 2, 8)


@pytest.fixture(scope="module")
def many() -> torch.Tensor:
    """Enough cells for the grid and for several ranges of every kernel, a prime number of them."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(50, 12))[rng.integers(0, 50, 6007)] + 0.4 * rng.normal(size=(6007, 12))
    return torch.from_numpy(cells.astype(np.float32))


def bits(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(tensor.numpy()).tobytes() for tensor in tensors)).hexdigest()[
        :12
    ]


def stages(cells: torch.Tensor, n_jobs: int, method: str) -> dict[str, str]:
    """The bits of every stage by name, so that the culprit is named."""
    found = {}
    with backend.session(n_jobs):
        features = checked_features(cells, "euclidean")
        graph = nearest_neighbors(features, 15, method=method)
        found["features"], found["neighbors"] = bits(features), bits(graph.indices, graph.distances)
        for affinity in (EntropicAffinity(5), UniformAffinity(), UMAPAffinity()):
            matrix = affinity(graph)
            name = type(affinity).__name__
            found[name] = bits(
                matrix.indptr, matrix.indices, matrix.weights, matrix.row_mass, torch.tensor(matrix.total)
            )
        matrix = EntropicAffinity(5)(graph)
        for init in NAMES:
            start, _ = start_positions(init, 5.0, features=features, matrix=matrix, n_components=2, seed=0)
            found[f"init {init}"] = bits(start)
        for name, make in RADIAL_SUMS.items():
            plan = make(
                StudentT(),
                n_components=2,
                tolerance=None,
                device=torch.device("cpu"),
                dtype=torch.float32,
                world=SERIAL,
            )
            for term in (Attraction(matrix, StudentT()), Partition(plan, 1.0)):
                force = term(View.whole(start), value=True)
                found[f"{type(term).__name__} {name}"] = bits(force.gradient, force.curvature, force.value)
    return found


@pytest.mark.parametrize(
    ("cells", "method"),
    [(cells, name) for cells in ("pbmc", "many") for name in KNN if (cells, name) != ("many", "keops")],
)  # KeOps compiles each number of features for seconds
def test_stages_have_the_same_bits_for_any_number_of_threads(cells, method, request):
    cells = request.getfixturevalue(cells)
    first = stages(cells, 1, method)
    for n_jobs in N_JOBS[1:]:
        again = stages(cells, n_jobs, method)
        assert [name for name in first if again[name] != first[name]] == [], f"with {n_jobs} threads"


def test_inverted_file_has_the_same_bits_for_any_number_of_threads(many, monkeypatch):
    from sc_nembed.engine.neighbors import faiss

    monkeypatch.setattr(faiss, "FLAT_CELLS", 1000)
    found = set()
    for n_jobs in N_JOBS:
        with backend.session(n_jobs):
            graph = nearest_neighbors(many, 30, method="faiss")
        found.add(bits(graph.indices, graph.distances))
    assert len(found) == 1


def term_bits(cells: torch.Tensor, n_jobs: int) -> dict[str, str]:
    """The bits of every term with every kernel, with and without counts."""
    found, n = {}, len(cells)
    with backend.session(n_jobs):
        matrix = UniformAffinity()(nearest_neighbors(cells, 14))
        start = 3 * cells[:, :2].contiguous()
        numbers = torch.from_numpy(np.random.default_rng(0).integers(1, 4, n).astype(np.float32))

        def plan(potential, name):
            return RADIAL_SUMS[name](
                potential, n_components=2, tolerance=None, device=torch.device("cpu"), dtype=torch.float32, world=SERIAL
            )

        for counts in (None, numbers):
            terms = {}
            for kernel in (StudentT(0.5), Gaussian(2.0), Rational(1.577, 0.895)):
                terms[f"Attraction {kernel}"] = Attraction(matrix, kernel)
                for name in ("torch", "fft"):
                    terms[f"Partition {kernel} {name}"] = Partition(plan(kernel, name), 1.0, counts)
                    terms[f"Mass {kernel} {name}"] = Mass(plan(kernel, name), 1.0, counts)
                terms[f"RowPartition {kernel} fft"] = RowPartition(
                    kernel, matrix.row_mass, 1.0, plan(kernel, "fft"), counts
                )
            terms["RowPartition exact"] = RowPartition(Gaussian(2.0), matrix.row_mass, 1.0, None, counts)
            for name in ("torch", "fft"):
                repulsion = plan(RationalRepulsion(1.577, 0.895), name)
                terms[f"ExpectedRepulsion {name}"] = ExpectedRepulsion(repulsion, matrix.row_sums(), 5.0, counts)
            for name, term in terms.items():
                force = term(View.whole(start), value=True)
                found[f"{name}, counts {counts is not None}"] = bits(force.gradient, force.curvature, force.value)
    return found


@pytest.mark.parametrize("cells", ["pbmc", "many"])
def test_terms_have_the_same_bits_for_any_number_of_threads(cells, request):
    cells = request.getfixturevalue(cells)
    first = term_bits(cells, 1)
    for n_jobs in N_JOBS[1:]:
        again = term_bits(cells, n_jobs)
        assert [name for name in first if again[name] != first[name]] == [], f"with {n_jobs} threads"


def embedding_bits(source: torch.Tensor, n_jobs: int = 2, preset=tsne, **changes) -> tuple[str, str]:
    result = embed(source, changed(preset(), n_jobs=n_jobs, **changes))
    history = [torch.from_numpy(np.asarray(column, float)) for column in result.history.values()]
    return bits(result.embedding), bits(*history)


RUNS = {
    "race": {},
    "single": {"max_iter": 60},
    "random start": {"max_iter": 60, "init": "random"},
    "spectral start": {"max_iter": 60, "init": "spectral"},
    "uniform": {"n_neighbors": 15, "max_iter": 60},
    "Adam": {"optimizer": "Adam", "max_iter": 60},
    "DeltaBarDelta": {"optimizer": "DeltaBarDelta", "max_iter": 60},
    "3-D": {"n_components": 3, "max_iter": 60},
    "faiss": {"backend": "faiss", "max_iter": 60},
    "UMAP": {"preset": umap, "max_iter": 60},
    "UMAP sampled": {"preset": umap, "repulsion": "sampled", "max_iter": 60},
    "UMAP sampled, neighbors excluded": {
        "preset": umap, "repulsion": "sampled", "exclude_neighbors": True, "max_iter": 30, "n_components": 3,
    },
    "SNE": {"preset": sne, "max_iter": 60},
    "PaCMAP": {"preset": pacmap, "max_iter": 60},
    "LocalMAP": {"preset": localmap, "max_iter": 60},
    "duplicates": {"process_duplicates": True, "max_iter": 60},
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_embedding_has_the_same_bits_twice_and_for_any_number_of_threads(pbmc, name):
    found = [embedding_bits(pbmc, n_jobs, **RUNS[name]) for n_jobs in (2, *N_JOBS)]
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", ["single", "uniform", "faiss", "UMAP", "UMAP sampled", "SNE"])
def test_embedding_on_the_grid_has_the_same_bits_for_any_number_of_threads(many, name):
    found = [embedding_bits(many, n_jobs, **RUNS[name]) for n_jobs in N_JOBS]
    assert len(set(found)) == 1


def test_another_seed_moves_a_random_start(pbmc):
    one, two = (embedding_bits(pbmc, init="random", max_iter=20, random_state=seed) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("preset", [tsne, sne, umap], ids=["tsne", "sne", "umap"])
def test_seed_of_a_pca_start_does_not_matter(pbmc, preset):
    """Nothing else is random, except in UMAP by sampling."""
    one, two = (embedding_bits(pbmc, preset=preset, max_iter=20, random_state=seed) for seed in (0, 1))
    assert one == two
    if preset is umap:
        one, two = (
            embedding_bits(pbmc, preset=preset, repulsion="sampled", max_iter=20, random_state=seed) for seed in (0, 1)
        )
        assert one[0] != two[0]


def test_python_threads_give_the_bits_of_a_run_alone(pbmc, many):
    alone = [embedding_bits(cells, max_iter=40) for cells in (pbmc, many)]
    with ThreadPoolExecutor(2) as pool:
        together = [pool.submit(embedding_bits, cells, max_iter=40) for cells in (pbmc, many, pbmc, many)]
        assert [future.result() for future in together] == alone * 2


def test_run_inside_of_a_callback_gives_the_bits_of_a_run_alone(pbmc):
    """The lock is taken twice by one thread, and the number of threads is that of the outer run afterwards."""
    alone, inner = embedding_bits(pbmc, max_iter=30), []

    def nested(info):
        inner.append(embedding_bits(pbmc, n_jobs=1, max_iter=30))

    outer = embed(pbmc, changed(tsne(), n_jobs=2, max_iter=30, check_interval=20), callbacks=[nested])
    assert set(inner) == {alone}
    assert bits(outer.embedding) == bits(embed(pbmc, changed(tsne(), n_jobs=2, max_iter=30)).embedding)


def _embed_in_child(answers, source, changes):
    answers.put(embedding_bits(source, **changes))


@pytest.mark.parametrize(("name", "n_jobs"), [("torch", 2), ("graph", 2), ("faiss", 2), ("faiss", 1)])
def test_forked_child_embeds_after_its_parent_did(many, name, n_jobs):
    """OpenMP's threads, torch's and faiss', do not survive a fork; who asks for them again waits for ever."""
    changes = {"max_iter": 20, "n_jobs": n_jobs, "init": "pca" if name != "graph" else "random"}
    source = many if name != "graph" else nearest_neighbors(many, 10)
    if name == "faiss":
        changes["backend"] = name
    expected = embedding_bits(source, **changes)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_embed_in_child, args=(answers, source, changes))
    with warnings.catch_warnings():  # Python ≥ 3.12 warns of forks of processes with threads, which is what is tested
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    try:
        found = answers.get(timeout=20)
    except queue.Empty:
        found = "the child hangs"
    finally:
        child.kill()
        child.join()
    assert found == expected
