"""Functions that exist twice: in plain torch, the truth that runs anywhere, and compiled for one kind of device.

Each line of `TWINS` says which function does something for tensors of a device and a type. All of one name take the
same tensors and give back the same, and a table test compares them. `twin(name, tensor, kernel)` finds the one to call;
that a kernel, or a number of dimensions, has no compiled function is decided here alone, and the plain one then does
it. To compile for another device: a folder beside `fused/`, and its lines.

Functions are named by their place in the engine and looked up at their first use, so that no file that asks for one
imports them all.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ENGINE = __name__.rpartition(".compute.")[0]
PLAIN = ("any", None)
NUMBA = ("cpu", torch.float32)


@dataclass(frozen=True, slots=True)
class Twin:
    """A function by its name; the tuple of kernels that it knows, types or values, and its dimensions; None: any."""

    function: str
    kernels: str | None = None
    dimensions: tuple[int, ...] | None = None

    def takes(self, tensor: Tensor, kernel: Any) -> bool:
        if self.dimensions is not None and tensor.shape[1] not in self.dimensions:
            return False
        known = () if self.kernels is None else _named(self.kernels)
        return self.kernels is None or type(kernel) in known or kernel in known


TWINS: dict[tuple[str, str, torch.dtype | None], Twin] = {
    ("attraction", *PLAIN): Twin("terms.attraction.plain"),
    ("attraction", *NUMBA): Twin("fused.attraction.attraction", "fused.attraction.KERNELS"),
    ("attraction in one pass", *PLAIN): Twin("terms.attraction.plain_in_one_pass"),
    ("attraction in one pass", *NUMBA): Twin("fused.attraction.in_one_pass", "fused.attraction.KERNELS", (2,)),
    ("attraction and step", *PLAIN): Twin("terms.attraction.plain_step"),
    ("attraction and step", *NUMBA): Twin("fused.step.attraction_and_step", "fused.attraction.KERNELS", (2,)),
    ("pair sum", *PLAIN): Twin("terms.pair_sum.plain"),
    ("pair sum", *NUMBA): Twin("fused.pair_sum.pair_sum", "fused.pair_sum.KERNELS"),
    ("denominators", *PLAIN): Twin("terms.denominators.plain_gradient"),
    ("denominators", *NUMBA): Twin("fused.denominators.gradient", "fused.denominators.KERNELS"),
    ("logs of denominators", *PLAIN): Twin("terms.denominators.plain_value"),
    ("logs of denominators", *NUMBA): Twin("fused.denominators.logs", "fused.denominators.KERNELS"),
    ("radii", *PLAIN): Twin("terms.density.plain_radii"),
    ("radii", *NUMBA): Twin("fused.density.radii", "fused.density.KERNELS"),
    ("forces of radii", *PLAIN): Twin("terms.density.plain_forces"),
    ("forces of radii", *NUMBA): Twin("fused.density.forces", "fused.density.KERNELS"),
    ("masses of drawn pairs", *PLAIN): Twin("terms.circle.plain_masses"),
    ("masses of drawn pairs", *NUMBA): Twin("fused.circle.masses", "fused.circle.KERNELS", (1, 2, 3)),
    ("pushes of drawn pairs", *PLAIN): Twin("terms.circle.plain_pushes"),
    ("pushes of drawn pairs", *NUMBA): Twin("fused.circle.pushes", "fused.circle.KERNELS", (1, 2, 3)),
    ("hyperbolic attraction", *PLAIN): Twin("terms.hyperbolic.plain_attraction"),
    ("hyperbolic attraction", *NUMBA): Twin("fused.hyperbolic.along_edges", None, (1, 2, 3)),
    ("hyperbolic sums", *PLAIN): Twin("terms.hyperbolic.plain_sums"),
    ("hyperbolic sums", *NUMBA): Twin("fused.hyperbolic.sums", None, (1, 2, 3)),
    ("row partition", *PLAIN): Twin("terms.row_partition.plain"),
    ("row partition", *NUMBA): Twin("fused.exact_sum.row_partition", "fused.exact_sum.KERNELS_OF_ROWS", (1, 2, 3)),
    ("nearby partners", *PLAIN): Twin("terms.partners.plain_nearby"),
    ("nearby partners", *NUMBA): Twin("fused.partners.nearby_partners"),
    ("mirrored pairs", *PLAIN): Twin("terms.partners.plain_mirrored"),
    ("mirrored pairs", "cpu", torch.int32): Twin("fused.partners.mirrored"),
    ("exact sum", *PLAIN): Twin("radial_sum.exact.plain"),
    ("exact sum", *NUMBA): Twin("fused.exact_sum.exact_sum", "fused.exact_sum.KERNELS", (1, 2, 3)),
    ("potential on a grid", *PLAIN): Twin("radial_sum.fft.plain_potential"),
    ("potential on a grid", *NUMBA): Twin("fused.on_grid.potential"),
    ("reading of a grid", *PLAIN): Twin("radial_sum.fft.plain_reading"),
    ("reading of a grid", *NUMBA): Twin("fused.on_grid.reading"),
    ("nesterov", *PLAIN): Twin("optimize.optimizer.plain_nesterov"),
    ("nesterov", *NUMBA): Twin("fused.update.step"),
    ("adam", *PLAIN): Twin("optimize.adam.plain_step"),
    ("adam", *NUMBA): Twin("fused.adam.step"),
    ("sampled epoch", *PLAIN): Twin("optimize.sampled.plain_epoch"),
    ("sampled epoch", *NUMBA): Twin("fused.umap.sampled_epoch"),
    ("nearest candidates", *PLAIN): Twin("neighbors.plain_nearest"),
    ("nearest candidates", *NUMBA): Twin("fused.affinity.nearest"),
}


def twin(name: str, tensor: Tensor, kernel: Any = None) -> Callable:
    """The function for tensors like this one, (n, dimensions), and a kernel or potential."""
    return compiled_twin(name, tensor, kernel) or _named(TWINS[(name, *PLAIN)].function)


def compiled_twin(name: str, tensor: Tensor, kernel: Any = None) -> Callable | None:
    """The one that is compiled for them; None where that is the plain one."""
    found = TWINS.get((name, tensor.device.type, tensor.dtype))
    return _named(found.function) if found is not None and found.takes(tensor, kernel) else None


@functools.cache
def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"{ENGINE}.{module}"), name)
