"""Test photographs of the embedded data: fixed crops of colour photographs that scikit-image carries in its wheel.

Nothing is downloaded. Licences, as scikit-image's documentation of ``skimage.data`` states them:

- astronaut (Eileen Collins, NASA Great Images database): public domain, no known copyright restrictions;
- chelsea (a cat, by Stefan van der Walt): CC0;
- coffee (an espresso, by Rachel Michetti): CC0;
- rocket (a Falcon 9 on its pad, by SpaceX): public domain.

Its other colour pictures are left out: the motorcycle has no stated licence; retina, tissue and deep sky are not scenes
that rain, haze or a camera's shake would meet.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from benchmarks.data.procedural import depth_proxy

SIDE = 256


@dataclass(frozen=True)
class _Crop:
    """A SIDE x SIDE window of a file in the wheel; crops of one file do not overlap."""

    file: str
    top: int
    left: int


_CROPS = {
    "astronaut_portrait": _Crop("astronaut.png", 0, 96),
    "astronaut_suit": _Crop("astronaut.png", 256, 0),
    "astronaut_helmet": _Crop("astronaut.png", 256, 256),
    "chelsea": _Crop("chelsea.png", 20, 110),
    "coffee_cup": _Crop("coffee.png", 0, 60),
    "coffee_spoon": _Crop("coffee.png", 144, 316),
    "rocket_pad": _Crop("rocket.jpg", 171, 128),
    "rocket_tower": _Crop("rocket.jpg", 171, 384),
}


def photographs() -> dict[str, UInt8[np.ndarray, "256 256 3"]]:
    """The test photographs by name, in a fixed order.

    Returns:
        name -> (256, 256, 3) uint8, RGB. The arrays are shared between calls and read-only.

    Raises:
        FileNotFoundError: scikit-image is not installed, or its installation lacks one of the pictures.
    """
    return {name: _crop(name) for name in _CROPS}


def depth_of(name: str) -> Float32[np.ndarray, "256 256"]:
    """Depth of a test photograph for synthetic haze, snow and fog: an estimate, the same at every call.

    Args:
        name: a key of :func:`photographs`.

    Returns:
        (256, 256) float32 in [0, 1], 0 near, 1 far; read-only.

    Raises:
        KeyError: no photograph has this name.
    """
    if name not in _CROPS:
        raise KeyError(f"no photograph is called {name!r}; there are {', '.join(_CROPS)}")
    return _depth(name)


@cache
def _crop(name: str) -> np.ndarray:
    crop = _CROPS[name]
    picture = _decode(crop.file)
    window = np.ascontiguousarray(picture[crop.top : crop.top + SIDE, crop.left : crop.left + SIDE])
    window.setflags(write=False)
    return window


@cache
def _depth(name: str) -> np.ndarray:
    depth = depth_proxy(_crop(name), np.random.default_rng(crc32(name.encode())))
    depth.setflags(write=False)
    return depth


@cache
def _decode(file: str) -> np.ndarray:
    # Found without importing scikit-image: its own loader may reach for a cache folder or the network.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise FileNotFoundError("the test photographs come with scikit-image, which is not installed")
    path = Path(package.origin).parent / "data" / file
    if not path.is_file():
        raise FileNotFoundError(
            f"the test photograph {path} is missing from scikit-image's installation; "
            "reinstall scikit-image from its wheel, which carries the file"
        )
    with Image.open(path, formats=["PNG", "JPEG"]) as picture:
        return np.asarray(picture.convert("RGB"))
