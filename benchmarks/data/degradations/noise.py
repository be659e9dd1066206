"""Gaussian noise as the AirNet family makes it."""

import torch

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import normal, per_image


@degradation(
    training=(15.0, 50.0),
    testing=(15.0, 25.0, 50.0),
    limits=(0.0, 255.0),
    unit="standard deviation in grey levels of 255",
)
def noise(image: Images, sigma: Severities, generator: torch.Generator) -> Images:
    """Add white Gaussian noise to 8-bit values, clip and truncate: ``uint8(clip(x + sigma * n, 0, 255))``.

    AirNet (Li et al., CVPR 2022) and the code that follows it truncate where rounding would be usual, which darkens
    the image by 0.47 grey levels on average; published numbers include that.

    Args:
        image: (B, 3, H, W) in [0, 1]; rounded to 8 bits first.
        sigma: (B,) standard deviation in grey levels (of 255).
        generator: source of the noise.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    disturbed = normal(generator, image.shape, image.device).mul_(per_image(sigma)).add_((image * 255).round_())
    return disturbed.clamp_(0, 255).floor_().div_(255)
