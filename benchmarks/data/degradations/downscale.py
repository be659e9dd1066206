"""Loss of resolution, at unchanged size."""

import torch
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation


@degradation(training=(2.0, 4.0), testing=(2.0, 3.0, 4.0), limits=(1.0, 16.0), unit="factor")
def downscale(image: Images, factor: Severities, generator: torch.Generator) -> Images:  # noqa: ARG001  # part of the interface
    """Shrink bicubically, round to 8 bits, enlarge bicubically to the size it had.

    The kernel is Keys' cubic with a = -1/2 (Keys 1981), widened when shrinking so that nothing aliases, its weights
    renormalised at the border: what Pillow's and, but for the border, MATLAB's bicubic resize do.

    Args:
        image: (B, 3, H, W) in [0, 1].
        factor: (B,) at least 1, not necessarily whole; 1 only rounds to 8 bits.
        generator: not used, nothing is random here.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    shrink_rows, enlarge_rows = _resampling(image.shape[-2], factor)
    shrink_columns, enlarge_columns = _resampling(image.shape[-1], factor)
    small = shrink_rows @ image @ shrink_columns.mT
    small = (small * 255).round_().clamp_(0, 255).div_(255)
    return (enlarge_rows @ small @ enlarge_columns.mT).clamp_(0, 1)


def _resampling(size: int, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (B, 1, size, size) that shrink one axis by ``factor`` and enlarge it again.

    The shrunk axes of a batch differ in length; each has the room of the longest possible, its unused end at zero.
    """
    length = (size / factor).round().clamp(min=1).reshape(-1, 1, 1)
    ratio = size / length
    fine = torch.arange(size, device=factor.device) + 0.5
    coarse = (fine * ratio).transpose(1, 2)  # where the small axis' samples lie on the large one
    used = (fine[:, None] < length).float()
    kernel = _cubic((coarse - fine) / ratio)
    shrink = kernel / kernel.sum(2, keepdim=True).clamp(min=1e-6) * used
    kernel = _cubic(fine[:, None] / ratio - fine) * used.mT
    enlarge = kernel / kernel.sum(2, keepdim=True)
    return shrink[:, None], enlarge[:, None]


def _cubic(distance: Tensor) -> Tensor:
    """Keys' interpolation kernel with a = -1/2."""
    x = distance.abs()
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x < 2, outer, 0))
