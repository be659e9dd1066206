"""Adam for the few numbers a strategy learns itself, apart from the optimizer of the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # Adam's own defaults


class Learner(nn.Module):
    """Adam (Kingma, Ba: ICLR 2015, https://arxiv.org/abs/1412.6980) at a constant rate, without weight decay.

    The entry of an absent task rests: its value, moments and step count stay as they are. Everything is in
    ``state_dict()``.

    Args:
        shape: of the values; (K,) if there is one per task.
        rate: learning rate, > 0; the network's schedule does not touch it.

    Raises:
        ValueError: if the rate is not positive.
    """

    moments: Tensor  #: (2, ...) first and second moments
    steps: Tensor  #: (...) steps so far

    def __init__(self, shape: Sequence[int], rate: float):
        super().__init__()
        if not rate > 0:
            raise ValueError(f"a learning rate must be positive; got {rate}.")
        self.rate = rate
        self.register_buffer("moments", torch.zeros(2, *shape))
        self.register_buffer("steps", torch.zeros(*shape))

    @torch.no_grad()
    def step(
        self,
        values: Float[Tensor, "*shape"],
        slope: Float[Tensor, "*shape"],
        present: Bool[Tensor, "*shape"] | None = None,
    ) -> Float[Tensor, "*shape"]:
        """``values`` moved against ``slope``, their gradient; those that are not ``present`` stay."""
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
