"""Drops of water on the lens or on a window in front of it."""

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.degradations._degradation import Images, Severities, degradation
from benchmarks.data.degradations._fields import uniform

# Drops sit one to a cell of a square grid, anywhere inside it, and reach less than half a cell: a pixel then has only
# four candidates to ask, however large the image. Grids: side of a cell in pixels, bounds of the radius in sides.
_GRIDS = ((26, (0.14, 0.34)), (60, (0.16, 0.38)), (104, (0.16, 0.38)))


class _Drops(NamedTuple):
    """At each pixel the drop that covers it best; all (B, 1, H, W)."""

    level: Tensor  # 1 at the drop's middle, 0 on its outline, negative outside
    down: Tensor  # pixels from the middle to here
    across: Tensor
    edge: Tensor  # level at which the drop is fully there: small for sharp outlines


@degradation(training=(0.3, 1.0), testing=(1.0,))
def raindrops(image: Images, severity: Severities, generator: torch.Generator) -> Images:
    """Put drops in front of the lens.

    A drop is a fish-eye lens: it shows the scene around it upside down, shrunk, and brighter; the camera focuses far
    behind it, so what it shows is blurred and its outline soft (the formation model of Qian et al., "Attentive
    generative adversarial network for raindrop removal", CVPR 2018: ``(1 - M) * x + R``). Severity 0.8 leaves
    photographs at about 25 dB (that paper's training pairs, which are also slightly out of register: 22 dB).

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
    defocused = F.avg_pool2d(image, 8, ceil_mode=True, count_include_pad=False)
    seen = F.grid_sample(defocused, where, mode="bilinear", padding_mode="reflection", align_corners=False)
    # Light gathered from the bright part of the scene makes a drop lighter than what it hides, most so low in it.
    spread, mean = torch.std_mean(defocused, dim=(2, 3), keepdim=True, correction=0)
    gathered = (mean + 0.7 * spread).clamp(max=1)
    low = torch.sigmoid(drops.down / 6)
    seen = torch.lerp(seen, gathered, 0.3 + 0.3 * low) * (0.94 + 0.06 * drops.level.clamp(0, 1))
    soft = (drops.level / drops.edge).clamp(0, 1)
    return torch.lerp(image, seen, 0.95 * soft * soft * (3 - 2 * soft))


def _drops(height: int, width: int, severity: Tensor, generator: torch.Generator, device: torch.device) -> _Drops:
    return reduce(_covering, (_grid(height, width, *grid, severity, generator, device) for grid in _GRIDS))


def _covering(a: _Drops, b: _Drops) -> _Drops:
    """Of two drops, at each pixel the one that covers it better."""
    chosen = b.level > a.level
    return _Drops(*(torch.where(chosen, y, x) for x, y in zip(a, b, strict=True)))


def _grid(
    height: int,
    width: int,
    side: int,
    radii: tuple[float, float],
    severity: Tensor,
    generator: torch.Generator,
    device: torch.device,
) -> _Drops:
    """One grid of drops, rendered over an image of this size.

    The image is tiled by squares as large as a cell but half a cell off, so that the four cells a tile overlaps are all
    that can reach into it; tensors are (B, rows, side, columns, side) and the drops' properties broadcast over tiles.
    """
    rows, columns = -(-height // side), -(-width // side)
    lots = uniform(generator, (7, len(severity), rows + 1, columns + 1), device)
    # A place that holds a drop at one severity holds a larger one at every higher severity.
    growth = (1.4 * severity[:, None, None] - lots[0]).clamp(0, 1).sqrt()
    lots[0] = (side * (radii[0] + (radii[1] - radii[0]) * lots[3] ** 2) * growth).clamp(min=1e-3)
    # The level falls by 2 / radius a pixel at the rim: no outline is sharper than a pixel and a half.
    lots[6] = torch.maximum(0.5 + 0.5 * lots[6], 3 / lots[0])

    best = None
    y, x = torch.arange(side, device=device)[:, None, None], torch.arange(side, device=device)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cells = lots[:, :, i : i + rows, None, j : j + columns, None]
        radius, middle_down, middle_across, _, slim, lean, edge = cells
        down = y - side * (i - 0.5 + middle_down)
        across = x - side * (j - 0.5 + middle_across)
        # Egg-shaped: slimmer than high or the reverse, leaning, narrower at the top.
        tall = down / ((0.8 + 0.5 * slim) * radius)
        wide = (across + 0.5 * (lean - 0.5) * down) * (0.9 + 0.3 * slim) / radius / (1 + 0.2 * tall.clamp(-1, 1))
        found = _Drops(1 - tall**2 - wide**2, *torch.broadcast_tensors(down, across, edge))
        best = found if best is None else _covering(best, found)
    tiles = (len(severity), 1, rows * side, columns * side)
    return _Drops(*(part.reshape(tiles)[..., :height, :width] for part in best))
