"""Heavy rain: streaks near the camera, fog behind them."""

import torch

from benchmarks.data.degradations._degradation import Depths, Images, Severities, degradation
from benchmarks.data.degradations._fields import uniform
from benchmarks.data.degradations.haze import veil
from benchmarks.data.degradations.rain import streaks


@degradation(training=(0.2, 1.0), testing=(0.6,))
def rain_fog(image: Images, depth: Depths, severity: Severities, generator: torch.Generator) -> Images:
    """Streaks, then the veil that distant rain makes: ``t * (x + S) + (1 - t) * A``.

    The model of Outdoor-Rain (Li, Cheong, Tan, "Heavy rain image restoration", CVPR 2019), with
    ``t = exp(-1.6 * severity * depth)``, a grey airlight and the streaks of :func:`rain` as a screen.

    Args:
        image: (B, 3, H, W) in [0, 1].
        depth: (B, 1, H, W) in [0, 1], 0 near.
        severity: (B,) in [0, 1]: thickness of the fog and amount of rain.
        generator: draws streaks and airlight.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    light = streaks(height, width, 0.2 + 0.5 * severity, generator, image.device)
    level = uniform(generator, (len(image), 1, 1, 1), image.device, 0.5, 0.85)
    airlight = level + uniform(generator, (len(image), 3, 1, 1), image.device, -0.015, 0.015)
    return veil(image + (1 - image) * light, depth, 1.6 * severity, airlight)
