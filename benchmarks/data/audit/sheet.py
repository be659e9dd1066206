"""Contact sheets: clean, degraded and difference side by side for every task of a setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.config.seeds import generator
from benchmarks.data.pools import Pool, Prepared, TestPool, with_depths
from results import write_atomically

SIDE, GAP, LABEL = 256, 6, 22
PAPER, INK = (250, 250, 250), (30, 30, 30)


def write(prepared: Prepared, path: Path, images: int = 2, train: bool = False) -> None:
    """Write a sheet as PNG: a row a test set (or training task), ``images`` triples of clean, degraded and difference.

    Differences are about mid-grey (lighter: the degraded image is), at natural contrast. A task without a test set
    shows training images. Images larger than a frame show their middle; training images are degraded as severely as one
    draw says.

    Args:
        prepared: opened data.
        path: where to.
        images: triples a row.
        train: the training images instead of the test images.
    """
    rows = list(_rows(prepared, images, train))
    width = GAP + max(len(triples) for _, triples in rows) * (3 * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", (width, GAP + len(rows) * (SIDE + LABEL + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (label, triples) in enumerate(rows):
        top = GAP + number * (SIDE + LABEL + GAP)
        pen.text((GAP, top + 2), label, INK, font)
        for place, triple in enumerate(triples):
            left = GAP + place * (3 * (SIDE + GAP) + GAP)
            for column, picture in enumerate(triple):
                sheet.paste(Image.fromarray(picture), (left + column * (SIDE + GAP), top + LABEL))
    write_atomically(path, lambda temporary: sheet.save(temporary))


def _rows(prepared: Prepared, images: int, train: bool) -> Iterator[tuple[str, list[tuple[np.ndarray, ...]]]]:
    for pool in prepared.train:
        tests = [test for test in prepared.tests if test.task.name == pool.task.name]
        for shown in tests if tests and not train else [pool]:
            role = shown.dataset if isinstance(shown, TestPool) else "training"
            # spread over the set, so that a row shows different scenes
            chosen = np.linspace(0, len(shown.names) - 1, min(images, len(shown.names))).round().astype(int)
            triples = [_triple(shown, int(number)) for number in dict.fromkeys(chosen)]
            yield f"{shown.task.name}: {role}; clean, degraded, difference", triples


def _triple(pool: Pool, number: int) -> tuple[np.ndarray, ...]:
    degraded, clean = _pair(pool, number)
    difference = 127.5 + (degraded.astype(np.float32) - clean) / 2
    return tuple(_framed(picture) for picture in (clean, degraded, difference.round().astype(np.uint8)))


def _pair(pool: Pool, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Degraded and clean image, uint8 (H, W, 3)."""
    if isinstance(pool, TestPool):
        degraded, clean = pool.pair(number)
        return _pixels(degraded), _pixels(clean)
    clean = np.asarray(pool.clean[number])
    partner = pool.partner(number)
    if partner is not None:
        return np.asarray(partner), clean
    kind = pool.degradation
    chance = generator("sheet", pool.task.name, pool.names[number])
    severity = pool.task.severity
    if severity is None:
        low, high = pool.task.drawn or kind.training
        severity = low + (high - low) * float(torch.rand((), generator=chance))
    depth = None
    if kind.needs_depth:
        depth = torch.from_numpy(np.array(with_depths(pool).depth(number))).float()[None, None] / 255
    image = torch.from_numpy(clean.copy()).permute(2, 0, 1)[None].float() / 255
    return _pixels(kind(image, chance, depth=depth, severity=severity)[0]), clean


def _pixels(image: torch.Tensor) -> np.ndarray:
    return image.mul(255).round().byte().permute(1, 2, 0).numpy()


def _framed(picture: np.ndarray) -> np.ndarray:
    """The middle SIDE x SIDE pixels, on paper where there are fewer."""
    top, left = (max(side - SIDE, 0) // 2 for side in picture.shape[:2])
    window = picture[top : top + SIDE, left : left + SIDE]
    frame = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
    frame[: window.shape[0], : window.shape[1]] = window
    return frame
