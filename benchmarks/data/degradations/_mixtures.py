"""Several degradations of one picture, in the order in which nature and camera apply them."""

import torch
from torch import Tensor

from benchmarks.data.degradations._degradation import Degradation, Depths, Images, Severities
from benchmarks.data.degradations.haze import haze
from benchmarks.data.degradations.low_light import low_light
from benchmarks.data.degradations.rain import rain
from benchmarks.data.degradations.snow import snow

# As OneRestore composes CDD-11 (Guo et al., ECCV 2024): first the light fails, then it rains or snows, then haze.
_ORDER = ("low", "rain", "snow", "haze")


def __getattr__(name: str) -> Degradation:
    """The mixture of that name, such as ``low_haze_rain``: some of low, rain, snow, haze, in any order, each as
    severe."""
    parts = name.split("_")
    if not set(parts) <= set(_ORDER):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def mixture(image: Images, depth: Depths, severity: Severities, generator: torch.Generator) -> Tensor:
        for part in sorted(parts, key=_ORDER.index):
            if part == "low":
                image = low_light.apply(image, 0.5 * severity, generator)  # half: what comes after must be seen
            elif part == "rain":
                image = rain.apply(image, severity, generator)
            elif part == "snow":
                image = snow.apply(image, depth, severity, generator)
            else:
                image = haze.apply(image, depth, severity, generator)
        return image

    mixture.__name__ = name
    return Degradation(mixture, training=(0.3, 0.8), testing=(0.5,))
