"""TUR: task losses weighed by predicted uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from art.gradients import output_layer
from art.strategy import Strategy


class TUR(Strategy):
    r"""Weighs every task by a learned uncertainty (the Art authors' sibling method, AAAI 2025).

    .. math:: \ell = \frac{1}{K} \sum_k \left( \frac{L_k}{s_k} + 2 \log s_k \right)

    s_k is the mean, over the samples of task k, of an uncertainty map that three 3x3 convolutions (ELU, ELU, softplus)
    predict from the network's last feature map, the input of its output convolution. The strategy brings parameters.

    Args:
        tasks: their names.
        floor: smallest s_k, against division by zero (ours; the map itself is positive).
    """

    def __init__(self, tasks: Sequence[str], floor: float = 1e-3):
        super().__init__(tasks)
        if not floor > 0:
            raise ValueError(f"TUR's floor must be positive; got {floor}.")
        self.floor = floor
        self.predictor = nn.Identity()
        self._features: Tensor | None = None

    def bind(self, network: nn.Module) -> None:
        output = output_layer(network)
        width = output.in_channels
        layers = [nn.Conv2d(width, width, 3, padding=1), nn.ELU(), nn.Conv2d(width, width, 3, padding=1), nn.ELU()]
        self.predictor = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1), nn.Softplus())
        self.predictor.to(next(network.parameters()).device)
        output.register_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            self._features = inputs[0]

    def backward(
        self,
        losses: Tensor | Sequence[Tensor],
        counts: Tensor,
        auxiliary: Tensor | None = None,
        parameters: Iterable[nn.Parameter] = (),
    ) -> None:
        spread = self.predictor(self._features.float()).mean(dim=(1, 2, 3))  # (B,)
        tasks = torch.arange(len(self.tasks), device=counts.device)
        owner = torch.repeat_interleave(tasks, counts.long(), output_size=len(spread))
        sums = torch.zeros_like(counts).index_add(0, owner, spread)
        uncertainty = (sums / counts.clamp_min(1)).clamp_min(self.floor)
        present = counts > 0
        terms = torch.where(present, losses / uncertainty + 2 * uncertainty.log(), 0)
        share = 1 / present.sum().clamp_min(1)
        total = share * terms.sum()
        (total if auxiliary is None else total + auxiliary).backward()
        self.weights = torch.where(present, share / uncertainty.detach(), 0)
        self._features = None
