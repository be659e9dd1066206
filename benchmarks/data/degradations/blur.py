"""Motion blur by a shaking camera."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import from_linear, normal, to_linear, uniform

LONGEST = 20.0  # pixels the camera path covers at severity 1
_MOMENTS = 40  # moments of the exposure, less than a pixel apart
_MARGIN = 20


@degradation(training=(0.2, 1.0), testing=(0.4,))
def blur(image: Images, severity: Severities, generator: torch.Generator) -> Images:
    """Average the image along a curved camera path, in linear light.

    The path is a direction with a smoothly wandering velocity; its centre of mass stays at the origin, so the blurred
    image is not shifted against the clean one. Averaging happens in linear light because that is where an exposure
    adds up (GoPro: Nah, Kim, Lee, "Deep multi-scale CNN for dynamic scene deblurring", CVPR 2017, gamma 2.2).

    Args:
        image: (B, 3, H, W) in [0, 1].
        severity: (B,) in [0, 1]; the path is ``20 * severity`` pixels long.
        generator: draws the path.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    path = _path(LONGEST * severity, generator, image.device)
    rows, columns = min(_MARGIN, height - 1), min(_MARGIN, width - 1)
    padded = F.pad(to_linear(image), (columns, columns, rows, rows), mode="reflect")
    # Each moment is a bilinear impulse, which is separable: the whole point spread function is one matrix product.
    spread = _impulses(path[..., 0], padded.shape[-2]).mT @ _impulses(path[..., 1], padded.shape[-1]) / _MOMENTS
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(spread)[:, None]
    blurred = torch.fft.irfft2(spectrum, s=padded.shape[-2:])
    return from_linear(blurred[..., rows : rows + height, columns : columns + width])


def _path(length: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    """Positions (B, moments, 2) in pixels (down, across) of a path of ``length`` (B,), centred on its mean."""
    batch = len(length)
    angle = uniform(generator, (batch, 1), device, 0, 2 * math.pi)
    wander = normal(generator, (batch, _MOMENTS, 2), device).cumsum(1) / math.sqrt(_MOMENTS)
    velocity = torch.stack([angle.sin(), angle.cos()], dim=-1) + wander
    path = velocity.cumsum(1)
    travelled = velocity.norm(dim=-1).sum(1)
    path = path * (length / travelled)[:, None, None]
    return path - path.mean(1, keepdim=True)


def _impulses(position: Tensor, size: int) -> Tensor:
    """Linearly interpolated impulses on a circle of ``size`` pixels, (B, moments) -> (B, moments, size)."""
    apart = torch.arange(size, device=position.device) - position[..., None]
    return (1 - (apart - size * torch.round(apart / size)).abs()).clamp_(min=0)
