"""Adam for the few numbers a strategy learns itself, apart from the optimizer of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # Adam's own defaults


class Learner(nn.Module):
    """Adam (Kingma, Ba: ICLR 2015, https://arxiv.org/abs/1412.6980) at a constant rate, without weight decay.

    An absent task's entry rests: value, moments and count of steps stay as they are. Everything travels in
    ``state_dict()``.

    Args:
        shape: of the values; (K,) where there is one a task.
        rate: learning rate, > 0; the network's schedule does not touch it.

    Raises:
        ValueError: if the rate is not positive.
    """

    def __init__(self, shape: Sequence[int], rate: float):
        super().__init__()
        if not rate > 0:
            raise ValueError(f"a learning rate must be positive; got {rate}.")
        self.rate = rate
        self.register_buffer("moments", torch.zeros(2, *shape))
        self.register_buffer("steps", torch.zeros(*shape))

    @torch.no_grad()
    def step(self, values: Tensor, slope: Tensor, present: Tensor | None = None) -> Tensor:
        """``values`` moved against ``slope``, their gradient; those not ``present`` (bool, as many) stay."""
        first, second = _BETAS
        blended = (first * self.moments[0] + (1 - first) * slope, second * self.moments[1] + (1 - second) * slope**2)
        moments, steps = torch.stack(blended), self.steps + 1
        mean, square = moments[0] / (1 - first**steps), moments[1] / (1 - second**steps)
        moved = values - self.rate * mean / (square.sqrt() + _EPSILON)
        if present is not None:
            moments, steps = torch.where(present, moments, self.moments), torch.where(present, steps, self.steps)
            moved = torch.where(present, moved, values)
        self.moments, self.steps = moments, steps
        return moved
