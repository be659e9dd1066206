"""Rain streaks."""

import torch
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import constant, filtered, line, per_image, uniform

# Three distances of rain, far to near: how long, thick and bright the streaks are beside those of the middle one, and
# what share of the drops is there.
_LENGTH = (0.6, 1.0, 1.7)
_THICKNESS = (0.45, 0.7, 1.15)
_BRIGHTNESS = (0.7, 1.0, 0.9)
_SHARE = (0.45, 0.35, 0.2)


@degradation(training=(0.1, 1.0), testing=(0.385, 1.0))
def rain(image: Images, severity: Severities, generator: torch.Generator) -> Images:
    """Lay rain streaks over the image.

    Drops at random places are drawn out along the image's own direction by motion, in three layers of scale; a streak
    is a translucent light (screen blend, never darker than the image), heavy rain adds a thin veil. Severity 0.39
    resembles Rain100L, 1 resembles Rain100H (Yang et al., "Deep joint rain detection and removal", CVPR 2017): at 0.39
    photographs have its PSNR, and as many pixels brighter by 0.03 (a fifth), by 0.1 (6 %) and by 0.25 (1 %).

    Args:
        image: (B, 3, H, W) in [0, 1].
        severity: (B,) in [0, 1]: how many drops and how bright.
        generator: draws direction, lengths and drops.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    light = streaks(height, width, severity, generator, image.device)
    mist = per_image(0.06 * severity**2)
    return image + (1 - image) * (light + mist - light * mist)


def streaks(height: int, width: int, severity: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    """Light of the streaks alone, (B, 1, H, W) in [0, 1]."""
    batch, layers = len(severity), len(_LENGTH)
    main = uniform(generator, (batch, 1), device, -0.5, 0.5)
    angle = main + uniform(generator, (batch, layers), device, -0.06, 0.06)
    length = uniform(generator, (batch, 1), device, 16, 34) * constant(_LENGTH, device)
    thickness = uniform(generator, (batch, 1), device, 0.85, 1.25) * constant(_THICKNESS, device)

    severity = severity[:, None]
    area = length * thickness * 2.5066  # of a streak; the filter spreads a drop's light over it
    density = (0.27 * severity + 0.62 * severity**3) * constant(_SHARE, device) / area
    brightness = (0.5 + 0.3 * severity) * constant(_BRIGHTNESS, device)

    chance = uniform(generator, (batch, layers, height, width), device)
    density, gain = density[..., None, None], (area * brightness)[..., None, None]
    drop = (chance / density.clamp(min=1e-9)).clamp(max=1)  # 0 to 1: many faint drops, few bright ones
    drops = (chance < density) * (0.15 + 1.3 * drop**3) * gain
    light = filtered(drops, line(height, width, angle, length, thickness)).clamp_(min=0)
    return 1 - torch.exp(-light.sum(dim=1, keepdim=True))
