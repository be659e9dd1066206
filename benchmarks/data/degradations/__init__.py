"""Synthetic degradations: each a function of (image, severity, generator), over a batch, on the image's device.

Images are (B, 3, H, W) float32 in [0, 1], severities (B,), depths (B, 1, H, W) in [0, 1] with 0 near. Random numbers
come from an explicit ``torch.Generator``; with one on the CPU, runs on CPU and CUDA see the same degradations.
"""

from ._blur import blur
from ._gamma import gamma
from ._gaussian_blur import gaussian_blur
from ._haze import haze
from ._jpeg import jpeg
from ._low_light import low_light
from ._noise import noise
from ._rain import rain
from ._rain_fog import rain_fog
from ._raindrops import raindrops
from ._registry import DEGRADATIONS, Degradation, degrade
from ._resolution import downscale
from ._snow import snow

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "blur",
    "degrade",
    "downscale",
    "gamma",
    "gaussian_blur",
    "haze",
    "jpeg",
    "low_light",
    "noise",
    "rain",
    "rain_fog",
    "raindrops",
    "snow",
]
