"""PSNR and SSIM of many images at once, computed by torch where the images are, to the values of
:mod:`benchmarks.scoring.fidelity`.

What scikit-image rounds to float32 between its operations is rounded so here, and sums are of float64 as scipy's are:
float32 cancels in the variances of flat regions, and there the exact value is another than the field's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from art.shapes import Images
from benchmarks.config.protocols import Protocol

RADIUS, SIGMA = 5, 1.5  # of the Gaussian window
UNIFORM = 7  # pixels a side of the uniform one
LUMA = (65.481, 128.553, 24.966)


def scores(restored: Images, clean: Images, convention: Protocol) -> Float64[Tensor, "batch 2"]:
    """PSNR in dB, infinite for equal images, and SSIM of every image.

    Nothing here waits for the device.

    Args:
        restored, clean: (B, 3, H, W) float32 in [0, 1], H and W at least ``convention.smallest``.
        convention: how to compare.
    """
    first, second = (_prepared(images, convention) for images in (restored, clean))
    return torch.stack([_psnr(first, second, convention), _ssim(first, second, convention)], dim=1)


def _prepared(images: Images, convention: Protocol) -> Tensor:
    """The pixels that are compared: float32 in [0, 1], or float64 on uint8's scale where rounded."""
    for axis in (-2, -1):
        length = images.shape[axis]
        spare, cut = length % convention.multiple, convention.border
        images = images.narrow(axis, spare // 2 + cut, length - spare - 2 * cut)
    images = images.clamp(0, 1)
    if not convention.rounded:
        return images
    levels = images.mul(255).round().nan_to_num(0).double()
    if not convention.luma:
        return levels
    red, green, blue = (levels[:, channel, None] * weight for channel, weight in enumerate(LUMA))
    return (red + green + blue) / 255 + 16


def _psnr(first: Tensor, second: Tensor, convention: Protocol) -> Tensor:
    error = (first.double() - second.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(_scale(convention) ** 2 / error)


def _ssim(first: Tensor, second: Tensor, convention: Protocol) -> Tensor:
    """As scikit-image: the mean over the pixels whose window lies inside, then over the channels."""
    weights = _gaussian() if convention.gaussian else [1 / UNIFORM] * UNIFORM
    count = len(weights) ** 2
    norm = 1.0 if convention.gaussian == "valid" else count / (count - 1)
    c1, c2 = ((k * _scale(convention)) ** 2 for k in (0.01, 0.03))
    mean_1, mean_2 = _windows(first, weights), _windows(second, weights)
    across = norm * (_windows(first * second, weights) - mean_1 * mean_2)
    spread = norm * (_windows(first * first, weights) - mean_1 * mean_1)
    spread = spread + norm * (_windows(second * second, weights) - mean_2 * mean_2) + c2
    nearness = 2 * mean_1 * mean_2 + c1
    base = mean_1.square() + mean_2.square() + c1
    similarity = nearness * (2 * across + c2) / (base * spread)
    by_channel = similarity.mean((2, 3), dtype=torch.float64)
    return by_channel.to(first.dtype).mean(1).double()


def _windows(images: Tensor, weights: Sequence[float]) -> Tensor:
    """Weighted means over every window that lies inside, the columns' rounded to the type of the images as scipy
    does before it takes the rows'."""
    for axis in (-2, -1):
        length = images.shape[axis] - len(weights) + 1
        total = images.narrow(axis, 0, length).double() * weights[0]
        for place, weight in enumerate(weights[1:], start=1):
            total.add_(images.narrow(axis, place, length), alpha=weight)
        images = total.to(images.dtype)
    return images


def _gaussian() -> list[float]:
    weights = [math.exp(-0.5 * (place / SIGMA) ** 2) for place in range(-RADIUS, RADIUS + 1)]
    return [weight / sum(weights) for weight in weights]


def _scale(convention: Protocol) -> float:
    return 255.0 if convention.rounded else 1.0
