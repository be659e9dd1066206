"""The gradients of one step added up over processes, for the most part while the backward pass still runs.

In reverse order of the parameters, which is about the order in which a backward pass ends with them, gradients are
copied into buckets; a bucket that is full is summed while the pass goes on (Li et al., "PyTorch Distributed:
Experiences on accelerating data parallel training", VLDB 2020). Nothing is asked of a strategy: what it did is seen.
Where a gradient was changed after its bucket had left (several backward passes, an update made of gradients), that
step's sums are thrown away, and from then on all is summed after the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training.distributed import Group

BUCKET = 25 * 2**20  # bytes that are summed at once
PROOF = 16  # steps in a row in which all processes used a parameter, before its bucket waits for it
_ALIGNED = 16  # bytes at which each gradient in a bucket begins, for vectorised kernels


class GradientSum:
    """Sums the gradients of parameters over the processes of a group; with one process it does nothing.

    The processes tell each other, on the host, which parameters they used. What nobody used keeps ``None`` as its
    gradient, so that no optimizer touches it; what some used is summed with zeros of the others. Only parameters that
    all use in every step travel early.

    Args:
        group: the processes, all of which call the methods alike.
        parameters: of the network; those that are trained.
    """

    def __init__(self, group: Group, parameters: Iterable[nn.Parameter]):
        self._group = group
        self._parameters = [one for one in parameters if one.requires_grad] if group.size > 1 else []
        self._streaks = [PROOF] * len(self._parameters)
        self._early = True
        self._within = False
        self._waiting: list[set[int]] = []
        self._sums: list[_Sum] = []
        self._plan([*reversed(range(len(self._parameters)))])
        for number, parameter in enumerate(self._parameters):
            parameter.register_post_accumulate_grad_hook(partial(self._arrived, number))

    def _plan(self, steady: Sequence[int]) -> None:
        self._steady = list(steady)
        self._buckets = self._divided(steady)
        self._places = {number: place for place, bucket in enumerate(self._buckets) for number in bucket}

    def _divided(self, numbers: Iterable[int]) -> list[list[int]]:
        """Buckets of one data type and device each, in order."""
        buckets: list[list[int]] = []
        kind, room = None, 0
        for number in numbers:
            one = self._parameters[number]
            size = one.numel() * one.element_size()
            if kind != (one.dtype, one.device) or size > room:
                buckets.append([])
                kind, room = (one.dtype, one.device), BUCKET
            buckets[-1].append(number)
            room -= size
        return buckets

    def begin(self) -> None:
        """The backward pass of a step begins; the gradients are ``None``."""
        self._within = bool(self._buckets)
        self._waiting = [set(bucket) for bucket in self._buckets]

    def _arrived(self, number: int, _parameter: Tensor) -> None:
        place = self._places.get(number)
        if place is None or not self._within:
            return
        self._waiting[place].discard(number)
        # in the order of the plan, which is that of all processes
        while len(self._sums) < len(self._buckets) and not self._waiting[len(self._sums)]:
            self._sums.append(self._sum(self._buckets[len(self._sums)]))

    def _send_rest(self) -> None:
        self._sums += [self._sum(bucket) for bucket in self._buckets[len(self._sums) :]]

    def add_up(self, values: Tensor) -> None:
        """Another sum over the processes, which a strategy may ask for within its backward pass.

        Sums must begin in the same order everywhere, and buckets leave when they are full: so all of them leave first.
        """
        if self._within:
            self._send_rest()
        self._group.add_up(values)

    def finish(self) -> None:
        """The backward pass has ended: every gradient becomes the sum over the processes."""
        if self._group.size == 1:
            return
        self._within = False
        self._send_rest()
        used, changed = self._agreed()
        if changed:
            for early in self._sums:
                early.work.wait()
            self._sums, self._early = [], False
        sent = {number for early in self._sums for number in early.numbers}
        late = [number for number in reversed(range(len(used))) if used[number] and number not in sent]
        for one in [*self._sums, *map(self._sum, self._divided(late))]:
            one.work.wait()  # on a GPU its stream waits, not this process
            for number, total in zip(one.numbers, one.totals, strict=True):
                if used[number]:
                    self._parameters[number].grad = total
        self._sums = []
        self._learn(used)

    def _agreed(self) -> tuple[list[int], bool]:
        """How many processes have used each parameter, and whether a gradient changed after it was sent."""
        changed = any(early.changed(self._parameters) for early in self._sums)
        facts = torch.tensor([*(one.grad is not None for one in self._parameters), changed], dtype=torch.int32)
        self._group.add_up(facts)  # on the host: nobody waits for a device
        *used, somewhere = facts.tolist()
        return used, somewhere > 0

    def _learn(self, used: Sequence[int]) -> None:
        """Send early, from the next step on, what all processes use in every step; all of them come to the same."""
        size = self._group.size
        self._streaks = [streak + 1 if count == size else 0 for streak, count in zip(self._streaks, used, strict=True)]
        numbers = reversed(range(len(used))) if self._early else ()
        steady = [number for number in numbers if self._streaks[number] >= PROOF]
        if steady != self._steady:
            self._plan(steady)

    @torch.no_grad()
    def _sum(self, numbers: Sequence[int]) -> _Sum:
        """Begin the sum of these gradients; 0 stands for one that is not there."""
        parameters = [self._parameters[number] for number in numbers]
        unit = _ALIGNED // parameters[0].element_size()
        starts = [0]
        for one in parameters:
            starts.append(starts[-1] - (-one.numel() // unit) * unit)
        flat = torch.zeros(starts[-1], dtype=parameters[0].dtype, device=parameters[0].device)
        totals = [_part(flat, start, one) for start, one in zip(starts, parameters, strict=False)]
        gradients = [one.grad for one in parameters]
        filled = [total for total, own in zip(totals, gradients, strict=True) if own is not None]
        if filled:
            torch._foreach_copy_(filled, [own for own in gradients if own is not None])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]  # one kernel for all
        versions = [-1 if own is None else own._version for own in gradients]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        work = torch.distributed.all_reduce(flat, async_op=True)
        return _Sum(numbers, totals, gradients, versions, work)


@dataclass(frozen=True)
class _Sum:
    """A sum on its way: of which parameters, where it will stand, what was sent in which version, torch's handle."""

    numbers: Sequence[int]
    totals: Sequence[Tensor]
    sent: Sequence[Tensor | None]
    versions: Sequence[int]
    work: Any

    def changed(self, parameters: Sequence[nn.Parameter]) -> bool:
        """Whether a gradient is no longer what was sent."""
        now = [parameters[number].grad for number in self.numbers]
        return any(
            one is not sent or (one is not None and one._version != version)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            for one, sent, version in zip(now, self.sent, self.versions, strict=True)
        )


def _part(flat: Tensor, start: int, parameter: Tensor) -> Tensor:
    """The place of a parameter in a bucket, in the parameter's own order of memory, which fused optimizers ask for."""
    steps = zip(parameter.shape, parameter.stride(), strict=True)
    if parameter.numel() == 1 + sum((side - 1) * step for side, step in steps):  # dense, such as channels-last
        return flat.as_strided(parameter.shape, parameter.stride(), start)
    return flat[start : start + parameter.numel()].view_as(parameter)
