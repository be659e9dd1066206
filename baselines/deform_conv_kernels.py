"""CPU kernels of the deformable convolution, compiled by numba at their first use and cached.

Everything is in NHWC memory, so that the innermost loops run over the channels of one pixel and become vector
instructions. Scalars keep the arrays' type: one integer mixed with a float32 would turn these loops into float64. A
call works on a band of rows from ``start`` on, as many as the columns hold. The kernels release the interpreter's lock
and take the images [first, last) of the batch, so that threads can share it.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Array = NDArray[np.floating]

# Sums may be reordered, which vector reductions need; NaN and infinity stay exact, so that a diverged run shows them.
kernel = njit(nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", cache=True)


@kernel
def corners(y: Any, x: Any, height: int, width: int) -> tuple[Any, ...]:
    """The four pixels around (y, x): rows, columns, whether each is inside (1 or 0), and the two fractions."""
    kind = type(y)
    lower, left = np.floor(y), np.floor(x)
    top, near = int(lower), int(left)
    y0, y1 = min(max(top, 0), height - 1), min(max(top + 1, 0), height - 1)
    x0, x1 = min(max(near, 0), width - 1), min(max(near + 1, 0), width - 1)
    up, down, before, after = kind(y0 == top), kind(y1 == top + 1), kind(x0 == near), kind(x1 == near + 1)
    inside = (up * before, up * after, down * before, down * after)
    return y0, y1, x0, x1, inside, y - lower, x - left


@kernel
def sample(features: _Array, offset: _Array, mask: _Array, columns: _Array, start: int, first: int, last: int) -> None:
    """Fill columns (B, rows, W, 9, C) with features (B, H, W, C) at the shifted taps, times the mask (B, H, W, 9)."""
    _, height, width, channels = features.shape
    kind = features.dtype.type
    for b in range(first, last):
        for i in range(start, start + columns.shape[1]):
            for j in range(width):
                for tap in range(9):
                    y = kind(i + tap // 3 - 1) + offset[b, i, j, 2 * tap]
                    x = kind(j + tap % 3 - 1) + offset[b, i, j, 2 * tap + 1]
                    column = columns[b, i - start, j, tap]
                    if not (y > -1 and y < height and x > -1 and x < width):
                        column[:] = kind(0) * (y + x)  # 0, or NaN where the offset is not finite
                        continue
                    y0, y1, x0, x1, inside, fy, fx = corners(y, x, height, width)
                    m = mask[b, i, j, tap]
                    w11 = fy * fx * m
                    w10, w01 = fy * m - w11, fx * m - w11
                    w00 = m - w01 - w10 - w11
                    w00, w01, w10, w11 = w00 * inside[0], w01 * inside[1], w10 * inside[2], w11 * inside[3]
                    f00, f01 = features[b, y0, x0], features[b, y0, x1]
                    f10, f11 = features[b, y1, x0], features[b, y1, x1]
                    for c in range(channels):
                        column[c] = w00 * f00[c] + w01 * f01[c] + w10 * f10[c] + w11 * f11[c]


@kernel
def sample_backward(
    features: _Array,
    offset: _Array,
    mask: _Array,
    columns: _Array,
    grad_features: _Array,
    grad_offset: _Array,
    grad_mask: _Array,
    start: int,
    first: int,
    last: int,
) -> None:
    """Add to grad_features, fill grad_offset and grad_mask, from the gradient of the columns (B, rows, W, 9, C).

    The gradient is replaced by the samples themselves, which the weight's gradient needs: their pixels are at hand.
    """
    _, height, width, channels = features.shape
    kind = features.dtype.type
    for b in range(first, last):
        for i in range(start, start + columns.shape[1]):
            for j in range(width):
                for tap in range(9):
                    y = kind(i + tap // 3 - 1) + offset[b, i, j, 2 * tap]
                    x = kind(j + tap % 3 - 1) + offset[b, i, j, 2 * tap + 1]
                    g = columns[b, i - start, j, tap]
                    if not (y > -1 and y < height and x > -1 and x < width):
                        g[:] = kind(0) * (y + x)
                        grad_offset[b, i, j, 2 * tap] = grad_offset[b, i, j, 2 * tap + 1] = kind(0) * (y + x)
                        grad_mask[b, i, j, tap] = kind(0)
                        continue
                    y0, y1, x0, x1, inside, fy, fx = corners(y, x, height, width)
                    f00, f01 = features[b, y0, x0], features[b, y0, x1]
                    f10, f11 = features[b, y1, x0], features[b, y1, x1]
                    d00 = d01 = d10 = d11 = kind(0)
                    for c in range(channels):
                        d00 += g[c] * f00[c]
                        d01 += g[c] * f01[c]
                        d10 += g[c] * f10[c]
                        d11 += g[c] * f11[c]
                    d00, d01, d10, d11 = d00 * inside[0], d01 * inside[1], d10 * inside[2], d11 * inside[3]
                    upper, lower = d00 + fx * (d01 - d00), d10 + fx * (d11 - d10)
                    left, right = d00 + fy * (d10 - d00), d01 + fy * (d11 - d01)
                    m = mask[b, i, j, tap]
                    grad_offset[b, i, j, 2 * tap] = m * (lower - upper)
                    grad_offset[b, i, j, 2 * tap + 1] = m * (right - left)
                    grad_mask[b, i, j, tap] = upper + fy * (lower - upper)
                    w11 = fy * fx * m
                    w10, w01 = fy * m - w11, fx * m - w11
                    w00 = m - w01 - w10 - w11
                    w00, w01, w10, w11 = w00 * inside[0], w01 * inside[1], w10 * inside[2], w11 * inside[3]
                    t00, t01 = grad_features[b, y0, x0], grad_features[b, y0, x1]
                    t10, t11 = grad_features[b, y1, x0], grad_features[b, y1, x1]
                    # One loop each: two of the targets can be the same pixel. A function would cost a third more.
                    for c in range(channels):
                        t00[c] += w00 * g[c]
                    for c in range(channels):
                        t01[c] += w01 * g[c]
                    for c in range(channels):
                        t10[c] += w10 * g[c]
                    for c in range(channels):
                        t11[c] += w11 * g[c]
                    for c in range(channels):
                        g[c] = w00 * f00[c] + w01 * f01[c] + w10 * f10[c] + w11 * f11[c]
