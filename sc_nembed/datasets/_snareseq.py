"""`datasets.snareseq`: the gene-expression side of the SNARE-seq cell-line mixture."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its progress bar complains about notebooks without widgets; none is shown
    import pooch

CACHE_VARIABLE = "SC_NEMBED_CACHE"
URL = "https://rsinghlab.github.io/SCOT/data/"
EXPRESSION, TYPES = "snare_rna.txt", "SNAREseq_types.txt"
SHA256 = {
    EXPRESSION: "1ddf5340916c21f4cb93136620615c652e7e40f82ae7b2efa36e304134cda2fd",
    TYPES: "160e7b1944af3e991a866f1f48a6512ac985c6dba80fbf19702462c29bb53fcf",
}
CELL_TYPES = ("H1", "GM", "BJ", "K562")  # of the labels 1, 2, 3, 4


def snareseq(*, cache_dir: str | os.PathLike[str] | None = None) -> AnnData:
    """Gene expression of 1 047 cells of four human cell lines, measured by SNARE-seq.

    The files are those of the SCOT project (https://github.com/rsinghlab/SCOT, 0.3 MB). They are downloaded on the
    first call, and their checksums are compared; later calls need no network.

    Parameters
    ----------
    cache_dir
        Folder that keeps the files. None: the one named by the environment variable SC_NEMBED_CACHE, else the user's
        cache folder of this system.

    Returns
    -------
    AnnData of 1 047 cells by 10 variables

    `.X`, `.obsm["X_pca"]`
        (1047, 10) float32, the same values in both. They were reduced to 10 dimensions by their authors; there are no
        counts.
    `.obs["label"]`, `.obs["cell_type"]`
        Integers 1 to 4, and the cell lines they stand for: H1, GM, BJ and K562.
    `.uns["source"]`
        Where the data come from.

    Raises
    ------
    ConnectionError
        Where a file is not in the folder and cannot be downloaded; says which file to put where by hand.
    PermissionError
        Where the folder cannot be written to.
    ValueError
        Where a downloaded file has another checksum than expected.

    References
    ----------
    Chen, Lake & Zhang (2019) Nat. Biotechnol. 37:1452.

    Examples
    --------
    >>> adata = ne.datasets.snareseq()
    >>> ne.tl.neighbor_embedding(adata, use_rep="X_pca")
    """
    folder = Path(cache_dir or os.environ.get(CACHE_VARIABLE) or pooch.os_cache("sc_nembed")).expanduser()
    with _quiet_pooch():
        expression, types = (_fetch(name, folder) for name in (EXPRESSION, TYPES))
    points = np.loadtxt(expression, np.float32, delimiter="\t", ndmin=2)
    label = np.loadtxt(types, np.int64, ndmin=1)
    names = pd.Categorical.from_codes(label - 1, CELL_TYPES)
    obs = pd.DataFrame({"label": label, "cell_type": names}, index=[str(cell) for cell in range(label.size)])
    source = f"SNARE-seq cell-line mixture, gene expression; Chen, Lake & Zhang 2019; {URL}{EXPRESSION}"
    return AnnData(points, obs=obs, obsm={"X_pca": points.copy()}, uns={"source": source})


def _fetch(name: str, folder: Path) -> str:
    """The path of a file in the folder, downloaded where it is missing or not what it should be."""
    try:
        return pooch.create(folder, URL, registry=SHA256).fetch(name)
    except OSError as error:
        kind = PermissionError if isinstance(error, PermissionError) else ConnectionError
        raise kind(f"Could not download {name} to {folder}: {error}. {_by_hand(folder)}") from error
    except ValueError as error:
        raise ValueError(f"{error} Try again later. {_by_hand(folder)}") from error


def _by_hand(folder: Path) -> str:
    wanted = [name for name in SHA256 if not _is_right(name, folder)]
    files = " and ".join(f"{URL}{name} (sha256 {SHA256[name]})" for name in wanted)
    return (
        f"Without a network, put {files} into the folder {folder} by hand; or name another folder by `cache_dir` or by "
        f"the environment variable {CACHE_VARIABLE}."
    )


def _is_right(name: str, folder: Path) -> bool:
    return (folder / name).is_file() and pooch.file_hash(folder / name) == SHA256[name]


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Without pooch's messages; its logger is shared with other packages, so that it is left as it was."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
