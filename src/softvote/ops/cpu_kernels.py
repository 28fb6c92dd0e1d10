"""Loops over the features of a batch that Numba compiles: batch norm with what may follow it.

Features lie in channels_last. Where a pixel's neighbours do not matter they are given as (B, lines, P * C),
P pixels per line, so few that the numbers a line needs stay in a core's first cache; for pooling a line is
a row of the image, (B, H, W * C). NumPy has no bfloat16: the loops see its bits as uint16, compute in float32
and round to even, as PyTorch does.

A table is float32 and has a line for each of: scale, shift (the norm is x * scale + shift), mean, and on the
way back the linear and the constant part of what a centred feature adds to its own gradient.

Each loop runs on one thread. The inner ones have no branches and write to one place, or the compiler cannot
make use of the processor's vectors; `scripts/loops.py` shows whether it did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from softvote.ops.numba_cache import Compiled, compile_function

Array = NDArray[Any]


_ZERO = np.float32(0)


class Loops(NamedTuple):
    """One way forward and back.

    Attributes:
        forward: features, what is added to them, table (3, C) -> the result.
        sums: features, what is added, the result's gradient, table (3, C) -> float64 (2, C), zeros before:
            over all pixels the gradient behind ReLU and pooling, and its product with the centred features.
        backward: features, what is added, the result's gradient, table (5, C) -> gradients of the first two.
    """

    forward: Compiled
    sums: Compiled
    backward: Compiled


def _inline(build: Callable[..., Any]) -> Callable[..., Any]:
    """What Numba puts in place of a call, from a function of the types and then of the values."""
    inlined: Callable[..., Any] = intrinsic(build)
    return inlined


@_inline
def _read(_: Any, value: Any) -> Any:
    """The float32 that an element of a line stands for."""

    def bfloat16(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        wide = builder.zext(arguments[0], ir.IntType(32))
        return builder.bitcast(builder.shl(wide, wide.type(16)), ir.FloatType())

    if value == types.uint16:
        return types.float32(value), bfloat16
    return types.float32(value), lambda _c, _b, _s, arguments: arguments[0]


@_inline
def _as_in(_: Any, line: Any, value: Any) -> Any:
    """A float32 as an element of a line."""

    def bfloat16(_c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[1], ir.IntType(32))
        odd = builder.and_(builder.lshr(bits, bits.type(16)), bits.type(1))
        rounded = builder.add(builder.add(bits, bits.type(0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, bits.type(16)), ir.IntType(16))

    if line.dtype == types.uint16:
        return types.uint16(line, types.float32), bfloat16
    return types.float32(line, types.float32), lambda _c, _b, _s, arguments: arguments[1]


@compile_function
def _repeat(numbers: Array, line: Array) -> None:
    """A number a channel, (C,), along a line (P * C,)."""
    channels = len(numbers)
    for p in range(len(line) // channels):
        for c in range(channels):
            line[p * channels + c] = numbers[c]


@compile_function
def _add_up(line: Array, totals: Array) -> None:
    """Add a line (P * C,) to its channels' totals, (C,)."""
    channels = len(totals)
    for p in range(len(line) // channels):
        for c in range(channels):
            totals[c] += line[p * channels + c]


@compile_function
def moments(x: Array, mean: Array, variance: Array) -> None:
    """Each channel's mean and variance over all pixels, into float64 (C,), zeros before.

    Those of the images are merged (Chan, Golub and LeVeque 1979). An image is seen from the mean of those
    before it, the first from its own, so that no large mean hides a small variance.
    """
    images, lines, values = x.shape
    channels = len(mean)
    pixels = np.float32(lines * (values // channels))
    sums, squares, centre = np.zeros((3, values), np.float32)
    of_image, of_squares = np.zeros((2, channels), np.float32)
    for h in range(lines):
        line = x[0, h]
        for j in range(values):
            sums[j] += _read(line[j])
    _add_up(sums, of_image)
    mean += of_image / pixels
    for n in range(images):
        _repeat(mean, centre)
        sums[:] = _ZERO
        squares[:] = _ZERO
        for h in range(lines):
            line = x[n, h]
            for j in range(values):
                apart = _read(line[j]) - centre[j]
                sums[j] += apart
                squares[j] += apart * apart
        of_image[:] = _ZERO
        of_squares[:] = _ZERO
        _add_up(sums, of_image)
        _add_up(squares, of_squares)
        for c in range(channels):
            apart = of_image[c] / pixels
            variance[c] += of_squares[c] - apart * of_image[c] / (n + 1)
            mean[c] += apart / (n + 1)
    variance /= images * pixels


@cache
def plain(added: bool) -> Loops:
    """Batch norm, something added where told, ReLU."""
    return Loops(_forward(added), _sums(added), _backward(added))


@cache
def pooling(channels: int, normed: bool) -> Loops:
    """Batch norm where there is one, max pooling by 2 and ReLU; a last odd row or column is not looked at.

    A pixel's neighbour is `channels` further on, too few for vectors unless the compiler knows their number.
    """
    return Loops(_pool_forward(channels), _pool_sums(channels), _pool_backward(channels, normed))


def _forward(added: bool) -> Compiled:
    @compile_function
    def forward(x: Array, other: Array, table: Array, y: Array) -> None:
        images, lines, values = x.shape
        scale, shift = np.empty((2, values), np.float32)
        _repeat(table[0], scale)
        _repeat(table[1], shift)
        for n in range(images):
            for h in range(lines):
                line, beside, result = x[n, h], other[n, h], y[n, h]
                for j in range(values):
                    value = _read(line[j]) * scale[j] + shift[j]
                    if added:
                        value += _read(beside[j])
                    result[j] = _as_in(result, _ZERO if value < _ZERO else value)

    return forward


def _sums(added: bool) -> Compiled:
    @compile_function
    def sums(x: Array, other: Array, gradient: Array, table: Array, totals: Array) -> None:
        images, lines, values = x.shape
        scale, shift, mean = np.empty((3, values), np.float32)
        _repeat(table[0], scale)
        _repeat(table[1], shift)
        _repeat(table[2], mean)
        slopes, products = np.empty((2, values), np.float32)
        for n in range(images):
            slopes[:] = _ZERO
            products[:] = _ZERO
            for h in range(lines):
                line, beside, given = x[n, h], other[n, h], gradient[n, h]
                for j in range(values):
                    feature, slope = _read(line[j]), _read(given[j])
                    value = feature * scale[j] + shift[j]
                    if added:
                        value += _read(beside[j])
                    slope = slope if value > _ZERO else _ZERO
                    slopes[j] += slope
                    products[j] += slope * (feature - mean[j])
            _add_up(slopes, totals[0])
            _add_up(products, totals[1])

    return sums


def _backward(added: bool) -> Compiled:
    @compile_function
    def backward(x: Array, other: Array, gradient: Array, table: Array, of_x: Array, of_other: Array) -> None:
        images, lines, values = x.shape
        scale, shift, mean, linear, constant = np.empty((5, values), np.float32)
        _repeat(table[0], scale)
        _repeat(table[1], shift)
        _repeat(table[2], mean)
        _repeat(table[3], linear)
        _repeat(table[4], constant)
        for n in range(images):
            for h in range(lines):
                line, beside, given, result = x[n, h], other[n, h], gradient[n, h], of_x[n, h]
                if added:
                    of_beside = of_other[n, h]
                    for j in range(values):
                        value = _read(line[j]) * scale[j] + shift[j] + _read(beside[j])
                        of_beside[j] = _as_in(of_beside, _read(given[j]) if value > _ZERO else _ZERO)
                    given = of_beside
                for j in range(values):
                    feature, slope = _read(line[j]), _read(given[j])
                    if not added:
                        slope = slope if feature * scale[j] + shift[j] > _ZERO else _ZERO
                    own = (feature - mean[j]) * linear[j] + constant[j]
                    result[j] = _as_in(result, slope * scale[j] + own)

    return backward


def _pool_forward(channels: int) -> Compiled:
    @compile_function
    def forward(x: Array, _other: Array, table: Array, y: Array) -> None:
        images, rows, values = y.shape
        scale, shift = table[0], table[1]
        for n in range(images):
            for h in range(rows):
                upper, lower, result = x[n, 2 * h], x[n, 2 * h + 1], y[n, h]
                for w in range(values // channels):
                    left, right, out = 2 * w * channels, (2 * w + 1) * channels, w * channels
                    for c in range(channels):
                        a = _read(upper[left + c]) * scale[c] + shift[c]
                        b = _read(upper[right + c]) * scale[c] + shift[c]
                        d = _read(lower[left + c]) * scale[c] + shift[c]
                        e = _read(lower[right + c]) * scale[c] + shift[c]
                        # What is not a number stays so; the first of equals counts.
                        above = a if (a >= b) | (a != a) else b
                        below = d if (d >= e) | (d != d) else e
                        value = above if (above >= below) | (above != above) else below
                        result[out + c] = _as_in(result, _ZERO if value < _ZERO else value)

    return forward


def _pool_sums(channels: int) -> Compiled:
    @compile_function
    def sums(x: Array, _other: Array, gradient: Array, table: Array, totals: Array) -> None:
        images, rows, values = gradient.shape
        scale, shift, mean = table[0], table[1], table[2]
        slopes, products = np.empty((2, channels), np.float32)
        for n in range(images):
            slopes[:] = _ZERO
            products[:] = _ZERO
            for h in range(rows):
                upper, lower, given = x[n, 2 * h], x[n, 2 * h + 1], gradient[n, h]
                for w in range(values // channels):
                    left, right, out = 2 * w * channels, (2 * w + 1) * channels, w * channels
                    for c in range(channels):
                        xa = _read(upper[left + c])
                        xb = _read(upper[right + c])
                        xd = _read(lower[left + c])
                        xe = _read(lower[right + c])
                        a, b = xa * scale[c] + shift[c], xb * scale[c] + shift[c]
                        d, e = xd * scale[c] + shift[c], xe * scale[c] + shift[c]
                        above, below = (b if b > a else a), (e if e > d else d)
                        x_above, x_below = (xb if b > a else xa), (xe if e > d else xd)
                        value = below if below > above else above
                        feature = x_below if below > above else x_above
                        slope = _read(given[out + c])
                        slope = slope if value > _ZERO else _ZERO
                        slopes[c] += slope
                        products[c] += slope * (feature - mean[c])
            _add_up(slopes, totals[0])
            _add_up(products, totals[1])

    return sums


@compile_function
def _leave_out(line: Array, table: Array, normed: bool, result: Array) -> None:
    """The gradient of pixels that no pooling looks at: only a batch norm has seen them."""
    mean, linear, constant = table[2], table[3], table[4]
    for j in range(len(line)):
        c = j % len(mean)
        own = (_read(line[j]) - mean[c]) * linear[c] + constant[c] if normed else _ZERO
        result[j] = _as_in(result, own)


def _pool_backward(channels: int, normed: bool) -> Compiled:
    @compile_function
    def backward(
        x: Array, _other: Array, gradient: Array, table: Array, of_x: Array, _of_other: Array
    ) -> None:
        images, rows, values = gradient.shape
        scale, shift, mean, linear, constant = table[0], table[1], table[2], table[3], table[4]
        chosen = np.empty(4 * channels, np.float32)
        for n in range(images):
            for h in range(rows):
                upper, lower, given = x[n, 2 * h], x[n, 2 * h + 1], gradient[n, h]
                of_upper, of_lower = of_x[n, 2 * h], of_x[n, 2 * h + 1]
                for w in range(values // channels):
                    left, right, out = 2 * w * channels, (2 * w + 1) * channels, w * channels
                    for c in range(channels):
                        a = _read(upper[left + c]) * scale[c] + shift[c]
                        b = _read(upper[right + c]) * scale[c] + shift[c]
                        d = _read(lower[left + c]) * scale[c] + shift[c]
                        e = _read(lower[right + c]) * scale[c] + shift[c]
                        above, below = (b if b > a else a), (e if e > d else d)
                        value = below if below > above else above
                        slope = _read(given[out + c]) * scale[c]
                        slope = slope if value > _ZERO else _ZERO
                        of_above = _ZERO if below > above else slope
                        of_below = slope if below > above else _ZERO
                        chosen[c] = _ZERO if b > a else of_above
                        chosen[channels + c] = of_above if b > a else _ZERO
                        chosen[2 * channels + c] = _ZERO if e > d else of_below
                        chosen[3 * channels + c] = of_below if e > d else _ZERO
                    for c in range(channels):
                        a = (_read(upper[left + c]) - mean[c]) * linear[c] + constant[c] if normed else _ZERO
                        b = (_read(upper[right + c]) - mean[c]) * linear[c] + constant[c] if normed else _ZERO
                        of_upper[left + c] = _as_in(of_upper, chosen[c] + a)
                        of_upper[right + c] = _as_in(of_upper, chosen[channels + c] + b)
                    for c in range(channels):
                        d = (_read(lower[left + c]) - mean[c]) * linear[c] + constant[c] if normed else _ZERO
                        e = (_read(lower[right + c]) - mean[c]) * linear[c] + constant[c] if normed else _ZERO
                        of_lower[left + c] = _as_in(of_lower, chosen[2 * channels + c] + d)
                        of_lower[right + c] = _as_in(of_lower, chosen[3 * channels + c] + e)
            for h in range(x.shape[1]):
                first = 2 * values if h < 2 * rows else 0
                _leave_out(x[n, h, first:], table, normed, of_x[n, h, first:])

    return backward
