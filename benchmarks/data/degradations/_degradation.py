"""What a degradation is, and how it is found."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.config.errors import UserError
from benchmarks.data.degradations._fields import uniform

Images = Float[Tensor, "batch 3 height width"]
Depths = Float[Tensor, "batch 1 height width"]
Severities = Float[Tensor, "batch"]  # the name of an axis


@dataclass(frozen=True)
class Degradation:
    """A degradation and how severe it is meant to be; calling it degrades a batch.

    Attributes:
        apply: ``(image, severity, generator)``, or ``(image, depth, severity, generator)`` where it needs depths.
        training: bounds between which training draws the severity, uniformly; mildest first.
        testing: severities of the test sets, mildest first.
        limits: severities that mean something.
        unit: what the severity is.
    """

    apply: Callable[..., Tensor]
    training: tuple[float, float]
    testing: tuple[float, ...]
    limits: tuple[float, float] = (0.0, 1.0)
    unit: str = "severity, 0 to 1"

    @property
    def name(self) -> str:
        """The function's."""
        return self.apply.__name__

    @cached_property
    def needs_depth(self) -> bool:
        """Whether :attr:`apply` takes a depth map."""
        return "depth" in inspect.signature(self.apply).parameters

    def __call__(
        self,
        image: Tensor,
        generator: torch.Generator,
        *,
        depth: Tensor | None = None,
        severity: Tensor | float | None = None,
    ) -> Images:
        """Degrade a batch.

        Args:
            image: (B, 3, H, W) float in [0, 1], on any device.
            generator: source of all randomness. One on the CPU gives the same degradation whatever the device of the
                image, one of a GPU another and quicker. To make an image's degradation independent of the others, call
                with that image alone and a generator seeded for it.
            depth: (B, 1, H, W) in [0, 1], 0 near and 1 far; only where the degradation needs it, ignored elsewhere.
            severity: one value for all or (B,) in the degradation's own unit; None draws it uniformly from its training
                range, for each image.

        Returns:
            (B, 3, H, W) float32 in [0, 1], a new tensor on the device of the image.

        Raises:
            ValueError: wrong shapes, a missing depth, a severity outside the degradation's limits.
        """
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise ValueError(f"image must be (B, 3, H, W) of floats, not {tuple(image.shape)} of {image.dtype}")
        return self.degrade(image.float(), self._severities(severity, image, generator), generator, depth)

    def degrade(
        self, image: Tensor, severity: Severities, generator: torch.Generator, depth: Tensor | None = None
    ) -> Images:
        """The same without a look at severities, which would wait for a GPU; for those that :meth:`draw` gave."""
        if not self.needs_depth:
            return self.apply(image, severity, generator).clamp_(0, 1)
        wanted = (len(image), 1, *image.shape[-2:])
        if depth is None or depth.shape != wanted:
            found = "none was given" if depth is None else f"not {tuple(depth.shape)}"
            raise ValueError(f"{self.name} needs a depth of {wanted}, {found}")
        return self.apply(image, depth.to(image), severity, generator).clamp_(0, 1)

    def draw(
        self, count: int, generator: torch.Generator, device: torch.device, bounds: tuple[float, float] | None = None
    ) -> Severities:
        """Severities (count,) on the device, uniform between ``bounds``, by default those of training.

        Raises:
            ValueError: for bounds outside the degradation's limits.
        """
        low, high = bounds or self.training
        self.check(low, high)
        return uniform(generator, (count,), device, low, high)

    def _severities(self, severity: Tensor | float | None, image: Tensor, generator: torch.Generator) -> Severities:
        """Severity of each image, on the device of the images."""
        batch = len(image)
        if severity is None:
            return self.draw(batch, generator, image.device)
        if not isinstance(severity, Tensor):
            self.check(severity)
            return torch.full((), severity, dtype=torch.float32, device=image.device).expand(batch)
        if severity.shape not in ((), (1,), (batch,)):
            raise ValueError(f"severity must be one value or ({batch},), not {tuple(severity.shape)}")
        # Limits are checked where that costs nothing: reading a tensor of another device would wait for it.
        low, high = self.limits
        if severity.device.type == "cpu" and not bool(((severity >= low) & (severity <= high)).all()):
            raise self._beyond(severity.tolist())
        return severity.to(image.device, torch.float32).expand(batch)

    def check(self, *values: float) -> None:
        """Compare severities with the limits.

        Raises:
            ValueError: naming those beyond.
        """
        low, high = self.limits
        if not all(low <= value <= high for value in values):
            raise self._beyond(*values)

    def _beyond(self, *found: object) -> ValueError:
        low, high = self.limits
        shown = ", ".join(map(str, found))
        return ValueError(f"{self.name} takes a {self.unit} between {low:g} and {high:g}, not {shown}")


def degradation(
    *,
    training: tuple[float, float],
    testing: tuple[float, ...],
    limits: tuple[float, float] = (0.0, 1.0),
    unit: str = "severity, 0 to 1",
) -> Callable[[Callable[..., Tensor]], Degradation]:
    """Make a :class:`Degradation` of the function that follows; the arguments are its attributes."""
    return lambda function: Degradation(function, training, testing, limits, unit)


@cache
def load(place: str) -> Degradation:
    """The degradation at ``module:attribute``.

    Raises:
        UserError: if it cannot be imported, or is none.
    """
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # somebody's module may raise anything
        reason = str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise UserError(f"the degradation {place} cannot be imported ({reason}).") from error
    if not isinstance(found, Degradation):
        raise UserError(f"{place} is no degradation: put @degradation(training=..., testing=...) above the function.")
    return found
