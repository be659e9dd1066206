"""Shares of tasks that are learned as logarithms, and the rule for tasks that a batch lacks.

The rule: an absent task weighs 0 in the update, its loss is read nowhere, and what is remembered about it stays as it
is. The others are weighed among themselves, as if there were no further task: shares are scaled to sum 1 over them, and
what they learn moves their own part of the remembered shares only.
"""

from __future__ import annotations

import torch

from art.shapes import PerTask, Present


def among(logarithms: PerTask, present: Present) -> PerTask:
    """The softmax (K,) of ``logarithms`` over the tasks ``present``, 0 for the others; all 0 if there is none."""
    lowest = torch.finfo(logarithms.dtype).min
    return torch.where(present, torch.where(present, logarithms, lowest).softmax(0), 0)


@torch.no_grad()
def relearned(logarithms: PerTask, new: PerTask, learns: Present) -> PerTask:
    """``logarithms`` (K,) of shares, where those of the tasks that ``learns`` say are replaced.

    Args:
        logarithms: of the shares so far.
        new: (K,) of what is proportional to the new shares; entries of other tasks are not read.
        learns: (K,) bool.

    Returns:
        (K,) logarithms; the replaced shares have the sum they had, the others are the same bit for bit.
    """
    before = logarithms.masked_fill(~learns, -torch.inf).logsumexp(0)
    after = new.masked_fill(~learns, -torch.inf).logsumexp(0)
    return torch.where(learns, new - after + before, logarithms)
