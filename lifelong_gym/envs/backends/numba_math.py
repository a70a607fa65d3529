"""`scalar` and `philox` for numba: strict arithmetic (no fastmath), inlined, so that LLVM can vectorise lane loops.

Tuple helpers are intrinsics because numba can't build a tuple in a comprehension. `load`, `store` and `cursor`
address flat scratch memory without bounds checks or negative-index wraparound: both would stop the vectoriser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.errors import TypingError
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic as _intrinsic
from numba.np.arrayobj import make_array

from lifelong_gym.numerics import philox, scalar
from lifelong_gym.numerics.bind import Binder
from lifelong_gym.numerics.numpy_math import UNSIGNED

intrinsic: Any = _intrinsic
INLINE: dict[str, Any] = {"error_model": "numpy", "forceinline": True}


def _cell(context: Any, builder: Any, array_type: Any, array: Any, index_types: Any, indices: Any, i: int) -> Any:
    """Pointer to element ``(row + i) * width + lane`` of a flat array."""
    row, width, lane = (context.cast(builder, v, t, types.intp) for v, t in zip(indices, index_types, strict=True))
    at = builder.add(builder.mul(builder.add(row, context.get_constant(types.intp, i)), width), lane)
    return builder.gep(make_array(array_type)(context, builder, array).data, [at], inbounds=True)


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, row: Any, width: Any, lane: Any, n: Any) -> Any:
    """``(array[row * width + lane], array[(row + 1) * width + lane], ...)`` as an n-tuple."""
    count = n.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        types_, values = signature.args[1:4], args[1:4]
        cells = [_cell(context, builder, array, args[0], types_, values, i) for i in range(count)]
        return context.make_tuple(builder, signature.return_type, [builder.load(cell) for cell in cells])

    result = types.UniTuple(array.dtype, count) if count else types.Tuple(())
    return result(array, row, width, lane, n), codegen


@intrinsic
def store(typing: Any, array: Any, row: Any, width: Any, lane: Any, values: Any) -> Any:
    """Write a tuple where `load` reads it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for i, value_type in enumerate(values):
            value = context.cast(builder, builder.extract_value(args[4], i), value_type, array.dtype)
            builder.store(value, _cell(context, builder, array, args[0], signature.args[1:4], args[1:4], i))
        return context.get_dummy_value()

    return types.void(array, row, width, lane, values), codegen


@intrinsic
def accumulate(typing: Any, array: Any, row: Any, width: Any, lane: Any, weight: Any, values: Any) -> Any:
    """Add ``weight`` times a tuple where `store` would write it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for i in range(len(values)):
            cell = _cell(context, builder, array, args[0], signature.args[1:4], args[1:4], i)
            term = builder.fmul(args[4], builder.extract_value(args[5], i))
            builder.store(builder.fadd(builder.load(cell), term), cell)
        return context.get_dummy_value()

    return types.void(array, row, width, lane, weight, values), codegen


@intrinsic
def cursor(typing: Any, array: Any, index: Any) -> Any:
    """``&array.flat[index]``: ``cursor(array, i)[j]`` reads and writes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = make_array(array)(context, builder, args[0]).data
        return builder.gep(data, [context.cast(builder, args[1], index, types.intp)], inbounds=True)

    return types.CPointer(array.dtype)(array, index), codegen


def elements(builder: Any, kind: Any, value: Any) -> list[Any]:
    """The numbers of a tuple, or a number alone."""
    return [builder.extract_value(value, i) for i in range(len(kind))] if isinstance(kind, types.BaseTuple) else [value]


def _same_length(name: str, *kinds: Any) -> int:
    lengths = {len(kind) for kind in kinds if isinstance(kind, types.BaseTuple)}
    if len(lengths) != 1:
        raise TypingError(f"{name}: tuples of different lengths {sorted(lengths)}")
    return int(lengths.pop())


def _elementwise(name: str, combine: Callable[..., Any], result: Any = types.float64) -> Any:
    """An intrinsic on tuples of equal length; a number among the arguments goes with every element."""

    def build(kinds: Any) -> Any:
        n = _same_length(name, *kinds)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            columns = [elements(builder, kind, value) for kind, value in zip(kinds, args, strict=True)]
            columns = [column if len(column) == n else column * n for column in columns]
            return context.make_tuple(
                builder, signature.return_type, [combine(builder, *row) for row in zip(*columns, strict=True)]
            )

        return types.UniTuple(result, n)(*kinds), codegen

    return build


def _clip(builder: Any, x: Any, low: Any, high: Any) -> Any:
    capped = builder.select(builder.fcmp_ordered(">", x, high), high, x)
    return builder.select(builder.fcmp_ordered("<", x, low), low, capped)


_ADD = _elementwise("add", lambda builder, x, y: builder.fadd(x, y))
_SUB = _elementwise("sub", lambda builder, x, y: builder.fsub(x, y))
_MUL = _elementwise("mul", lambda builder, x, y: builder.fmul(x, y))
_BOUNDED = _elementwise("bounded", _clip)
_ABOVE = _elementwise(
    "above",
    lambda builder, x, y: builder.select(
        builder.fcmp_ordered(">", x, y), ir.Constant(x.type, 1.0), ir.Constant(x.type, 0.0)
    ),
)
_CHOOSE = _elementwise("choose", lambda builder, condition, x, y: builder.select(condition, x, y))


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """Elementwise sum."""
    return _ADD((a, b))


@intrinsic
def sub(typing: Any, a: Any, b: Any) -> Any:
    """Elementwise difference."""
    return _SUB((a, b))


@intrinsic
def mul(typing: Any, a: Any, b: Any) -> Any:
    """Elementwise product."""
    return _MUL((a, b))


@intrinsic
def bounded(typing: Any, a: Any, low: Any, high: Any) -> Any:
    """Elementwise clip."""
    return _BOUNDED((a, low, high))


@intrinsic
def above(typing: Any, a: Any, b: Any) -> Any:
    """Elementwise 1 where greater, else 0."""
    return _ABOVE((a, b))


@intrinsic
def choose(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """One of two tuples."""
    return _CHOOSE((condition, a, b))


@intrinsic
def absolute(typing: Any, a: Any) -> Any:
    """Elementwise magnitude."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        magnitude = builder.module.declare_intrinsic("llvm.fabs", [context.get_value_type(types.float64)])
        values = [builder.call(magnitude, [x]) for x in elements(builder, a, args[0])]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(types.float64, len(a))(a), codegen


@intrinsic
def total(typing: Any, a: Any) -> Any:
    """Sum from left to right."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _sum(builder, elements(builder, a, args[0]))

    return types.float64(a), codegen


def _sum(builder: Any, values: list[Any]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = builder.fadd(result, value)
    return result


@intrinsic
def beyond(typing: Any, a: Any, limits: Any) -> Any:
    """Whether some ``|a_i| > limits_i``, or is not a number."""
    _same_length("beyond", a, limits)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        magnitude = builder.module.declare_intrinsic("llvm.fabs", [context.get_value_type(types.float64)])
        result = context.get_constant(types.boolean, False)
        for x, limit in zip(elements(builder, a, args[0]), elements(builder, limits, args[1]), strict=True):
            result = builder.or_(result, builder.fcmp_unordered(">", builder.call(magnitude, [x]), limit))
        return result

    return types.boolean(a, limits), codegen


@intrinsic
def matvec(typing: Any, matrix: Any, x: Any) -> Any:
    """Row-major matrix times vector."""
    columns = len(x)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        entries, vector = elements(builder, matrix, args[0]), elements(builder, x, args[1])
        rows = [entries[i : i + columns] for i in range(0, len(entries), columns)]
        products = [[builder.fmul(m, v) for m, v in zip(row, vector, strict=True)] for row in rows]
        return context.make_tuple(builder, signature.return_type, [_sum(builder, row) for row in products])

    return types.UniTuple(types.float64, len(matrix) // columns)(matrix, x), codegen


def _products(pairs: Callable[[int, int], list[tuple[int, int]]], a: Any, b: Any) -> Any:
    wanted = pairs(len(a), len(b))

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        left, right = elements(builder, a, args[0]), elements(builder, b, args[-1])
        return context.make_tuple(builder, signature.return_type, [builder.fmul(left[i], right[j]) for i, j in wanted])

    return types.UniTuple(types.float64, len(wanted)), codegen


@intrinsic
def outer(typing: Any, a: Any, b: Any) -> Any:
    """All products, row by row."""
    result, codegen = _products(lambda n, m: [(i, j) for i in range(n) for j in range(m)], a, b)
    return result(a, b), codegen


@intrinsic
def packed_square(typing: Any, a: Any) -> Any:
    """Upper triangle of ``a a'``."""
    result, codegen = _products(lambda n, _: [(i, j) for i in range(n) for j in range(i, n)], a, a)
    return result(a), codegen


@njit(**INLINE)
def where(condition: Any, if_true: Any, if_false: Any) -> Any:
    """One of two floats."""
    return if_true if condition else if_false


@njit(**INLINE)
def clip(x: Any, low: Any, high: Any) -> Any:
    """As the scalar text."""
    return low if x < low else (high if x > high else x)


@njit(**INLINE)
def quadrant(shifted: Any) -> Any:
    """See `scalar.quadrant`."""
    q = np.float64(shifted).view(np.uint64)
    one, two = np.uint64(1), np.uint64(2)
    return (q & one) != 0, (q & two) != 0, ((q + one) & two) != 0


@njit(**INLINE)
def mantissa_exponent(x: Any) -> Any:
    """See `scalar.mantissa_exponent`."""
    bits = np.float64(x).view(np.uint64) + np.uint64(0x00095F619980C433)
    m = np.uint64((bits & np.uint64(0x000FFFFFFFFFFFFF)) + np.uint64(0x3FE6A09E667F3BCD)).view(np.float64)
    return m, np.float64(np.int64(bits >> np.uint64(52)) - np.int64(1023))


@njit(**INLINE)
def power_of_two(n: Any) -> Any:
    """See `scalar.power_of_two`."""
    return np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


@njit(**INLINE)
def unit_interval(high: Any, low: Any) -> Any:
    """See `philox.unit_interval`; the bits of a float in [1, 2), less one, are the same number."""
    word = (high << np.uint64(32)) | low
    return np.uint64((word >> np.uint64(12)) | np.uint64(0x3FF0000000000000)).view(np.float64) - 1.0


NAMES: dict[Any, Any] = {
    scalar.where: where,
    scalar.choose: choose,
    scalar.clip: clip,
    scalar.bounded: bounded,
    scalar.quadrant: quadrant,
    scalar.mantissa_exponent: mantissa_exponent,
    scalar.add: add,
    scalar.sub: sub,
    scalar.mul: mul,
    scalar.above: above,
    scalar.absolute: absolute,
    scalar.scale: mul,
    scalar.shift: add,
    scalar.total: total,
    scalar.beyond: beyond,
    scalar.matvec: matvec,
    scalar.outer: outer,
    scalar.packed_square: packed_square,
    scalar.power_of_two: power_of_two,
    scalar.put: tuple_setitem,
    philox.unit_interval: unit_interval,
}


def binder(module: str, names: Mapping[Any, Any] = MappingProxyType({})) -> Binder:
    """A binder to inlined numba functions that live, for numba's cache, in ``module``; ``names`` are others' own."""
    result = Binder({**NAMES, **names}, wrap=njit(**INLINE), module=module)
    for function in (philox.philox_round, philox.philox):
        result.replace(function, UNSIGNED)
    return result
