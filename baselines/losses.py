"""Losses of restored images that several networks' recipes name."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WINDOW = 11  # pixels of the Gaussian, with a standard deviation of 1.5
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of Wang, Simoncelli, Bovik 2003, the finest first


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


def ms_ssim(
    restored: Float[Tensor, "batch 3 height width"], clean: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, " batch"]:
    """Multi-scale SSIM of each sample as OneRestore trains with it, for a range of values of 1; at most 1.

    It is not the metric: the power of the coarsest scale's SSIM is multiplied into the contrast term of each other
    scale, so with five scales it counts four times. Its program needs sides of 176 pixels; smaller images have as many
    scales as their window fits, with the weights divided by their sum. Negative terms count as (nearly) 0.

    Raises:
        ValueError: for images smaller than the window.
    """
    side = min(restored.shape[-2:])
    if side < WINDOW:
        raise ValueError(f"MS-SSIM needs images of at least {WINDOW}x{WINDOW} pixels, not {tuple(restored.shape[-2:])}")
    scales = next(count for count in range(len(SCALES), 0, -1) if side >= WINDOW * 2 ** (count - 1))
    total = sum(SCALES[:scales])
    terms: list[Tensor] = []
    for scale, weight in enumerate(SCALES[:scales]):
        if scale:
            restored, clean = F.avg_pool2d(restored, 2), F.avg_pool2d(clean, 2)
        similarity, contrast = _similarity(restored, clean)
        last = scale == scales - 1
        power = weight / total * (max(scales - 1, 1) if last else 1)
        terms.append((similarity if last else contrast).clamp_min(1e-6) ** power)
    return torch.stack(terms).prod(0)


def _similarity(
    first: Float[Tensor, "batch 3 height width"], second: Float[Tensor, "batch 3 height width"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Mean SSIM and mean of its contrast term, over windows that lie inside."""
    places = torch.arange(WINDOW, dtype=first.dtype, device=first.device) - WINDOW // 2
    window = (-(places**2) / (2 * 1.5**2)).exp()
    window = (window / window.sum()).expand(3, 1, 1, WINDOW)

    def blurred(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, window, groups=3), window.transpose(2, 3), groups=3)

    mean, other = blurred(first), blurred(second)
    variances = blurred(first.square()) - mean.square() + blurred(second.square()) - other.square()
    covariance = blurred(first * second) - mean * other
    contrast = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    similarity = contrast * (2 * mean * other + 0.01**2) / (mean.square() + other.square() + 0.01**2)
    return similarity.mean((1, 2, 3)), contrast.mean((1, 2, 3))
