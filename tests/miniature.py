"""Makes miniature data sets in the true names and layouts: ``python tests/miniature.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, height: int = 80, width: int = 96) -> np.ndarray:
    """A smooth picture with edges, different for every number, uint8 (H, W, 3)."""
    chance = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(2 * np.pi * (fy * y + fx * x) + p) for fy, fx, p in chance.uniform(-4, 4, (3, 3))]
    image = np.stack(waves, axis=2) * 60 + 128
    top, left = chance.integers(0, 40, 2)
    image[top : top + 20, left : left + 30] = chance.uniform(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def rainy(image: np.ndarray) -> np.ndarray:
    streaks = np.random.default_rng(image.sum()).random(image.shape[:2]) > 0.97
    return np.maximum(image, (streaks * 220).astype(np.uint8)[..., None])


def hazy(image: np.ndarray) -> np.ndarray:
    return (image * 0.5 + 110).astype(np.uint8)


def three_task(root: Path) -> Path:
    """BSD400, WED, RainTrainL, OTS for training, CBSD68, Rain100L, SOTS outdoor (and Rain100H) for testing."""
    for number, name in enumerate(("a117025.jpg", "100007.jpg", "a12074.jpg", "8049.jpg")):
        save(root / "BSD400" / name, picture(number))
    for number in (1, 2):
        save(root / f"WED/{number:05d}.bmp", picture(10 + number))
    for number in (1, 2, 10):
        clean = picture(20 + number)
        save(root / f"RainTrainL/gt/norain-{number}.png", clean)
        save(root / f"RainTrainL/rainy/rain-{number}.png", rainy(clean))
    for number in (25, 26):
        clean = picture(40 + number)
        save(root / f"OTS/original/{number:04d}.jpg", clean)
        for part, (light, beta) in enumerate(((0.8, 0.04), (1, 0.2)), start=1):
            save(root / f"OTS/synthetic/part{part}/{number:04d}_{light}_{beta}.jpg", hazy(clean))
    for number, name in enumerate(("3096.jpg", "12084.jpg")):
        save(root / "CBSD68" / name, picture(80 + number, 75, 101))
    for dataset in ("Rain100L", "Rain100H"):
        for number in (1, 31):
            clean = picture(90 + number)
            save(root / f"{dataset}/target/{number}.png", clean)
            save(root / f"{dataset}/input/{number}.png", rainy(clean))
    clean = picture(130)
    save(root / "SOTS/outdoor/clear/0001.png", clean)
    save(root / "SOTS/outdoor/hazy/0001_0.8_0.2.jpg", hazy(clean))
    return root


if __name__ == "__main__":
    three_task(Path(sys.argv[1]))
