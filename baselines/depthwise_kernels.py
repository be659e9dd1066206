"""CPU kernels of a depth-wise 3x3 convolution and what follows it, compiled by numba at their first use and cached.

Everything is in NHWC memory, float32. Work goes row by row, in a row by runs of pixels, and there by blocks of
channels, so that memory is read in order and what is needed again stays in a core's caches. A unit of work is a band
of an image's rows. The kernels release the interpreter's lock and take the units [first, last), so that threads can
share them.
"""

from typing import Any

import numpy as np
from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numpy.typing import NDArray

_Array = NDArray[np.float32]

GELU_PRODUCT = 0  # follows the convolution; else GELU
RUN, BLOCK = 16, 256  # pixels, channels

_U: Any = np.uint64  # of indices: those that may be negative are looked at one by one
_ONE, _HALF = np.float32(1), np.float32(0.5)
_DENSITY = np.float32(0.3989422804014327)  # of the normal distribution at 0
_SLOPE = np.float32(0.3275911 * 0.5**0.5)


class _Separate(CompilerBase):
    """Lets the compiler assume that a function's arrays do not overlap; else it makes no vectors of these loops."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


kernel = njit(
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
    cache=True,
    pipeline_class=_Separate,
)


@kernel
def _normal(z: Any) -> tuple[Any, Any]:
    """The normal distribution's cumulative probability at z, to 1e-7, and exp(-z*z/2).

    Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; the exponential by its power of two and a
    polynomial (Cephes).
    """
    y = max(-_HALF * z * z, np.float32(-87))
    power = np.floor(y * np.float32(1.44269504088896) + _HALF)
    r = y - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4) * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    bits = (np.int32(power) + np.int32(127)) << np.int32(23)
    exponential = (p * r * r + r + _ONE) * np.int32(bits).view(np.float32)
    t = _ONE / (_ONE + _SLOPE * abs(z))
    q = np.float32(1.061405429) * t + np.float32(-1.453152027)
    q = q * t + np.float32(1.421413741)
    q = q * t + np.float32(-0.284496736)
    q = q * t + np.float32(0.254829592)
    tail = _HALF * q * t * exponential
    return (_ONE - tail if z > 0 else tail), exponential


@kernel
def _pixel(
    above: _Array, here: _Array, below: _Array, j: int, at: int, w: _Array, bias: _Array, of: int, out: _Array, to: int,
    pixel: int, count: int,
) -> None:  # fmt: skip
    """One pixel of ``_filter``, at a border or not."""
    for c in range(count):
        out[pixel, to + c] = bias[of + c]
    for v in range(3):
        k = j + v - 1
        if 0 <= k < len(here):
            for c in range(count):
                out[pixel, to + c] += (
                    w[v, of + c] * above[k, at + c]
                    + w[3 + v, of + c] * here[k, at + c]
                    + w[6 + v, of + c] * below[k, at + c]
                )


@kernel
def _filter(
    above: _Array, here: _Array, below: _Array, start: int, stop: int, at: int, w: _Array, bias: _Array, out: _Array,
    to: int, shift: int, count: int,
) -> None:  # fmt: skip
    """The convolution for pixels [start, stop) of a row.

    Rows are (W, channels). Channels [at, at + count) are written from ``to`` on, pixels ``shift`` places earlier.
    """
    j = start
    while j < stop:
        if j == 0 or j + 2 > stop or j + 2 >= len(here):
            _pixel(above, here, below, j, at, w, bias, at, out, to, j - shift, count)
            j += 1
            continue
        p = j - shift
        for c in range(count):
            i = at + c
            a0, a1, a2, a3 = above[j - 1, i], above[j, i], above[j + 1, i], above[j + 2, i]
            b0, b1, b2, b3 = here[j - 1, i], here[j, i], here[j + 1, i], here[j + 2, i]
            c0, c1, c2, c3 = below[j - 1, i], below[j, i], below[j + 1, i], below[j + 2, i]
            w0, w1, w2, w3, w4, w5, w6, w7, w8 = (
                w[0, i], w[1, i], w[2, i], w[3, i], w[4, i], w[5, i], w[6, i], w[7, i], w[8, i],
            )  # fmt: skip
            out[p, to + c] = (
                bias[i] + w0 * a0 + w1 * a1 + w2 * a2 + w3 * b0 + w4 * b1 + w5 * b2 + w6 * c0 + w7 * c1 + w8 * c2
            )
            out[p + 1, to + c] = (
                bias[i] + w0 * a1 + w1 * a2 + w2 * a3 + w3 * b1 + w4 * b2 + w5 * b3 + w6 * c1 + w7 * c2 + w8 * c3
            )
        j += 2


@kernel
def _weight_pixel(
    above: _Array, here: _Array, below: _Array, j: int, at: int, grad: _Array, grad_w: _Array, count: int
) -> None:
    """One pixel of ``_weight_gradient``, at a border or not."""
    for v in range(3):
        k = j + v - 1
        if 0 <= k < len(here):
            for c in range(count):
                g = grad[j, at + c]
                grad_w[v, at + c] += g * above[k, at + c]
                grad_w[3 + v, at + c] += g * here[k, at + c]
                grad_w[6 + v, at + c] += g * below[k, at + c]


@kernel
def _weight_gradient(
    above: _Array, here: _Array, below: _Array, start: int, stop: int, at: int, grad: _Array, grad_w: _Array, count: int
) -> None:
    """Add the share of pixels [start, stop) of a row to the gradients of the weight and, in the tenth row, the bias."""
    j = start
    while j < stop:
        if j == 0 or j + 2 > stop or j + 2 >= len(here):
            _weight_pixel(above, here, below, j, at, grad, grad_w, count)
            for c in range(count):
                grad_w[9, at + c] += grad[j, at + c]
            j += 1
            continue
        for c in range(count):
            i = at + c
            g, h = grad[j, i], grad[j + 1, i]
            a0, a1, a2, a3 = above[j - 1, i], above[j, i], above[j + 1, i], above[j + 2, i]
            b0, b1, b2, b3 = here[j - 1, i], here[j, i], here[j + 1, i], here[j + 2, i]
            c0, c1, c2, c3 = below[j - 1, i], below[j, i], below[j + 1, i], below[j + 2, i]
            grad_w[0, i] += g * a0 + h * a1
            grad_w[1, i] += g * a1 + h * a2
            grad_w[2, i] += g * a2 + h * a3
            grad_w[3, i] += g * b0 + h * b1
            grad_w[4, i] += g * b1 + h * b2
            grad_w[5, i] += g * b2 + h * b3
            grad_w[6, i] += g * c0 + h * c1
            grad_w[7, i] += g * c1 + h * c2
            grad_w[8, i] += g * c2 + h * c3
            grad_w[9, i] += g + h
        j += 2


@kernel
def _activate(z: _Array, kind: int, out: _Array, start: int, stop: int, to: int, count: int) -> None:
    """What follows the convolution, for pixels [start, stop) of a row; z is (2, RUN, BLOCK)."""
    first, second = z[0], z[1]
    for j in range(start, stop):
        p = j - start
        if kind == GELU_PRODUCT:
            for c in range(count):
                cumulative, _ = _normal(first[p, c])
                out[j, to + c] = first[p, c] * cumulative * second[p, c]
        else:
            for c in range(count):
                cumulative, _ = _normal(first[p, c])
                out[j, to + c] = first[p, c] * cumulative


@kernel
def _activate_backward(
    z: _Array, kind: int, grad: _Array, start: int, stop: int, to: int, out: _Array, second_to: int, count: int
) -> None:
    """Gradients of the convolution's result, written to a row ``out`` (W, channels), from the result's ``grad``."""
    first, second = z[0], z[1]
    for j in range(start, stop):
        p = j - start
        if kind == GELU_PRODUCT:
            for c in range(count):
                value, g = first[p, c], grad[j, to + c]
                cumulative, exponential = _normal(value)
                out[j, to + c] = g * second[p, c] * (cumulative + value * exponential * _DENSITY)
                out[j, second_to + c] = g * value * cumulative
        else:
            for c in range(count):
                value = first[p, c]
                cumulative, exponential = _normal(value)
                out[j, to + c] = grad[j, to + c] * (cumulative + value * exponential * _DENSITY)


@kernel
def forward(x: _Array, w: _Array, bias: _Array, kind: int, out: _Array, bands: int, first: int, last: int) -> None:
    """Fill out (B, H, W, hidden) from x (B, H, W, halves * hidden), the weight (9, halves * hidden) and the bias."""
    _, height, width, channels = x.shape
    hidden = out.shape[3]
    zero, z = np.zeros((width, channels), np.float32), np.empty((2, RUN, BLOCK), np.float32)
    for unit in range(first, last):
        b, band = unit // bands, unit % bands
        for i in range(height * band // bands, height * (band + 1) // bands):
            above, below = x[b, i - 1] if i > 0 else zero, x[b, i + 1] if i + 1 < height else zero
            for start in range(0, width, RUN):
                stop = min(start + RUN, width)
                for block in range(0, hidden, BLOCK):
                    count = _U(min(BLOCK, hidden - block))
                    for half in range(channels // hidden):
                        at = _U(half * hidden + block)
                        _filter(above, x[b, i], below, start, stop, at, w, bias, z[half], _U(0), start, count)
                    _activate(z, kind, out[b, i], start, stop, _U(block), count)


@kernel
def _spread(before: _Array, here: _Array, after: _Array, flipped: _Array, no_bias: _Array, out: _Array) -> None:
    """A row of the gradient of x, from three rows of that of the convolution's result."""
    width, channels = out.shape
    for start in range(0, width, RUN):
        for block in range(0, channels, BLOCK):
            at, count = _U(block), _U(min(BLOCK, channels - block))
            _filter(before, here, after, start, min(start + RUN, width), at, flipped, no_bias, out, at, 0, count)


@kernel
def backward(
    x: _Array, w: _Array, flipped: _Array, bias: _Array, kind: int, grad: _Array, grad_x: _Array, grad_w: _Array,
    bands: int, first: int, last: int,
) -> None:  # fmt: skip
    """Fill grad_x, and add to each unit's grad_w (units, 10, channels), whose tenth row is the bias's.

    The convolution is made again, row by row: to keep its result would take as much memory again as x. ``flipped`` is
    the weight with its nine taps in reverse order.
    """
    _, height, width, channels = x.shape
    hidden = grad.shape[3]
    zero, no_bias = np.zeros((width, channels), np.float32), np.zeros(channels, np.float32)
    z = np.empty((2, RUN, BLOCK), np.float32)
    rows = np.empty((3, width, channels), np.float32)  # gradients of the convolution's last three rows
    for unit in range(first, last):
        b, band = unit // bands, unit % bands
        begin, end = height * band // bands, height * (band + 1) // bands
        for i in range(max(begin - 1, 0), end + 1):
            if i < height:
                above, below = x[b, i - 1] if i > 0 else zero, x[b, i + 1] if i + 1 < height else zero
                for start in range(0, width, RUN):
                    stop = min(start + RUN, width)
                    for block in range(0, hidden, BLOCK):
                        count = _U(min(BLOCK, hidden - block))
                        for half in range(channels // hidden):
                            at = _U(half * hidden + block)
                            _filter(above, x[b, i], below, start, stop, at, w, bias, z[half], _U(0), start, count)
                        to = _U(block)
                        _activate_backward(z, kind, grad[b, i], start, stop, to, rows[i % 3], _U(hidden + block), count)
                        if begin <= i < end:
                            for half in range(channels // hidden):
                                at = _U(half * hidden + block)
                                _weight_gradient(
                                    above, x[b, i], below, start, stop, at, rows[i % 3], grad_w[unit], count
                                )
            if i > begin:
                before = rows[(i - 2) % 3] if i > 1 else zero
                after = rows[i % 3] if i < height else zero
                _spread(before, rows[(i - 1) % 3], after, flipped, no_bias, grad_x[b, i - 1])
