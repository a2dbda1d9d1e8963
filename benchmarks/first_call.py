"""Where the seconds of a first embedding go: imports, compilation, the embedding itself.

Each measurement is a process of its own with an empty cache of compiled code; the table shows medians. The imports are
timed one after another, as a script would do them. Below the line are libraries that a t-SNE of `obsm["X_pca"]` does
not import, each as it would come on top of that.

    python benchmarks/first_call.py     # writes benchmarks/results/first_call.md; 2 700 random cells, a minute
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import _common as common
import numpy as np

IMPORTS = ("numpy", "torch", "anndata", "numba", "sc_nembed")
SPARED = ("scanpy", "sklearn.decomposition", "scipy.stats")
REPEATS = 3
PROGRAM = """
import importlib, json, time
seconds = {}
def timed(name, call):
    start = time.perf_counter()
    call()
    seconds[name] = time.perf_counter() - start
for name in %(imports)r:
    timed("import " + name, lambda: importlib.import_module(name))
import anndata, numpy as np, sc_nembed as ne
timed("import sc_nembed.tl", lambda: ne.tl.neighbor_embedding)
from numba.core import event
rng = np.random.default_rng(0)
cells = (rng.normal(size=(20, 50))[rng.integers(20, size=2700)] + rng.normal(size=(2700, 50))).astype(np.float32)
adata = anndata.AnnData(shape=(2700, 0), obsm={"X_pca": cells})
compiled = []  # one number; none where all code is at hand
with event.install_timer("numba:compile", compiled.append):
    timed("embed", lambda: ne.tl.neighbor_embedding(adata, verbose=False))
seconds["compile"] = sum(compiled)
for name in %(spared)r:
    timed("not imported: " + name, lambda: importlib.import_module(name))
print(json.dumps(seconds))
"""


def measured(cache: str, spared: tuple[str, ...]) -> dict[str, float]:
    program = PROGRAM % {"imports": IMPORTS, "spared": spared}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=os.environ | {"NUMBA_CACHE_DIR": cache}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _median(runs: list[dict[str, float]], name: str) -> str:
    return f"{np.median([run[name] for run in runs if name in run]):.2f}"


def main() -> None:
    options, machine = common.arguments(__doc__).parse_args(), common.machine()
    first, later = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as cache:
            first.append(measured(cache, ()))
            for name in SPARED:
                later.append(measured(cache, (name,)))
    names = [name for name in first[0] if name.startswith("import")]
    rows = [[name, _median(first, name)] for name in [*names, "compile"]]
    rows.append(["embed, compiled code at hand", _median(later, "embed")])
    rows += [[f"not imported: {name}", _median(later, f"not imported: {name}")] for name in SPARED]
    paragraphs = [
        "The first t-SNE of 2 700 cells after an installation; compiling is done once.",
        common.markdown_table(["", "s"], rows),
        f"Machine: {machine} at the start. Versions: {common.versions()}.",
        f"State of sc_nembed's source: {common.source_state()}.",
    ]
    common.report("First call", paragraphs, options.output or common.RESULTS / "first_call.md")


if __name__ == "__main__":
    main()
