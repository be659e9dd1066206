"""Clipping of gradients: at a norm that a published recipe names, or at a percentile of the norms seen so far.

The second is AutoClip (Seetharaman, Wichern, Pardo, Le Roux, "AutoClip: Adaptive gradient clipping for source
separation networks", MLSP 2020), here with gradients in units of the threshold, so that their norm is 1 at most and
Adam's epsilon keeps its meaning. It is scale-free: multiplying all losses by a constant changes nothing but the
rounding. A fixed norm would shorten the steps of a strategy whose weights sum to more.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from art.shapes import Parameters, Scalar
from benchmarks.config.sections import TrainConfig


class Clipping:
    """Clips the gradients of one run, step by step.

    Args:
        train: the recipe; its ``clip_norm`` and ``clip_percentile``.
        device: where the gradients live.
    """

    factor: Scalar | None = None  #: by which the last gradients were scaled; ``None`` where nothing is clipped

    def __init__(self, train: TrainConfig, device: torch.device):
        self.limit, self.percentile = train.clip_norm, train.clip_percentile
        self._norms = torch.full((train.steps if self.percentile else 0,), torch.nan, device=device)
        self._clipped: Int[Tensor, ""] | None = None  # steps that were clipped; unknown after an older checkpoint
        if self.percentile or self.limit:
            self._clipped = torch.zeros((), dtype=torch.long, device=device)  # counted there: the host need not wait

    @torch.no_grad()
    def __call__(self, parameters: Parameters, step: int) -> Scalar:
        """Clip in place at step 0, 1, ...; returns the norm of the gradients before, without waiting for it."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.percentile:
            self._norms[step] = torch.where(norm.isfinite(), norm, torch.nan)
            limit = torch.nanquantile(self._norms[: step + 1], self.percentile / 100)
            self._count(norm, limit)
            largest = torch.maximum(norm, limit)
            factor = torch.where(largest > 0, 1 / largest, 1.0)
        elif self.limit:
            factor = (self.limit / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
            self._count(norm, self.limit)
        else:
            return norm
        self.factor = factor
        torch._foreach_mul_(gradients, factor.to(gradients[0].device))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # as torch's own clipping: one kernel for all
        return norm

    def _count(self, norm: Scalar, limit: Scalar | float) -> None:
        if self._clipped is not None:
            self._clipped += (norm > limit) & norm.isfinite()

    @property
    def clipped(self) -> int | None:
        """Steps so far whose gradient was longer than the limit and so was shortened; waits for the device. ``None``
        where nothing is clipped, or where a checkpoint of an older version did not say how often it was before."""
        return None if self._clipped is None else int(self._clipped)

    def state(self, step: int) -> Float[Tensor, " steps"]:
        """What a checkpoint after ``step`` steps holds: their norms."""
        return self._norms[:step].clone()

    def restore(self, norms: Float[Tensor, " steps"], clipped: int | None) -> None:
        """Continue from a checkpoint."""
        self._norms[: len(norms)] = norms
        if self._clipped is not None:
            self._clipped = None if clipped is None else self._clipped.fill_(clipped)
