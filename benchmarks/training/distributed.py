"""One run on several processes, as ``torchrun`` starts them.

Every process makes the same batch, takes its share of the samples and adds up task losses and gradients with the
others. So the task losses are those of the whole batch, every process weighs them alike, and all hold the same
weights. Only the first process writes.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from benchmarks.data.batches import Batch

_PATIENCE = timedelta(minutes=30)  # for the others: they may score a larger share, or wait for another command
T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of this run: how many, and which of them this is. Its methods are called by all of them.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
        channel: on which sums travel, torch's; ``None``: the one that all have.
    """

    rank: int = 0
    size: int = 1
    channel: Any = None

    def __deepcopy__(self, memo: object) -> Group:
        """Itself: a copy of a network is trained by the same processes."""
        return self

    def apart(self) -> Group:
        """The same processes, whose sums (:meth:`add_up`) keep no order with those of this one."""
        import torch

        return Group(self.rank, self.size, torch.distributed.new_group())

    @property
    def leads(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """This process's samples of a batch; ``counts`` stay those of the whole batch."""
        if self.size == 1:
            return batch
        samples = slice(self.rank, None, self.size)
        ends = list(accumulate(batch.sizes, initial=0))  # counted on the host: nothing waits for the device
        sizes = tuple(len(range(end)[samples]) - len(range(start)[samples]) for start, end in pairwise(ends))
        second = None if batch.second is None else batch.second[samples]
        return dataclasses.replace(
            batch, degraded=batch.degraded[samples], clean=batch.clean[samples], tasks=batch.tasks[samples],
            sizes=sizes, second=second,
        )  # fmt: skip

    def summed(self, share: Tensor) -> Tensor:
        """The sum over the processes; its gradient is that of this process's share."""
        return share if self.size == 1 else _sum().apply(share)

    def add_up(self, values: Tensor) -> None:
        """Replace values by their sum over the processes."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(values, group=self.channel)

    def agree(self, network: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.size > 1:
            import torch

            for value in (*network.parameters(), *network.buffers()):
                torch.distributed.broadcast(value.detach(), 0)

    def same(self, value: T) -> T:
        """The first process's value."""
        values = [value]
        if self.size > 1:
            import torch

            torch.distributed.broadcast_object_list(values, 0)
        return values[0]

    def gathered(self, value: T) -> list[T]:
        """Every process's value."""
        values = [value] * self.size
        if self.size > 1:
            import torch

            torch.distributed.all_gather_object(values, value)
        return values


ALONE = Group()


def is_follower() -> bool:
    """Whether this process is one of several and not the first; known without importing torch."""
    return os.environ.get("RANK", "0") != "0"


def count() -> int:
    """How many processes ``torchrun`` started; known without importing torch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def several() -> bool:
    """Whether ``torchrun`` started several processes."""
    return count() > 1


def current() -> Group:
    """The processes of this run: those that have joined, else this one alone."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ALONE
    return Group(torch.distributed.get_rank(), torch.distributed.get_world_size())


def join(device: torch.device) -> torch.device:
    """Meet the other processes that ``torchrun`` started; returns this one's device."""
    import torch

    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    # what lies on the host is exchanged there, so that nothing waits for a GPU
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    return device


def leave() -> None:
    """Part from the other processes."""
    import torch

    torch.distributed.destroy_process_group()


def _sum() -> Any:
    """The autograd function behind :meth:`Group.summed`; defined when torch is imported."""
    import torch

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, share: Tensor) -> Tensor:
            total = share.clone()
            torch.distributed.all_reduce(total)
            return total

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ARG004  # its name in autograd
            return grad_outputs[0]

    return Sum
