"""Tables for numba, and room for what a text writes: raw memory, neither counted nor checked.

A table is a pointer to one task's numbers. It gives float64, as in the other backends, whatever it holds.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin, models, register_model
from numba.np.arrayobj import make_array

from lifelong_gym.envs.backends.numba_math import elements, intrinsic
from lifelong_gym.numerics import scalar


class TableType(types.Type):
    """Numbers of one task, of type float64 or float32."""

    def __init__(self, dtype: Any) -> None:
        """Of what it holds."""
        super().__init__(name=f"TableType({dtype})")
        self.dtype = dtype


@register_model(TableType)
class _Pointer(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: TableType) -> None:
        super().__init__(manager, kind, manager.lookup(kind.dtype).get_data_type().as_pointer())


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], TableType) and isinstance(args[1], types.Integer):
            return signature(types.float64, args[0], types.intp)
        return None


def _read(context: Any, builder: Any, kind: TableType, table: Any, index: Any) -> Any:
    number = builder.load(builder.gep(table, [index]))
    return context.cast(builder, number, kind.dtype, types.float64)


@lower_builtin(operator.getitem, TableType, types.intp)
def _getitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _read(context, builder, sig.args[0], *args)


@intrinsic
def tables_of(typing: Any, data: Any, slot: Any) -> Any:
    """The tables of a slot; ``data``: their flat arrays and their strides from slot to slot, or a number: none."""
    arrays = () if isinstance(data, types.Integer) else data[0]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], slot, types.intp)
        pointers = []
        for i, kind in enumerate(arrays):
            start = builder.mul(at, builder.extract_value(args[0], [1, i]))
            array = make_array(kind)(context, builder, builder.extract_value(args[0], [0, i]))
            pointers.append(builder.gep(array.data, [start], inbounds=True))
        return context.make_tuple(builder, sig.return_type, pointers)

    return types.Tuple([TableType(kind.dtype) for kind in arrays])(data, slot), codegen


@intrinsic
def take(typing: Any, table: Any, start: Any, columns: Any) -> Any:
    """See `scalar.take`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = context.cast(builder, args[1], start, types.intp)
        indices = [
            context.cast(builder, c, kind, types.intp)
            for c, kind in zip(elements(builder, columns, args[2]), columns, strict=True)
        ]
        numbers = [_read(context, builder, table, args[0], builder.add(first, index)) for index in indices]
        return context.make_tuple(builder, sig.return_type, numbers)

    return types.UniTuple(types.float64, len(columns))(table, start, columns), codegen


@intrinsic(prefer_literal=True)
def room(typing: Any, n: Any) -> Any:
    """See `scalar.room`: memory of the calling function."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return alloca_once(builder, ir.DoubleType(), size=n.literal_value)

    return types.CPointer(types.float64)(n), codegen


@intrinsic(prefer_literal=True)
def contents(typing: Any, written: Any, n: Any) -> Any:
    """See `scalar.contents`."""
    count = n.literal_value

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cells = [builder.gep(args[0], [context.get_constant(types.intp, i)]) for i in range(count)]
        return context.make_tuple(builder, sig.return_type, [builder.load(cell) for cell in cells])

    return types.UniTuple(types.float64, count)(written, n), codegen


@intrinsic
def fill(typing: Any, out: Any, start: Any, a: Any) -> Any:
    """See `scalar.fill`: straight stores, which LLVM makes vectors of."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = context.cast(builder, args[1], start, types.intp)
        for i, number in enumerate(elements(builder, a, args[2])):
            cell = builder.gep(args[0], [builder.add(first, context.get_constant(types.intp, i))])
            builder.store(context.cast(builder, number, types.float64, out.dtype), cell)
        return context.get_dummy_value()

    return types.void(out, start, a), codegen


NAMES: dict[Any, Any] = {scalar.take: take, scalar.fill: fill, scalar.room: room, scalar.contents: contents}
