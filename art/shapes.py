"""Types of tensors and what strategies are given, by the names that signatures use."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Bool, Float
from torch import Tensor, nn

Scalar = Float[Tensor, ""]
PerTask = Float[Tensor, " tasks"]  # (K,)
Present = Bool[Tensor, " tasks"]  # (K,) whether the task has samples in the batch
WeightsOfSteps = Float[Tensor, "steps tasks"]  # (S, K)
Images = Float[Tensor, "batch 3 height width"]  # (B, 3, H, W)
Parameters = Iterable[nn.Parameter]
