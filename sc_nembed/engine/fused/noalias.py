"""Reads and writes of arrays that do not overlap, in loops that gather.

LLVM vectorises such a loop only if it knows that no write changes what is read later; of numba's arrays it knows
nothing. It may compare addresses first, and then the bits of a result depend on where its arrays lie. Where everything
a loop reads goes through `read`, one array that it writes through `write`, and another one through `write_other`,
there is nothing to compare.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

READ, WRITTEN, OTHER_WRITTEN = "read", "written", "other written"


def _scopes(builder, *names):
    """A list of alias scopes: an access that lies in one touches nothing of an access that excludes it."""
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "arrays of a loop")])
    return module.add_metadata([module.add_metadata([ir.MetaDataString(module, name), domain]) for name in names])


def _address(context, builder, signature, args):
    return builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])


@intrinsic
def read(typing_context, array, index):
    """`array[index]` of a contiguous 1-D array, unsigned index."""

    def generate(context, builder, signature, args):
        found = builder.load(_address(context, builder, signature, args))
        found.set_metadata("alias.scope", _scopes(builder, READ))
        return found

    return array.dtype(array, types.uint64), generate


def _writer(name, other):
    def write(typing_context, array, index, value):
        """`array[index] = value` of a contiguous 1-D array, unsigned index, value of the array's type."""

        def generate(context, builder, signature, args):
            stored = builder.store(args[2], _address(context, builder, signature, args))
            stored.set_metadata("alias.scope", _scopes(builder, name))
            stored.set_metadata("noalias", _scopes(builder, READ, other))
            return context.get_dummy_value()

        return types.void(array, types.uint64, array.dtype), generate

    return intrinsic(write)


write, write_other = _writer(WRITTEN, OTHER_WRITTEN), _writer(OTHER_WRITTEN, WRITTEN)
