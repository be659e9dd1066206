"""Several degradations of one picture, in the order in which nature and camera apply them."""

from collections.abc import Callable

import torch
from torch import Tensor

from ._haze import haze
from ._low_light import low_light
from ._rain import rain
from ._snow import snow

# As OneRestore composes CDD-11 (Guo et al., ECCV 2024): first the light fails, then it rains or snows, then haze.
_ORDER = ("low", "rain", "snow", "haze")
MIXTURES = (
    ("low", "haze"),
    ("low", "rain"),
    ("low", "snow"),
    ("haze", "rain"),
    ("haze", "snow"),
    ("low", "haze", "rain"),
    ("low", "haze", "snow"),
)


def mixture(parts: tuple[str, ...]) -> Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]:
    """The function of (image, depth, severity, generator) that applies ``parts`` of CDD-11, each as severe.

    Args:
        parts: some of low, rain, snow, haze, in any order.
    """
    ordered = sorted(parts, key=_ORDER.index)

    def apply(image: Tensor, depth: Tensor, severity: Tensor, generator: torch.Generator) -> Tensor:
        for part in ordered:
            if part == "low":
                image = low_light(image, 0.5 * severity, generator)  # half: what comes after must be seen
            elif part == "rain":
                image = rain(image, severity, generator)
            elif part == "snow":
                image = snow(image, depth, severity, generator)
            else:
                image = haze(image, depth, severity, generator)
        return image

    return apply
