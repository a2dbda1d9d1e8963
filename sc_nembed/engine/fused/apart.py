"""Reads and writes of arrays that do not overlap, in loops that gather.

LLVM vectorises such a loop only if it knows that no write changes what a later gather reads; of numba's arrays it
knows nothing. Where everything a loop reads goes through `read` and everything it writes through `write`, it does.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _scope(builder):
    """A list of one alias scope: reads lie in it, writes do not."""
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "arrays of a loop")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, "those read"), domain])])


def _address(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def read(typing_context, array, index):
    """`array[index]` of a contiguous 1-D array, unsigned index."""

    def generate(context, builder, signature, args):
        found = builder.load(_address(context, builder, signature.args[0], *args))
        found.set_metadata("alias.scope", _scope(builder))
        return found

    return array.dtype(array, types.uint64), generate


@intrinsic
def write(typing_context, array, index, value):
    """`array[index] = value` of a contiguous 1-D array, unsigned index, value of the array's type."""

    def generate(context, builder, signature, args):
        stored = builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]))
        stored.set_metadata("noalias", _scope(builder))
        return context.get_dummy_value()

    return types.void(array, types.uint64, array.dtype), generate
