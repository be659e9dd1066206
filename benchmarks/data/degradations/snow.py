"""Falling snow."""

import torch
from torch import Tensor

from benchmarks.data.degradations._degradation import Depths, Images, Severities, degradation
from benchmarks.data.degradations._fields import constant, filtered, line, uniform
from benchmarks.data.degradations.haze import veil

# Four distances of snow, far to near: flake radius in pixels, depth the layer hangs at, opacity, share of the area at
# severity 1, and the severity from which on it snows there: light snow is fine snow.
_RADIUS = (0.8, 1.3, 2.3, 4.2)
_DEPTH = (0.75, 0.5, 0.25, 0.0)
_OPACITY = (0.8, 0.9, 0.85, 0.65)
_COVER = (0.045, 0.05, 0.05, 0.045)
_ONSET = (0.0, 0.0, 0.2, 0.4)


@degradation(training=(0.2, 1.0), testing=(0.3, 0.6, 1.0))
def snow(image: Images, depth: Depths, severity: Severities, generator: torch.Generator) -> Images:
    """Let it snow, with flakes of several sizes, drawn out by their fall, behind what is nearer than they are.

    Snow lies over the image as ``x * (1 - z) + c * z`` (Liu et al., "DesnowNet", TIP 2018), layer by layer
    from far and fine to near and large; the largest are out of focus, hence soft and translucent. A thin veil grows
    with depth. Severities 0.3, 0.6 and 1 are meant as the small, medium and large flakes of that paper's Snow100K.

    Args:
        image: (B, 3, H, W) in [0, 1].
        depth: (B, 1, H, W) in [0, 1], 0 near.
        severity: (B,) in [0, 1]: how many flakes and how large.
        generator: draws the fall, the flakes and their tint.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    device = image.device
    tint = uniform(generator, (len(image), 3, 1, 1), device, 0.92, 1.0)
    height, width = image.shape[-2:]
    cover = _flakes(height, width, severity, generator, device)
    behind = torch.sigmoid(14 * (depth - constant(_DEPTH, device).reshape(1, -1, 1, 1)))
    cover = cover * (0.25 + 0.75 * behind)  # some flakes are nearer than their layer
    image = veil(image, depth, 0.2 * severity, tint)
    for layer in cover.split(1, dim=1):
        image = torch.lerp(image, tint, layer)
    return image


def _flakes(height: int, width: int, severity: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    """Opacity of each layer of snow, (B, layers, H, W) in [0, 1]."""
    batch, layers = len(severity), len(_RADIUS)
    radius, onset = constant(_RADIUS, device), constant(_ONSET, device)
    angle = uniform(generator, (batch, 1), device, -0.9, 0.9) + uniform(generator, (batch, layers), device, -0.15, 0.15)
    length = uniform(generator, (batch, 1), device, 0.5, 5) * radius
    amount = ((severity[:, None] - onset) / (1 - onset)).clamp(min=0)

    area = 6.28 * radius**2 + 2.5 * radius * length
    density = (amount * constant(_COVER, device) / area).clamp(min=1e-9)[..., None, None]
    chance = uniform(generator, (batch, layers, height, width), device)
    seeds = (chance < density) * (0.55 + 0.9 * chance / density) * area[..., None, None]
    shape = line(height, width, angle, length, radius.expand(batch, layers))
    # A threshold on overlapping soft blobs gives flakes of many sizes with uneven outlines.
    body = filtered(seeds, shape)
    soft = ((body - 0.15) / 0.85).clamp_(0, 1)
    opacity = constant(_OPACITY, device).reshape(1, -1, 1, 1)
    return opacity * soft * soft * (3 - 2 * soft)
