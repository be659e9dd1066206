"""Drops of water on the lens or on a window in front of it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._fields import per_image, uniform

# Drops sit one to a cell of a square grid, anywhere inside it: a pixel then has only nine candidates to ask, however
# large the image. Two grids: side of a cell in pixels, and radius of its drops in sides.
_GRIDS = ((18, (0.14, 0.40)), (44, (0.18, 0.50)))


class _Drops(NamedTuple):
    """At each pixel the drop that covers it best; all (B, 1, H, W)."""

    level: Tensor  # 1 at the drop's middle, 0 on its outline, negative outside
    down: Tensor  # pixels from the middle to here
    across: Tensor
    edge: Tensor  # level at which the drop is fully there: small for sharp outlines


def raindrops(image: Tensor, severity: Tensor, generator: torch.Generator) -> Tensor:
    """Put drops in front of the lens.

    A drop is a fish-eye lens: it shows the scene around it upside down, shrunk, blurred (the camera focuses far behind
    it) and brighter, with a soft outline (the formation model of Qian et al., "Attentive generative adversarial network
    for raindrop removal", CVPR 2018, equation 1: ``(1 - M) * x + R``).

    Args:
        image: (B, 3, H, W) in [0, 1].
        severity: (B,) in [0, 1]: share of the places that hold a drop, and its size.
        generator: draws places, sizes, shapes and sharpness.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    height, width = image.shape[-2:]
    drops = _drops(height, width, severity, generator, image.device)
    bend = 2.2 + 2.0 * (1 - drops.level.clamp(0, 1))  # the rim looks farther round
    down = torch.arange(height, device=image.device)[:, None] - drops.down * (1 + bend)
    across = torch.arange(width, device=image.device) - drops.across * (1 + bend)
    where = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)[:, 0]
    defocused = F.avg_pool2d(image, 4, ceil_mode=True, count_include_pad=False)
    seen = F.grid_sample(defocused, where, mode="bilinear", padding_mode="reflection", align_corners=False)
    # Light gathered from the bright half of the scene: lighter than what is behind the drop, most so low in it.
    gathered = defocused.flatten(2).quantile(0.85, dim=2)[..., None, None]
    low = torch.sigmoid(drops.down / 4)
    seen = torch.lerp(seen, gathered, 0.15 + 0.35 * low) * (0.82 + 0.18 * drops.level.clamp(0, 1).sqrt())
    soft = (drops.level / drops.edge).clamp(0, 1)
    return torch.lerp(image, seen, 0.95 * soft * soft * (3 - 2 * soft))


def _drops(height: int, width: int, severity: Tensor, generator: torch.Generator, device: torch.device) -> _Drops:
    best = None
    for side, radii in _GRIDS:
        best = _nearest(best, height, width, side, radii, severity, generator, device)
    return best


def _nearest(
    best: _Drops | None,
    height: int,
    width: int,
    side: int,
    radii: tuple[float, float],
    severity: Tensor,
    generator: torch.Generator,
    device: torch.device,
) -> _Drops:
    """``best``, or the drop of one grid of drops where that covers the pixel better."""
    rows, columns = -(-height // side) + 2, -(-width // side) + 2
    lots = uniform(generator, (7, len(severity), 1, rows, columns), device)
    there, middle_down, middle_across, size, slim, lean, blur = lots
    # A place that holds a drop at one severity holds a larger one at every higher severity.
    growth = (1.15 * per_image(severity) - there).clamp(min=0).sqrt()
    radius = side * (radii[0] + (radii[1] - radii[0]) * size**2) * growth.clamp(max=1)
    y, x = torch.arange(height, device=device), torch.arange(width, device=device)
    cell_y, cell_x = y // side, x // side
    for step in range(9):
        i, j = (cell_y + step // 3)[:, None], cell_x + step % 3  # the outermost cells lie outside the image
        down = y[:, None] - side * (i - 1 + middle_down[..., i, j])
        across = x - side * (j - 1 + middle_across[..., i, j])
        stretch, skew = 0.8 + 0.5 * slim[..., i, j], 0.7 * (lean[..., i, j] - 0.5)
        reach = radius[..., i, j].clamp(min=1e-3)
        # Egg-shaped: leaning, slimmer than high, narrower at the top.
        egg = (across + skew * down) * stretch / (1 + 0.25 * (down / reach).clamp(-1, 1))
        level = 1 - ((down / stretch) ** 2 + egg**2) / reach**2
        found = _Drops(level, down, across, 0.2 + 0.8 * blur[..., i, j])
        best = (
            found if best is None else _Drops(*torch.where(level > best.level, torch.stack(found), torch.stack(best)))
        )
    return best
