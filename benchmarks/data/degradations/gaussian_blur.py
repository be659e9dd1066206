"""Blur of a lens out of focus, as a Gaussian."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation

REACH = 3.0  # standard deviations that the kernel covers to each side


@degradation(training=(1.0, 3.0), testing=(2.0,), limits=(0.0, 10.0), unit="standard deviation in pixels")
def gaussian_blur(image: Images, sigma: Severities, generator: torch.Generator) -> Images:  # noqa: ARG001  # part of the interface
    """Blur with an isotropic Gaussian and round to 8 bits.

    The blur of MiOIR (Kong, Dong, Zhang, arXiv 2401.03379; deviations from 1 to 3), on display values as there.

    Args:
        image: (B, 3, H, W) in [0, 1].
        sigma: (B,) standard deviation in pixels; 0 only rounds to 8 bits.
        generator: not used, nothing is random here.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    for dim in (-2, -1):
        image = _along(image, dim, sigma)
    return (image * 255).round_().div_(255)


def _along(image: Tensor, dim: int, sigma: Tensor) -> Tensor:
    """Filter one axis: a product with a banded matrix, whose rows hold the kernel and its reflections at the ends."""
    size = image.shape[dim]
    places = torch.arange(size, device=image.device, dtype=torch.float32)
    spread = sigma.clamp(min=1e-3).reshape(-1, 1, 1)
    matrix = torch.zeros(len(sigma), size, size, device=image.device)
    for mirrored in (places, -places, 2 * (size - 1) - places):
        apart = (mirrored[None] - places[:, None]) / spread
        weight = torch.exp(-0.5 * apart**2) * (apart.abs() <= REACH)
        if mirrored is not places:  # the edge itself is reflected once only
            weight = weight * ((mirrored < 0) | (mirrored > size - 1))
        matrix += weight
    matrix = F.normalize(matrix, p=1, dim=2)[:, None]
    return matrix @ image if dim == -2 else image @ matrix.mT
