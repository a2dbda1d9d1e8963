"""Numba twins of the hot torch functions, for float32 on the CPU.

Each kernel is serial, takes `(chunk, begin, end, ...)`, releases the GIL and is run over ranges of rows by
`backend.parallel`. Row pointers and indices are unsigned: with signed ones numba checks every gather for negative
wrap-around. A function at the end of a file runs its kernels on tensors: it is what `compute.twins` names, with the
plain torch function that a table test compares it with.
"""

from __future__ import annotations

from numba import njit

# `reassoc` lets sums vectorise; the order is then fixed at compilation, so repeated runs agree bit for bit.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function):
    """Compile a function over a range of rows: no GIL, cached on disk, sums free to vectorise."""
    return njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")(function)
