"""Haze by the atmospheric scattering model."""

import torch
from torch import Tensor

from benchmarks.data.degradations._degradation import Depths, Images, Severities, degradation
from benchmarks.data.degradations._fields import per_image, uniform

# Severity is RESIDE's beta (0.04 to 0.2 outdoors) over 0.2. Its depth has a unit of its own; with this optical depth at
# the far end, severity 0.5 brings degraded photographs to the 15 to 16 dB of its outdoor test set.
THICKEST = 1.5


@degradation(training=(0.2, 1.0), testing=(0.44,))
def haze(image: Images, depth: Depths, severity: Severities, generator: torch.Generator) -> Images:
    """Veil the image by depth: ``x * t + A * (1 - t)`` with ``t = exp(-beta * depth)``.

    Koschmieder's law as used by RESIDE (Li et al., "Benchmarking single-image dehazing and beyond", TIP 2019,
    equations 1 and 2), with ``beta = 1.5 * severity`` and the airlight ``A`` drawn per image in [0.8, 1], nearly grey.

    Args:
        image: (B, 3, H, W) in [0, 1].
        depth: (B, 1, H, W) in [0, 1], 0 near: where it is 0 the image stays as it is.
        severity: (B,) in [0, 1].
        generator: draws the airlight.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    batch = len(image)
    level = uniform(generator, (batch, 1, 1, 1), image.device, 0.82, 0.98)
    airlight = level + uniform(generator, (batch, 3, 1, 1), image.device, -0.02, 0.02)
    return veil(image, depth, THICKEST * severity, airlight)


def veil(image: Tensor, depth: Tensor, beta: Tensor, airlight: Tensor) -> Tensor:
    """The scattering model itself: ``beta`` (B,), ``airlight`` broadcastable to (B, 3, H, W)."""
    return torch.lerp(airlight, image, torch.exp(-per_image(beta) * depth))
