"""The SNARE-seq data set: downloaded once, checked, and used without a network afterwards."""

import hashlib
import logging
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import anndata as ad
import numpy as np
import pytest

from sc_nembed.datasets import _snareseq, snareseq

POINTS = np.random.default_rng(0).normal(size=(5, 10))
LABELS = np.array([2, 3, 1, 4, 2])


def text_of(points, labels):
    """The two files as numpy and a plain list write them."""
    rows = ("\t".join(f"{value:.18e}" for value in row) for row in points)
    return {
        "snare_rna.txt": "".join(f"{row}\n" for row in rows).encode(),
        "SNAREseq_types.txt": "".join(f"{label}\n" for label in labels).encode(),
    }


class Counting(SimpleHTTPRequestHandler):
    """Serves a folder and notes what was asked for."""

    def __init__(self, *arguments, asked, **kwargs):
        self.asked = asked
        super().__init__(*arguments, **kwargs)

    def do_GET(self):
        self.asked.append(self.path.removeprefix("/"))
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of small files with the names of the true ones: its folder, and what was asked for so far."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()
    files = text_of(POINTS, LABELS)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(_snareseq, "SHA256", {name: hashlib.sha256(files[name]).hexdigest() for name in files})
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.delenv("SC_NEMBED_CACHE", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, asked=asked, directory=folder)) as http:
        monkeypatch.setattr(_snareseq, "URL", f"http://127.0.0.1:{http.server_port}/")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, asked
        http.shutdown()
        thread.join()


@pytest.fixture
def nobody(server, monkeypatch):
    """An address at which nobody answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as http:
        port = http.server_port
    monkeypatch.setattr(_snareseq, "URL", f"http://127.0.0.1:{port}/")
    return _snareseq.URL


def put(folder, names=("snare_rna.txt", "SNAREseq_types.txt")):
    folder.mkdir(exist_ok=True)
    for name, content in text_of(POINTS, LABELS).items():
        if name in names:
            (folder / name).write_bytes(content)
    return folder


def check(adata):
    assert adata.X.dtype == adata.obsm["X_pca"].dtype == np.float32
    np.testing.assert_array_equal(adata.X, POINTS.astype(np.float32))
    np.testing.assert_array_equal(adata.obsm["X_pca"], adata.X)
    assert adata.obs["label"].tolist() == LABELS.tolist()
    assert adata.obs["cell_type"].tolist() == ["GM", "BJ", "H1", "K562", "GM"]
    assert isinstance(adata.uns["source"], str)


def test_downloads_once_and_then_needs_no_network(server, tmp_path):
    _, asked = server
    for _ in range(2):
        check(snareseq(cache_dir=tmp_path / "cache"))
    assert sorted(asked) == ["SNAREseq_types.txt", "snare_rna.txt"]


def test_files_put_there_by_hand_are_used_offline(nobody, tmp_path):
    check(snareseq(cache_dir=put(tmp_path / "cache")))


def test_folder_is_named_by_the_argument_else_by_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SC_NEMBED_CACHE", str(tmp_path / "environment"))
    snareseq(cache_dir=str(tmp_path / "argument"))
    assert not (tmp_path / "environment").exists()
    snareseq()
    for folder in ("argument", "environment"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == {"snare_rna.txt", "SNAREseq_types.txt"}


def test_folder_is_the_users_cache_where_none_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setattr(_snareseq.pooch, "os_cache", lambda project: tmp_path / f"cache of {project}")
    snareseq()
    assert (tmp_path / "cache of sc_nembed" / "snare_rna.txt").is_file()


def test_wrong_download_says_what_was_expected_and_found(server, tmp_path):
    served, _ = server
    (served / "snare_rna.txt").write_bytes(b"1.0\t2.0\n")
    expected, found = _snareseq.SHA256["snare_rna.txt"], hashlib.sha256(b"1.0\t2.0\n").hexdigest()
    with pytest.raises(ValueError, match=rf"expected {expected} but got {found}"):
        snareseq(cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_spoiled_file_is_downloaded_again(server, tmp_path):
    cache = put(tmp_path / "cache")
    (cache / "snare_rna.txt").write_bytes(b"1.0\n")
    check(snareseq(cache_dir=cache))
    assert server[1] == ["snare_rna.txt"]


@pytest.mark.parametrize(
    ("present", "missing"),
    [((), ["snare_rna.txt", "SNAREseq_types.txt"]), (("snare_rna.txt",), ["SNAREseq_types.txt"])],
)
def test_without_a_server_the_error_says_what_to_put_where(nobody, tmp_path, present, missing):
    cache = put(tmp_path / "cache", present)
    with pytest.raises(ConnectionError) as caught:
        snareseq(cache_dir=cache)
    said = str(caught.value)
    assert f"into the folder {cache} by hand" in said
    assert [name for name in _snareseq.SHA256 if f"{nobody}{name} (sha256 {_snareseq.SHA256[name]})" in said] == missing


def test_spoiled_file_without_a_server_is_among_what_is_missing(nobody, tmp_path):
    cache = put(tmp_path / "cache")
    (cache / "SNAREseq_types.txt").write_bytes(b"1\n")
    with pytest.raises(ConnectionError, match=r"put http\S+/SNAREseq_types.txt \(sha256 \w+\) into"):
        snareseq(cache_dir=cache)


def test_file_gone_from_the_server_is_an_error_that_names_it(server, tmp_path):
    (server[0] / "SNAREseq_types.txt").unlink()
    with pytest.raises(ConnectionError, match=r"Could not download SNAREseq_types.txt .*404"):
        snareseq(cache_dir=tmp_path / "cache")


def test_folder_that_cannot_be_written_to_is_a_permission_error(server, tmp_path, monkeypatch):
    def denied(*arguments, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.makedirs", denied)
    with pytest.raises(PermissionError, match=r"to \S+cache.*SC_NEMBED_CACHE"):
        snareseq(cache_dir=tmp_path / "cache")


def test_nothing_is_printed_and_poochs_logger_is_left_alone(server, tmp_path, capfd):
    logger = logging.getLogger(_snareseq.pooch.get_logger().name)
    level = logger.level
    snareseq(cache_dir=tmp_path / "cache")
    assert logger.level == level
    assert capfd.readouterr() == ("", "")


def test_survives_a_file(server, tmp_path):
    adata = snareseq(cache_dir=tmp_path / "cache")
    adata.write_h5ad(tmp_path / "it.h5ad")
    check(ad.read_h5ad(tmp_path / "it.h5ad"))


def test_the_true_files_hold_the_known_data(tmp_path, data_dir, monkeypatch):
    """The published files, written again from a copy of their numbers, have the checksums that are expected."""
    known = ad.read_h5ad(data_dir / "snareseq.h5ad")
    for name, content in text_of(known.X, known.obs["label"]).items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(_snareseq, "URL", "http://127.0.0.1:9/")
    adata = snareseq(cache_dir=tmp_path)
    np.testing.assert_array_equal(adata.X, known.obsm["X_pca"])
    np.testing.assert_array_equal(adata.obs["label"], known.obs["label"])
    assert adata.obs["cell_type"].astype(str).tolist() == known.obs["cell_type"].astype(str).tolist()
