"""GO4Align: tasks in groups that share a weight."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchjd import Stateful
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar
from art.shares import among, relearned

_LOWEST = 1e-8  # losses are read as at least this: indicators divide by them


class GO4Align(Scalarizer, Stateful):
    r"""GO4Align, group optimization for task alignment (Shen et al., NeurIPS 2024, https://arxiv.org/abs/2404.06486).

    .. math::
        p_k \leftarrow p_k e^{-\eta L_k} \Big/ \sum_j p_j e^{-\eta L_j}, \qquad
        v_k = p_k \frac{\sum_j L_j}{L_k}, \qquad w_k = \text{mean of } v \text{ in the group of } k, \qquad
        \ell = \sum_k w_k L_k

    p starts at 1 / K; sums go over the tasks present. Groups are the best there are of the v_k: those with the least
    squared distance from the means of their groups, found exactly (in the release the import of its k-means is
    commented out). Weights carry no gradient and are not normalised: their sum depends on the losses, and a learning
    rate for weights with sum 1 or K is too high. Each task in a group of its own, it is w_k = p_k / L_k up to a factor.

    Args:
        tasks: number of tasks K.
        groups: how many, >= 1; at most as many as tasks are present. 1, the release's default, is equal weights times
            a factor; 2 is our choice.
        eta: rate of p, > 0 (the release's ``robust_step_size``; p hardly moves at its 1e-4).

    Raises:
        ValueError: for parameters out of range.
    """

    logarithms: Tensor  #: (K,) of p
    _segments: Tensor  # (K + 1, K + 1, K) bool: places from start to before end

    def __init__(self, tasks: int, groups: int = 2, eta: float = 1e-4):
        super().__init__()
        if groups < 1 or not eta > 0:
            raise ValueError(f"GO4Align needs 1 group or more and eta > 0; got {groups} and {eta}.")
        self.groups, self.eta = min(groups, tasks), eta
        self.register_buffer("logarithms", torch.full((tasks,), 1 / tasks).log())
        starts, ends, places = torch.meshgrid(*map(torch.arange, (tasks + 1, tasks + 1, tasks)), indexing="ij")
        self.register_buffer("_segments", (starts <= places) & (places < ends), persistent=False)

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine (K,) losses to a scalar; entries of tasks that are not ``present`` (K,) bool are not read."""
        present = torch.ones_like(values, dtype=torch.bool) if present is None else present
        with torch.no_grad():
            losses = torch.where(present, values, 1).clamp_min(_LOWEST)
            logarithms = relearned(self.logarithms, self.logarithms - self.eta * losses, present)
            if self.training:
                self.logarithms = logarithms
            total = torch.where(present, losses, 0).sum()
            weights = self._grouped(among(logarithms, present) * total / losses, present)
        return (torch.where(present, weights, 0) * torch.where(present, values, 0)).sum()

    def _grouped(self, indicators: PerTask, present: Present) -> PerTask:
        """The mean of each task's group.

        Groups are segments of the sorted indicators. The least squared distance of all up to each place with one group
        more comes from that with one less (dynamic programming). Absent tasks come last and count nowhere, so a group
        of them costs nothing and is only made where there are fewer tasks than groups.
        """
        order = torch.where(present, indicators, torch.inf).argsort()
        counts, ordered = present[order].to(indicators.dtype), indicators[order]
        cost = self._distances(ordered, counts)
        distance, begins = cost[0], list[Tensor]()
        for _ in range(self.groups - 1):
            distance, begin = (distance[:, None] + cost).min(0)
            begins.append(begin)
        groups = torch.zeros_like(order)
        places, end = torch.arange(len(order), device=order.device), torch.full_like(order[:1], len(order))
        for begin in reversed(begins):
            end = begin.gather(0, end)
            groups = groups + (places >= end)
        members = (groups[:, None] == groups) * counts
        means = (members * ordered).sum(1) / members.sum(1).clamp_min(1)
        return torch.empty_like(indicators).scatter_(0, order, means)

    def _distances(self, ordered: Tensor, counts: Tensor) -> Float[Tensor, "starts ends"]:
        """Squared distances from their mean of the numbers from each start to before each end; 0 for none."""
        members = self._segments * counts
        mean = (members * ordered).sum(-1, keepdim=True) / members.sum(-1, keepdim=True).clamp_min(1)
        distances = (members * (ordered - mean) ** 2).sum(-1)
        return torch.where(torch.ones_like(distances).tril(-1) > 0, torch.inf, distances)  # an end before its start

    def reset(self) -> None:
        """Start again from equal shares."""
        self.logarithms.fill_(1 / len(self.logarithms)).log_()
