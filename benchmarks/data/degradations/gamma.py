"""A darker rendering of the same picture."""

import torch

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import per_image


@degradation(training=(1.0, 3.0), testing=(2.0,), limits=(1.0, 10.0), unit="exponent")
def gamma(image: Images, exponent: Severities, generator: torch.Generator) -> Images:  # noqa: ARG001  # part of the interface
    """Darken by a power of the display values and round to 8 bits: no noise, but the shadows lose their levels.

    The "dark" task of MiOIR (Kong, Dong, Zhang, arXiv 2401.03379; exponents from 1 to 3).

    Args:
        image: (B, 3, H, W) in [0, 1].
        exponent: (B,) at least 1; 1 only rounds to 8 bits.
        generator: not used, nothing is random here.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    return (image.clamp(0, 1) ** per_image(exponent) * 255).round_().div_(255)
