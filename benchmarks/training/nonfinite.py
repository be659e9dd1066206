"""Notices losses, weights and gradients that are NaN or infinite, at the first step at which they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from art.shapes import PerTask, Scalar


class Diverged(Exception):
    """A loss, a weight or the gradients are not finite: which, of what task and at what step, in words."""


class Watch:
    """Looks at every step without synchronising; :meth:`check` brings what it saw to the host.

    Args:
        tasks: names of the K tasks.
        device: where the losses are.
    """

    def __init__(self, tasks: Sequence[str], device: torch.device):
        self.tasks = tuple(tasks)
        # the first step at which a loss, a weight, the gradients are not finite, 0 for none: (2 K + 1,)
        self._first = torch.zeros(2 * len(tasks) + 1, dtype=torch.long, device=device)
        self._largest = torch.zeros((), device=device)
        self.learned = False  #: whether any gradient was other than 0, as far as :meth:`check` has looked

    @torch.no_grad()
    def note(self, step: int, norm: Scalar, losses: PerTask, weights: PerTask) -> None:
        """Look at a step, counted from 1.

        Args:
            step: its number.
            norm: of all gradients.
            losses: of the tasks.
            weights: factors of the losses in the update; NaN stands for none: some strategies have no such factors.
        """
        wrong = torch.cat([~losses.isfinite(), weights.isinf(), ~norm.reshape(1).isfinite()])
        self._first = torch.where(wrong & (self._first == 0), step, self._first)
        self._largest = torch.maximum(self._largest, norm)

    def check(self) -> None:
        """Look at the steps noted so far.

        Raises:
            Diverged: naming the first step at which something is not finite.
        """
        first: list[int] = self._first.tolist()
        self.learned = self.learned or bool(self._largest)
        step, count = min(filter(None, first), default=0), len(self.tasks)
        if not step:
            return
        for what, part in (("loss", first[:count]), ("weight", first[count : 2 * count])):
            if step in part:
                names = ", ".join(task for task, at in zip(self.tasks, part, strict=True) if at == step)
                raise Diverged(f"the {what} of {names} is not finite at step {step}")
        raise Diverged(f"the gradients are not finite at step {step}, though every task's loss is")
