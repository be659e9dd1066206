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
    """The squares in which the pictures' variance is largest, none over another; of equal ones the most central.

    Args:
        pictures: at least two, of one size.
        count: squares at most; a small picture has room for fewer.
    """
    height, width = pictures[0].shape[:2]
    shorter = min(height, width)
    side = min(max(shorter // SHARE, SMALLEST), LARGEST, max(shorter // 2, 1))
    score = _sums(_variance(pictures), side)
    middle = [(length - 1) / 2 for length in score.shape]
    found: list[Region] = []
    while len(found) < count and score.max() >= 0:
        best = np.argwhere(score == score.max())
        y, x = map(int, best[np.abs(best - middle).sum(axis=1).argmin()])
        found.append(Region(x, y, side, side))
        score[max(y - side + 1, 0) : y + side, max(x - side + 1, 0) : x + side] = -1  # would lie over this one
    return found


def _variance(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Over the pictures, summed over colours, times their number squared: whole numbers, (H, W)."""
    found = np.zeros(pictures[0].shape[:2], np.int64)
    for colour in range(3):  # one at a time: large photographs
        total, squares = np.zeros_like(found), np.zeros_like(found)
        for picture in pictures:
            total += picture[..., colour]
            squares += np.square(picture[..., colour], dtype=np.int64)
        found += len(pictures) * squares - total**2
    return found


def _sums(values: np.ndarray, side: int) -> np.ndarray:
    """Of every square of ``side`` pixels, by its upper left corner."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(values, axis=0), axis=1, out=table[1:, 1:])
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
