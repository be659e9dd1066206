"""The average of a network's weights over the steps, which is scored in place of the network where a recipe asks it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from baselines.network import Network


class WeightAverage(nn.Module):
    """Exponential moving average of parameters; buffers are those of the last step.

    The same numbers and the same names in ``state_dict()`` as :class:`torch.optim.swa_utils.AveragedModel` has with
    ``get_ema_multi_avg_fn``, but in one operation for all parameters and without reading a tensor in a step.

    Args:
        network: whose weights are averaged; it is copied.
        decay: share of the average that stays at a step, in (0, 1).
    """

    module: Network  #: with the average
    n_averaged: Tensor  #: updates so far, on the host
    begun = False  #: whether there were any

    def __init__(self, network: Network, decay: float):
        super().__init__()
        self.module, self.decay = copy.deepcopy(network), decay
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long))
        self.register_load_state_dict_post_hook(self._look)

    @staticmethod
    def _look(average: nn.Module, _keys: Any) -> None:
        assert isinstance(average, WeightAverage)
        average.begun = bool(average.n_averaged > 0)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step; the first ones are the average themselves."""
        mine, given = ([value.detach() for value in one.parameters()] for one in (self.module, network))
        if self.begun:
            torch._foreach_lerp_(mine, given, 1 - self.decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # as torch's own average
        else:
            _copy(mine, given)
            self.begun = True
        _copy(list(self.module.buffers()), list(network.buffers()))
        self.n_averaged += 1


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    if targets:
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
