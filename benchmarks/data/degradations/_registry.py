"""The degradations by name, and one call for all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ._blur import blur
from ._fields import uniform
from ._gamma import gamma
from ._gaussian_blur import gaussian_blur
from ._haze import haze
from ._jpeg import jpeg
from ._low_light import low_light
from ._mixtures import MIXTURES, mixture
from ._noise import noise
from ._rain import rain
from ._rain_fog import rain_fog
from ._raindrops import raindrops
from ._resolution import downscale
from ._snow import snow


@dataclass(frozen=True)
class Degradation:
    """A degradation and how severe it is meant to be.

    Attributes:
        name: key in :data:`DEGRADATIONS`.
        apply: ``(image, severity, generator)``, or ``(image, depth, severity, generator)`` if ``needs_depth``.
        training: bounds between which training draws the severity, uniformly; mildest first.
        testing: severities of the test sets, mildest first.
        needs_depth: whether ``apply`` takes a depth map.
        limits: severities that mean something.
        unit: what the severity is.
    """

    name: str
    apply: Callable[..., Tensor]
    training: tuple[float, float]
    testing: tuple[float, ...]
    needs_depth: bool = False
    limits: tuple[float, float] = (0.0, 1.0)
    unit: str = "severity, 0 to 1"


DEGRADATIONS: dict[str, Degradation] = {
    entry.name: entry
    for entry in (
        Degradation(
            "noise", noise, (15, 50), (15, 25, 50), limits=(0, 255), unit="standard deviation in grey levels of 255"
        ),
        Degradation("rain", rain, (0.1, 1.0), (0.385, 1.0)),
        Degradation("haze", haze, (0.2, 1.0), (0.44,), needs_depth=True),
        Degradation("blur", blur, (0.2, 1.0), (0.4,)),
        Degradation("low_light", low_light, (0.4, 1.0), (0.8,)),
        Degradation("snow", snow, (0.2, 1.0), (0.3, 0.6, 1.0), needs_depth=True),
        Degradation("rain_fog", rain_fog, (0.2, 1.0), (0.6,), needs_depth=True),
        Degradation("raindrops", raindrops, (0.3, 1.0), (1.0,)),
        Degradation("jpeg", jpeg, (50, 10), (40, 20, 10), limits=(1, 100), unit="quality"),
        Degradation("downscale", downscale, (2, 4), (2, 3, 4), limits=(1, 16), unit="factor"),
        Degradation("gaussian_blur", gaussian_blur, (1, 3), (2,), limits=(0, 10), unit="standard deviation in pixels"),
        Degradation("gamma", gamma, (1, 3), (2,), limits=(1, 10), unit="exponent"),
        *(Degradation("_".join(parts), mixture(parts), (0.3, 0.8), (0.5,), needs_depth=True) for parts in MIXTURES),
    )
}


def degrade(
    name: str,
    image: Tensor,
    generator: torch.Generator,
    *,
    depth: Tensor | None = None,
    severity: Tensor | float | None = None,
) -> Tensor:
    """Degrade a batch.

    The noise levels are not separate names: ``degrade("noise", ..., severity=25)``.

    Args:
        name: a key of :data:`DEGRADATIONS`.
        image: (B, 3, H, W) float in [0, 1], on any device.
        generator: source of all randomness. One on the CPU gives the same degradation whatever the device of the
            image. To make an image's degradation independent of the others, call with that image alone and a generator
            seeded for it.
        depth: (B, 1, H, W) in [0, 1], 0 near and 1 far; only where the degradation needs it, ignored elsewhere.
        severity: one value for all or (B,) in the degradation's own unit; None draws it uniformly from its training
            range, for each image.

    Returns:
        (B, 3, H, W) float32 in [0, 1], a new tensor on the device of the image.

    Raises:
        KeyError: unknown name.
        ValueError: wrong shapes, a missing depth, a severity outside the degradation's limits.
    """
    if name not in DEGRADATIONS:
        raise KeyError(f"no degradation is called {name!r}; there are {', '.join(DEGRADATIONS)}")
    kind = DEGRADATIONS[name]
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ValueError(f"image must be (B, 3, H, W) of floats, not {tuple(image.shape)} of {image.dtype}")
    image = image.float()
    severity = _severity(kind, severity, image, generator)
    if not kind.needs_depth:
        return kind.apply(image, severity, generator).clamp_(0, 1)
    if depth is None or depth.shape != (len(image), 1, *image.shape[-2:]):
        found = "none was given" if depth is None else f"not {tuple(depth.shape)}"
        raise ValueError(f"{name} needs a depth of {(len(image), 1, *image.shape[-2:])}, {found}")
    return kind.apply(image, depth.to(image), severity, generator).clamp_(0, 1)


def _severity(kind: Degradation, severity: Tensor | float | None, image: Tensor, generator: torch.Generator) -> Tensor:
    """Severity of each image, (B,) on the device of the images."""
    batch = len(image)
    if severity is None:
        return uniform(generator, (batch,), image.device, *kind.training)
    # Limits are checked where that costs nothing: reading a tensor of another device would wait for it.
    severity = torch.as_tensor(severity, dtype=torch.float32)
    if severity.shape not in ((), (1,), (batch,)):
        raise ValueError(f"severity must be one value or ({batch},), not {tuple(severity.shape)}")
    low, high = kind.limits
    if severity.device.type == "cpu" and not bool(((severity >= low) & (severity <= high)).all()):
        raise ValueError(f"{kind.name} takes a {kind.unit} between {low:g} and {high:g}, not {severity.tolist()}")
    return severity.to(image.device).expand(batch)
