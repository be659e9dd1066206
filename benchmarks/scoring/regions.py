"""Where restorations of one picture differ most: the regions that a figure shows enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

SHARE = 5  # a region's side is this part of the picture's shorter side, within the following
SMALLEST, LARGEST = 48, 192  # pixels


class Region(NamedTuple):
    """A rectangle of a picture, in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def text(self) -> str:
        """As it is asked for."""
        return ",".join(map(str, self))

    def inside(self, height: int, width: int) -> bool:
        """Whether it lies in a picture of this size and is not empty."""
        reaches = self.x + self.width <= width and self.y + self.height <= height
        return reaches and min(self.x, self.y) >= 0 and min(self.width, self.height) >= 1


def most_different(pictures: Sequence[UInt8[np.ndarray, "height width 3"]], count: int = 2) -> list[Region]:
    """The squares in which the pictures differ most beside their mean colour there, which the whole pictures show; none
    over another, of equal ones the most central.

    Args:
        pictures: at least two, of one size.
        count: squares at most; a small picture has room for fewer.
    """
    height, width = pictures[0].shape[:2]
    shorter = min(height, width)
    side = min(max(shorter // SHARE, SMALLEST), LARGEST, max(shorter // 2, 1))
    score = _differences(pictures, side)
    middle = [(length - 1) / 2 for length in score.shape]
    found: list[Region] = []
    while len(found) < count and score.max() >= 0:
        best = np.argwhere(score == score.max())
        y, x = map(int, best[np.abs(best - middle).sum(axis=1).argmin()])
        found.append(Region(x, y, side, side))
        score[max(y - side + 1, 0) : y + side, max(x - side + 1, 0) : x + side] = -1  # would lie over this one
    return found


def _differences(pictures: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Of every square by its upper left corner: the variance over the pictures, but for that of the square's mean
    colour; summed over pixels and colours, in whole numbers of one unit."""
    found = np.zeros([length - side + 1 for length in pictures[0].shape[:2]], np.int64)
    for colour in range(3):  # one at a time: large photographs
        planes = [picture[..., colour].astype(np.int64) for picture in pictures]
        found += side**2 * _sums(_variance(planes), side)
        found -= _variance([_sums(plane, side) for plane in planes])
    return found


def _variance(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Times the number of planes squared."""
    squares, total = (np.sum(parts, axis=0) for parts in ([plane**2 for plane in planes], planes))
    return len(planes) * squares - total**2


def _sums(values: np.ndarray, side: int) -> np.ndarray:
    """Of every square of ``side`` pixels, by its upper left corner."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(values, axis=0), axis=1, out=table[1:, 1:])
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
