"""Clipping of gradients: at a norm that a published recipe names, or at a percentile of the norms seen so far.

The second is AutoClip (Seetharaman, Wichern, Pardo, Le Roux, "AutoClip: Adaptive gradient clipping for source
separation networks", MLSP 2020), here with gradients in units of the threshold, so that their norm is 1 at most and
Adam's epsilon keeps its meaning. It is scale-free: multiplying all losses by a constant changes nothing but the
rounding. A fixed norm would shorten the steps of a strategy whose weights sum to more.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from art.shapes import Parameters, Scalar
from benchmarks.config.sections import TrainConfig


class Clipping:
    """Clips the gradients of one run, step by step.

    Args:
        train: the recipe; its ``clip_norm`` and ``clip_percentile``.
        device: where the gradients live.
    """

    def __init__(self, train: TrainConfig, device: torch.device):
        self.limit, self.percentile = train.clip_norm, train.clip_percentile
        self._norms = torch.full((train.steps if self.percentile else 0,), torch.nan, device=device)

    @torch.no_grad()
    def __call__(self, parameters: Parameters, step: int) -> Scalar:
        """Clip in place at step 0, 1, ...; returns the norm of the gradients before, without waiting for it."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.percentile:
            self._norms[step] = torch.where(norm.isfinite(), norm, torch.nan)
            limit = torch.nanquantile(self._norms[: step + 1], self.percentile / 100)
            largest = torch.maximum(norm, limit)
            factor = torch.where(largest > 0, 1 / largest, 1.0)
        elif self.limit:
            factor = (self.limit / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
        else:
            return norm
        torch._foreach_mul_(gradients, factor.to(gradients[0].device))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # as torch's own clipping: one kernel for all
        return norm

    def state(self, step: int) -> Float[Tensor, " steps"]:
        """What a checkpoint after ``step`` steps holds: their norms."""
        return self._norms[:step].clone()

    def restore(self, norms: Float[Tensor, " steps"]) -> None:
        """Continue from a checkpoint."""
        self._norms[: len(norms)] = norms
