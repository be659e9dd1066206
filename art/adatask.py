"""AdaTask: Adam's moments for every task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from art.gradients import add_to_gradients
from art.jacobian import JacobianStrategy, Rows, Update
from art.shapes import Parameters, PerTask, Present, Scalar
from art.task_losses import TaskLosses

_SHARED = ("betas", "eps")  # options that every group of parameters must have alike


class AdaTask(JacobianStrategy):
    r"""AdaTask (Yang et al., "AdaTask: A Task-aware Adaptive Learning Rate Approach to Multi-task Learning", AAAI 2023,
    https://arxiv.org/abs/2211.15055), which takes the step itself.

    .. math::
        m_k \leftarrow \beta_1 m_k + (1 - \beta_1) g_k, \quad
        v_k \leftarrow \beta_2 v_k + (1 - \beta_2) g_k^2, \quad
        \theta \leftarrow \theta - \eta \, s \sum_k
        \frac{m_k / (1 - \beta_1^{t_k})}{\sqrt{v_k / (1 - \beta_2^{t_k})} + \epsilon}

    The sum goes over the tasks present. Of an absent one, moments and step count t_k rest (ours: its authors do not
    know absent tasks, and a gradient of 0 would go on moving the parameters). A loss of the network's own has moments
    too, as one more task. Rate, betas and epsilon are those of the run's Adam or AdamW; weight decay is AdamW's in
    either case, once a step. Where gradients are clipped, every task's is shortened by the factor of their mean.

    The step is up to K times Adam's. :attr:`weights` are NaN: a step is no weighted sum of this step's gradients.
    Keeps 2 K numbers a parameter, 8 K bytes, which are in checkpoints too; the optimizer's own moments stay empty.

    Args:
        tasks: names of the K tasks.
        scale: s, > 0; 1 is the authors', 1 / K gives steps as long as Adam's at most.

    Raises:
        ValueError: if ``scale`` is not positive.
    """

    weighs = False

    moments: Tensor  #: (2, K, P) m and v, made by :meth:`bind`
    steps: Tensor  #: (K,) steps of each task so far
    own_moments: Tensor | None  #: (2, 1, P) of the network's own loss, made with the first
    own_steps: Tensor  #: (1,) steps with one

    def __init__(self, tasks: Sequence[str], scale: float = 1.0):
        super().__init__(tasks)
        if not scale > 0:
            raise ValueError(f"AdaTask's scale must be positive; got {scale}.")
        self.scale = scale
        self.register_buffer("moments", None)
        self.register_buffer("steps", torch.zeros(len(tasks)))
        self.register_buffer("own_moments", None)
        self.register_buffer("own_steps", torch.zeros(1))
        self._rows: Rows | None = None  # gradients of the coming step; the last is that of the network's own loss
        self._present, self._numbers = torch.zeros(len(tasks), dtype=torch.bool), list[int]()
        self._trained: list[nn.Parameter] = []

    def bind(self, network: nn.Module) -> None:
        """Make room for the moments."""
        room = self.remembered(network)
        self.moments = torch.stack([room, room])

    def backward(self, losses: TaskLosses, auxiliary: Scalar | None = None, parameters: Parameters = ()) -> None:
        """Keep the gradients of the tasks present for :meth:`step`; ``.grad`` gets their mean, which is clipped."""
        self._trained = [parameter for parameter in parameters if parameter.requires_grad]
        self._present, self._numbers = losses.present, losses.present_tasks
        self._rows = self.rows(losses, self._trained, [] if auxiliary is None else [auxiliary])
        count = len(self.tasks)
        update = self.combined(self._rows[:count], losses.values, losses.present) + self._rows[count:].sum(0)
        add_to_gradients(update / self.processes, self._trained)

    def combined(self, rows: Rows, losses: PerTask, present: Present) -> Update:
        """The mean of the gradients of the tasks present."""
        return rows.sum(0) / present.sum().clamp_min(1)

    @torch.no_grad()
    def step(self, optimizer: Optimizer, factor: Scalar | None = None) -> None:
        """A step for each task, with the optimizer's options; see :meth:`Strategy.step`.

        Raises:
            ValueError: for an optimizer that is no Adam, or has other betas or epsilon for some of the parameters.
        """
        if self._rows is None:
            raise ValueError("AdaTask's step needs the gradients of a backward before it.")
        rows, self._rows = self._rows, None
        groups = _groups(optimizer, self._trained)
        if factor is not None:
            rows.mul_(factor.to(rows))
        count, options = len(self.tasks), groups[0]
        direction = torch.zeros_like(rows[0])
        self.steps += self._present
        for task in self._numbers:
            direction += _adam(self.moments[:, task], rows[task], self.steps[task], options)
        if len(rows) > count:
            if self.own_moments is None:
                self.own_moments = torch.zeros_like(self.moments[:, :1])
            self.own_steps += 1
            direction += _adam(self.own_moments[:, 0], rows[count], self.own_steps[0], options)
        self._move(direction, groups)

    def _move(self, direction: Update, groups: Sequence[dict[str, Any]]) -> None:
        start = 0
        for parameter, group in zip(self._trained, groups, strict=True):
            part = direction[start : start + parameter.numel()].view_as(parameter)
            if group["weight_decay"]:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(part.to(parameter.dtype), alpha=-group["lr"] * self.scale)
            start += parameter.numel()


def _adam(moments: Tensor, gradient: Tensor, steps: Scalar, options: dict[str, Any]) -> Tensor:
    """Adam's direction (P,) after it has taken a gradient into its ``moments`` (2, P), in place."""
    first, second = options["betas"]
    mean, square = moments[0].lerp_(gradient, 1 - first), moments[1]
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    corrections = [-torch.expm1(steps * math.log(beta)) if beta else 1.0 for beta in (first, second)]  # 1 - beta^t
    root = (square / corrections[1]).sqrt_().add_(options["eps"])
    return mean / corrections[0] / root


def _groups(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    """The group of the optimizer that each parameter is in."""
    homes = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    groups = [homes[parameter] for parameter in parameters if parameter in homes]
    if len(groups) < len(parameters):
        raise ValueError("adatask steps with the options of the optimizer, which must have all parameters.")
    if any(key not in group for group in groups for key in (*_SHARED, "lr", "weight_decay")):
        raise ValueError(f"adatask steps as Adam or AdamW do; the optimizer is {type(optimizer).__name__}.")
    if any(group[key] != groups[0][key] for group in groups for key in _SHARED):
        raise ValueError("adatask needs the same betas and eps for all parameters.")
    return groups
