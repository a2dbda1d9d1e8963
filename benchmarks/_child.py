"""One embedding in a process of its own, for measures that need a fresh one: peak memory, and imports and compilation.

    python benchmarks/_child.py sc_nembed features.npy '{"race": false}'     # prints one line of JSON

`in_fresh_process` calls this file as a script and adds the seconds of the whole process.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

UNIT = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss


def in_fresh_process(tool: str, features: np.ndarray, environment: dict[str, str] | None = None, **options) -> dict:
    """What the script below prints, and the seconds of the whole process as "process"."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        np.save(path, features)
        command = [sys.executable, "-W", "ignore", __file__, tool, str(path), json.dumps(options)]
        begin = time.perf_counter()
        done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True)
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{tool} failed in its own process:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) | {"process": seconds}


def memory(name: str) -> float:
    """GiB of this process now ("VmRSS") or at most so far ("VmHWM").

    Where /proc has it, since `ru_maxrss` of a new process begins with the peak of the process that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 2**30
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 2**20


def with_sc_nembed(features: np.ndarray, warm: int = 0, **options) -> tuple[np.ndarray, dict]:
    """`warm` cells are embedded before, so that loading compiled code is not counted."""
    import anndata

    import sc_nembed as ne

    few, adata = (anndata.AnnData(shape=(len(part), 0), obsm={"X_pca": part}) for part in (features[:warm], features))
    embed = ne.tl.neighbor_embedding  # imports the engine
    if warm:
        embed(few, use_rep="X_pca", device="cpu", **options)
    before, begin = memory("VmRSS"), time.perf_counter()
    embed(adata, use_rep="X_pca", device="cpu", **options)
    seconds = time.perf_counter() - begin
    final = adata.uns["ne"]["final"]
    measured = {"seconds": seconds, "stages": final["seconds"], "n_iter": final["n_iter"], "before": before}
    measured["n_neighbors"] = adata.uns["ne"]["params"]["n_neighbors"]
    return adata.obsm["X_ne"], measured


def with_umap_learn(features: np.ndarray) -> tuple[np.ndarray, dict]:
    import umap

    begin = time.perf_counter()
    embedding = umap.UMAP(random_state=0).fit_transform(features)
    return embedding, {"seconds": time.perf_counter() - begin}


TOOLS = {"sc_nembed": with_sc_nembed, "umap-learn": with_umap_learn}


def main(tool: str, path: str, options: str) -> None:
    embedding, measured = TOOLS[tool](np.load(path), **json.loads(options))
    measured["peak"] = memory("VmHWM")
    measured["bits"] = hashlib.sha256(np.ascontiguousarray(embedding).tobytes()).hexdigest()[:12]
    print(json.dumps(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
