"""Losses of restored images that several networks' recipes name."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def spectral_l1(
    restored: Float[Tensor, "batch 3 height width"],
    clean: Float[Tensor, "batch 3 height width"],
    spectrum: Literal["whole", "half"] = "whole",
) -> Float[Tensor, " batch"]:
    """The mean absolute error of the real and imaginary parts of each sample's 2-D Fourier transform, not normalised.

    It grows with the square root of the number of pixels.

    Args:
        restored: float32 or float64; there is no FFT in bfloat16.
        clean: the same.
        spectrum: ``whole``, or ``half``, the columns that a transform of real numbers keeps, of which all but the
            first (and, of an even width, the last) stand for two.
    """
    transform = torch.fft.fft2 if spectrum == "whole" else torch.fft.rfft2
    return torch.view_as_real(transform(restored - clean)).abs().mean(dim=(1, 2, 3, 4))


def decorrelation(
    restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, " batch"]:
    """(1 - Pearson's correlation) / 2 of all values of each sample, in [0, 1]; 1/2 where one of the images is flat.

    Source: Histoformer's reconstruction loss (Sun et al., ECCV 2024).
    """
    first, second = (side.flatten(1) - side.flatten(1).mean(1, keepdim=True) for side in (restored, clean))
    variances = first.square().sum(1) * second.square().sum(1)
    return (1 - (first * second).sum(1) * variances.clamp_min(1e-12).rsqrt()) / 2
