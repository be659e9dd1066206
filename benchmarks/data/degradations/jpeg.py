"""JPEG compression."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import constant

# Quantisation tables of ITU-T T.81, Annex K, tables K.1 (luminance) and K.2 (chrominance).
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# JFIF's colour transform and its inverse, rows Y, Cb, Cr and R, G, B.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@degradation(training=(50.0, 10.0), testing=(40.0, 20.0, 10.0), limits=(1.0, 100.0), unit="quality")
def jpeg(image: Images, quality: Severities, generator: torch.Generator) -> Images:  # noqa: ARG001  # part of the interface
    """Compress and decompress as libjpeg does by default: 4:2:0, standard tables, interpolated chroma.

    Everything that loses information is done (ITU-T T.81 and JFIF: colour transform, chroma subsampling, 8x8 cosine
    transform, quantisation), nothing that does not (entropy coding), over the whole batch at once. The PSNR
    is within 0.1 dB of what Pillow gives, up to quality 90.

    Args:
        image: (B, 3, H, W) in [0, 1]; rounded to 8 bits first.
        quality: (B,) 1 to 100, rounded to integers; lower is worse.
        generator: not used, nothing is random here.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    height, width = image.shape[-2:]
    scale = _table_scale(quality)
    pixels = F.pad((image * 255).round_(), (0, -width % 16, 0, -height % 16), mode="replicate")
    planes = _mix(pixels, _TO_YCC).round_()  # chroma about 0, as luminance after its shift by 128
    bright = _quantised(planes[:, :1] - 128, _LUMINANCE, scale) + 128
    colour = _quantised(F.avg_pool2d(planes[:, 1:], 2).round_(), _CHROMINANCE, scale)
    colour = colour[..., : (height + 1) // 2, : (width + 1) // 2]
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    decoded = torch.cat([bright[..., :height, :width].clamp(0, 255), colour.clamp(-128, 127)], dim=1).round_()
    return _mix(decoded, _TO_RGB).round_().clamp_(0, 255).div_(255)


def _table_scale(quality: Tensor) -> Tensor:
    """libjpeg's percentage of the standard tables for a quality, (B, 1, 1, 1, 1)."""
    quality = quality.round().clamp(1, 100)
    return torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality).reshape(-1, 1, 1, 1, 1)


def _mix(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("rc,bchw->brhw", constant(matrix, planes.device), planes)


def _quantised(plane: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """(B, C, H, W), sides multiples of 8, through the cosine transform, the quantiser and back."""
    batch, channels, height, width = plane.shape
    blocks = plane.reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4).flatten(1, 3)
    cosines = _cosines(plane.device)
    steps = ((constant(table, plane.device) * scale + 50) / 100).floor().clamp(1, 255).flatten(1, 2)
    blocks = cosines.T @ ((cosines @ blocks @ cosines.T / steps).round_() * steps) @ cosines
    blocks = blocks.reshape(batch, channels, height // 8, width // 8, 8, 8)
    return blocks.transpose(3, 4).reshape(plane.shape)


@cache
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal 8-point cosine transform (type II), one frequency a row."""
    k, n = torch.arange(8, device=device)[:, None], torch.arange(8, device=device)
    basis = torch.cos(math.pi / 8 * (n + 0.5) * k) / 2
    basis[0] /= math.sqrt(2)
    return basis
