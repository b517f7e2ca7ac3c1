"""Vectors of 16 floats for kernels that numba compiles.

LLVM's own loop vectoriser keeps sums in memory where it cannot prove that arrays do not overlap,
and calls a scalar exp. These few operations say outright what should stand in a register: one
AVX-512 register, two of AVX2, four of NEON. Arrays are given by their addresses: handing numba's
own arrays from function to function costs two calls each time to count references.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock  # noqa: TID251 - guards against threads, starts none
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 16

_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(_I32, LANES)
_SHORTS = ir.VectorType(ir.IntType(16), LANES)


def _start_threads() -> None:
    """Start numba's threads and leave torch the number of its own.

    Where both use OpenMP, numba sets the number for both when it starts: torch would then take
    every core, whatever it was told, and round differently from then on.
    """
    before = torch.get_num_threads()
    numba.get_num_threads()  # starts them
    torch.set_num_threads(before)


_start_threads()
_one_at_a_time = Lock()


@contextmanager
def torch_threads() -> Iterator[None]:
    """Run kernels with as many threads as torch uses.

    One caller at a time: without OpenMP, as on a bare macOS, numba ends a process in which two
    threads call its parallel loops at once.
    """
    with _one_at_a_time:
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(torch.get_num_threads(), most))
        yield


class _F32x16(types.Type):
    def __init__(self) -> None:
        super().__init__(name="f32x16")


f32x16 = _F32x16()

operation: Any = intrinsic  # its own type would hold callers to the arguments of code generation


@register_model(_F32x16)
class _F32x16Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


@operation
def load(typing: Any, kind: Any, address: Any, index: Any) -> Any:
    """16 values from `index` on of the array at an address.

    `kind` is any number of its dtype: float32, or uint16 for the bits of bfloat16.
    """
    half = kind == types.uint16

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(builder, args[1], args[2], _SHORTS if half else _VECTOR, 2 if half else 4)
        found = builder.load(place, align=2 if half else 4)
        if not half:
            return found
        wide = builder.zext(found, _INTS)
        return builder.bitcast(builder.shl(wide, _constant(_INTS, 16)), _VECTOR)

    return f32x16(kind, types.intp, types.intp), make


@operation
def splat(typing: Any, value: Any) -> Any:
    """The same value 16 times."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0], _VECTOR)

    return f32x16(types.float32), make


@operation
def spread(typing: Any, address: Any, index: Any) -> Any:
    """One float32 value of the array at an address, 16 times."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(
            builder, builder.load(_place(builder, args[0], args[1], ir.FloatType(), 4)), _VECTOR
        )

    return f32x16(types.intp, types.intp), make


@operation
def store(typing: Any, address: Any, index: Any, vector: Any) -> Any:
    """Write 16 float32 values from `index` on into the array at an address."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(builder, args[0], args[1], _VECTOR, 4), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, f32x16), make


@operation
def add(typing: Any, a: Any, b: Any) -> Any:
    """A + b."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return f32x16(f32x16, f32x16), make


@operation
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """A * b."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return f32x16(f32x16, f32x16), make


@operation
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """A * b + c, rounded once."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.fma", args)

    return f32x16(f32x16, f32x16, f32x16), make


@operation
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The greater of each pair."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return f32x16(f32x16, f32x16), make


@operation
def blend(typing: Any, a: Any, b: Any, count: Any) -> Any:
    """The first `count` lanes of a, the others of b."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.Constant(_INTS, [ir.Constant(_I32, i) for i in range(LANES)])
        count = _splat(builder, builder.trunc(args[2], _I32), _INTS)
        return builder.select(builder.icmp_signed("<", lanes, count), args[0], args[1])

    return f32x16(f32x16, f32x16, types.intp), make


@operation
def total(typing: Any, vector: Any) -> Any:
    """The sum of all lanes, in a fixed order."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fold(builder, args[0], builder.fadd)

    return types.float32(f32x16), make


@operation
def highest(typing: Any, vector: Any) -> Any:
    """The greatest lane."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def greater(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _fold(builder, args[0], greater)

    return types.float32(f32x16), make


@operation
def power_of_two(typing: Any, vector: Any) -> Any:
    """2^x of whole numbers in [-126, 127] held as floats."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.fptosi(args[0], _INTS)
        biased = builder.add(whole, _constant(_INTS, 127))
        return builder.bitcast(builder.shl(biased, _constant(_INTS, 23)), _VECTOR)

    return f32x16(f32x16), make


@operation
def nearest(typing: Any, vector: Any) -> Any:
    """Each lane rounded to the nearest whole number."""

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.nearbyint", args)

    return f32x16(f32x16), make


_ONE = np.float32(1)
_LOG2_E = np.float32(1.44269504)
_LOWEST = np.float32(-126)
_MINUS_LN2_HIGH, _MINUS_LN2_LOW = np.float32(-0.693359375), np.float32(2.12194440e-4)
_PART_LOWEST = np.float32(-0.4)
# Cephes' expf: e^r = 1 + r + r^2 P(r) for |r| <= ln 2 / 2
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(0.50000001201)


@numba.njit(inline="always")
def exp(x):  # type: ignore[no-untyped-def]
    """e^x of lanes up to 88; relative error below 2e-7. Lanes below -87.6 give about 1e-38."""
    whole = nearest(maximum(multiply(x, splat(_LOG2_E)), splat(_LOWEST)))
    part = fma(whole, splat(_MINUS_LN2_LOW), fma(whole, splat(_MINUS_LN2_HIGH), x))
    part = maximum(part, splat(_PART_LOWEST))
    y = fma(part, splat(_P0), splat(_P1))
    y = fma(y, part, splat(_P2))
    y = fma(y, part, splat(_P3))
    y = fma(y, part, splat(_P4))
    y = fma(y, part, splat(_P5))
    y = fma(y, multiply(part, part), add(part, splat(_ONE)))
    return multiply(y, power_of_two(whole))


def _place(builder: Any, address: Any, index: Any, kind: Any, size: int) -> Any:
    offset = builder.mul(index, ir.Constant(index.type, size))
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(single, single, _constant(_INTS, 0))


def _constant(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [ir.Constant(_I32, value)] * LANES)


def _call(builder: Any, name: str, args: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    function = cgutils.get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f32")
    return builder.call(function, args)


def _fold(builder: Any, vector: Any, combine: Any) -> Any:
    width = LANES
    while width > 1:
        width //= 2
        ints = ir.VectorType(_I32, width)
        low, high = (
            builder.shuffle_vector(
                vector, vector, ir.Constant(ints, [ir.Constant(_I32, i + at) for i in range(width)])
            )
            for at in (0, width)
        )
        vector = combine(low, high)
    return builder.extract_element(vector, ir.Constant(_I32, 0))
