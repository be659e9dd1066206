"""Makes miniature data sets in the true names and layouts: ``python tests/miniature.py SETTING FOLDER``."""

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


def pairs(root: Path, first: str, second: str, degraded=hazy, start: int = 200) -> None:
    """Two pairs: ``first`` and ``second`` are paths with ``{}`` for a number, of inputs and of targets."""
    for number in (1, 2):
        clean = picture(start + number)
        save(root / second.format(number), clean)
        save(root / first.format(number), degraded(clean))


def five_task(root: Path) -> Path:
    """What three_task needs, GoPro and LOL-v1; GoPro's training pairs as downloaded, a folder a sequence."""
    three_task(root)
    for sequence in ("GOPR0372_07_00", "GOPR0374_11_01"):
        places = (f"GoPro/train/{sequence}/{side}/00000{{}}.png" for side in ("blur", "sharp"))
        pairs(root, *places, start=sum(map(ord, sequence)))
        save(root / f"GoPro/train/{sequence}/blur_gamma/000001.png", picture(1))  # comes with it, is not used
    pairs(root, "GoPro/test/input/GOPR0384_11_00-00000{}.png", "GoPro/test/target/GOPR0384_11_00-00000{}.png")
    pairs(root, "LOL-v1/our485/low/{}.png", "LOL-v1/our485/high/{}.png", start=300)
    pairs(root, "LOL-v1/eval15/low/{}.png", "LOL-v1/eval15/high/{}.png", start=310)
    return root


def all_weather(root: Path) -> Path:
    """AllWeather with its list, and the four test sets; one file is not in the list, one of the list is not there."""
    names = [
        "city_read_14216.jpg",
        "sidewalk winter -grayscale -gray_05928.jpg",
        "im_0280_s90_a05.png",
        "im_0280_s95_a04.png",
        "461_rain.png",
        "0_rain.png",
    ]
    for number, name in enumerate([*names, "winter_japan_11709.jpg"]):
        clean = picture(400 + number)
        save(root / "allweather/gt" / name, clean)
        save(root / "allweather/input" / name, hazy(clean))
    listed = [*names, "castle_00001.jpg"]
    (root / "allweather.txt").write_text("".join(f"./allweather/input/{name}\n" for name in listed))
    pairs(root, "Snow100K-S/synthetic/winter__street_0{}.jpg", "Snow100K-S/gt/winter__street_0{}.jpg", start=420)
    pairs(root, "Snow100K-L/input/parking_lot_0{}.jpg", "Snow100K-L/gt/parking_lot_0{}.jpg", start=430)
    pairs(root, "OutdoorRain_Test1/in/im_000{}_s80_a04.png", "OutdoorRain_Test1/gt/im_000{}.png", rainy, start=440)
    save(root / "OutdoorRain_Test1/in/im_0001_s95_a06.png", hazy(picture(441)))
    pairs(root, "RainDrop/test_a/data/{}_rain.png", "RainDrop/test_a/gt/{}_clean.png", start=450)
    return root


def cdd11(root: Path) -> Path:
    """Every degradation of CDD-11 beside one folder of clear images."""
    parts = ["low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow"]
    for role, start in (("train", 500), ("test", 510)):
        for part in [*parts, "low_haze_rain", "low_haze_snow"]:
            pairs(root, f"CDD-11_{role}/{part}/00000{{}}.png", f"CDD-11_{role}/clear/00000{{}}.png", start=start)
    return root


def seven_task(root: Path) -> Path:
    """MiOIR's training folders, and its test sets as it unpacks them."""
    for part in ("sr", "blur", "noise", "jpeg", "rain", "haze", "dark"):
        pairs(root, f"MiO/train/{part}/000{{}}.png", "MiO/train/GT/000{}.png", start=600)
        pairs(root, f"MiO/test/single_indis/{part}/080{{}}.png", "MiO/test/original/GT/080{}.png", start=610)
    return root


SETTINGS = {made.__name__: made for made in (three_task, five_task, all_weather, cdd11, seven_task)}


def spoil(root: Path) -> dict[str, str]:
    """Put every defect that is told by name into what :func:`three_task` made; defect -> a piece of what is told."""
    (root / "BSD400/text.png").write_text("hello, I am text")
    (root / "CBSD68/3096.jpg").write_text("hello, I am text")
    (root / "CBSD68/12084.jpg").write_bytes(b"")
    cut = root / "RainTrainL/gt/norain-2.png"
    cut.write_bytes(cut.read_bytes()[:300])
    (root / "BSD400/100007.jpg").unlink()
    (root / "BSD400/100007.jpg").symlink_to(root / "nowhere.jpg")
    save(root / "Rain100L/input/31.png", picture(1, 40, 50))
    (root / "Rain100L/target/1.png").unlink()
    save(root / "Rain100L/target/7.png", picture(2))
    Image.fromarray(np.zeros((40, 50), np.float32)).save(root / "WED/00003.tif")
    return {
        "strange name": "BSD400/text.png: name does not fit the set",
        "text": "CBSD68/3096.jpg: not an image",
        "empty": "CBSD68/12084.jpg: an empty file",
        "cut short": "RainTrainL/gt/norain-2.png: damaged or cut short",
        "broken link": "BSD400/100007.jpg: cannot be read",
        "sizes": "Rain100L/input/31.png and Rain100L/target/31.png: a pair of different sizes, 40x50 and 80x96",
        "no target": "Rain100L/input/1.png: no target with that name",
        "no input": "Rain100L/target/7.png: no input with that name",
        "unknown range": "WED/00003.tif: values of 32 bits a pixel",
    }


if __name__ == "__main__":
    SETTINGS[sys.argv[1]](Path(sys.argv[2]))
