"""Noticing losses, weights and gradients that are NaN or infinite, at the step where they first are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Diverged(Exception):
    """A loss, a weight or the gradients are not finite: which, of what task and at what step, in words."""


class Watch:
    """Looks at every step without synchronising; :meth:`check` brings what it saw to the host.

    Args:
        tasks: their names.
        device: where the losses live.
    """

    def __init__(self, tasks: Sequence[str], device: torch.device):
        self.tasks = tuple(tasks)
        # first step with something wrong, 0 for none: of the losses, of the weights, of the gradients
        self._first = torch.zeros(2 * len(tasks) + 1, dtype=torch.long, device=device)
        self._largest = torch.zeros((), device=device)
        self.learned = False  #: whether any gradient was other than 0, as far as :meth:`check` has looked

    @torch.no_grad()
    def note(self, step: int, norm: Tensor, losses: Tensor, weights: Tensor) -> None:
        """A step, counted from 1: norm of the gradients, (K,) losses and factors in the update.

        A NaN weight is none: some strategies have no such factors.
        """
        wrong = torch.cat([~losses.isfinite(), weights.isinf(), ~norm.reshape(1).isfinite()])
        self._first = torch.where(wrong & (self._first == 0), step, self._first)
        self._largest = torch.maximum(self._largest, norm)

    def check(self) -> None:
        """Look at what was noted so far.

        Raises:
            Diverged: naming the first step with something wrong.
        """
        first = self._first.tolist()
        self.learned = self.learned or bool(self._largest)
        steps = [step for step in first if step]
        if not steps:
            return
        step, count = min(steps), len(self.tasks)
        for what, part in (("loss", first[:count]), ("weight", first[count : 2 * count])):
            if step in part:
                names = ", ".join(task for task, at in zip(self.tasks, part, strict=True) if at == step)
                raise Diverged(f"the {what} of {names} is not finite at step {step}")
        raise Diverged(f"the gradients are not finite at step {step}, though every task's loss is")
