"""Random fields, constants and filters that the degradations share."""

from functools import cache
from typing import Any

import torch
from torch import Tensor


@cache
def constant(values: tuple[Any, ...], device: torch.device) -> Tensor:
    """A tensor of numbers, not to be changed; made once a device: to send it in every step would wait for a GPU."""
    return torch.tensor(values, device=device)


def uniform(
    generator: torch.Generator, shape: tuple[int, ...], device: torch.device, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Uniform numbers, drawn where the generator lives and moved if that is elsewhere, so that with one generator every
    device sees the same ones."""
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    if (low, high) != (0, 1):
        drawn.mul_(high - low).add_(low)
    return drawn.to(device)


def normal(generator: torch.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Standard normal numbers, drawn as those of :func:`uniform`."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def per_image(values: Tensor) -> Tensor:
    """(B,) as (B, 1, 1, 1), to multiply images with."""
    return values.reshape(-1, 1, 1, 1)


def frequencies(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Frequencies of ``torch.fft.rfft2`` in cycles a pixel: (H, 1) down and (1, W // 2 + 1) across."""
    return torch.fft.fftfreq(height, device=device)[:, None], torch.fft.rfftfreq(width, device=device)[None]


def filtered(field: Tensor, transfer: Tensor) -> Tensor:
    """``field`` (..., H, W) filtered by ``transfer`` (..., H, W // 2 + 1), wrapping around at the borders."""
    return torch.fft.irfft2(torch.fft.rfft2(field).mul_(transfer), s=field.shape[-2:])


def line(height: int, width: int, angle: Tensor, length: Tensor, thickness: Tensor) -> Tensor:
    """Transfer function of a soft line segment of unit sum.

    In the frequency domain a box of any length and direction is one sinc, so the cost does not grow with the length
    and no kernel has to be drawn.

    Args:
        height, width: size of the field to filter.
        angle: (...) radians from the vertical.
        length: (...) pixels.
        thickness: (...) standard deviation across the line in pixels.

    Returns:
        (..., H, W // 2 + 1) real.
    """
    down, across = frequencies(height, width, angle.device)
    angle, length, thickness = (x[..., None, None] for x in (angle, length, thickness))
    sine, cosine = torch.sin(angle), torch.cos(angle)
    parallel = cosine * down + sine * across
    normal_to = sine * down - cosine * across
    taper = 0.12 * length + thickness  # streaks fade at both ends
    return torch.sinc(length * parallel) * torch.exp(-19.74 * ((thickness * normal_to) ** 2 + (taper * parallel) ** 2))


def to_linear(image: Tensor) -> Tensor:
    """Display values in [0, 1] as linear light, gamma 2.2."""
    return image.clamp(0, 1).pow(2.2)


def from_linear(light: Tensor) -> Tensor:
    """Linear light as display values in [0, 1], gamma 2.2."""
    return light.clamp(0, 1).pow(1 / 2.2)
