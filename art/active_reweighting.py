"""Art, active reweighting of the task losses (Wu et al., "Harmony in Diversity", ACM MM 2024).

https://doi.org/10.1145/3664647.3680762
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torchjd.scalarization import Scalarizer

from art.shapes import PerTask, Present, Scalar

# log10 L is read between these: at L = 1 the score's ratio of logarithms divides by zero and beyond it changes sign,
# at L = 0 it is infinite. Restoration losses live well inside.
_LOWEST, _HIGHEST = 1e-8, 1 - 1e-3

Score = Literal["both", "pace", "loss"]
Best = Literal["batch", "level"]


class Art(Scalarizer):
    r"""Weighs K task losses by their pace against their own running level and by how far each is from its best.

    .. math::
        s_k = \frac{1}{\tau} \cdot \frac{L_k}{\bar L_k} \cdot \frac{\log_{10} L^{\min}_k}{\log_{10} L_k}, \qquad
        w = \operatorname{softmax}_{k \text{ present}}(s), \qquad \ell = \sum_k w_k L_k

    The weights carry no gradient. Afterwards, for the tasks present,
    :math:`\bar L_k \leftarrow a L_k + (1 - a) \bar L_k` and :math:`L^{\min}_k \leftarrow \min(L^{\min}_k, L_k)`.
    Formula and defaults are those of the authors' released code. With ``tau = 0.1`` and small batches the softmax is
    close to winner-takes-all, because the noise of a batch's loss is divided by ``tau``; ``tau -> inf`` gives equal
    weights.

    Other scores tell which factor does what. ``score="pace"``, :math:`L_k / (\bar L_k \tau)`, and ``score="loss"``,
    :math:`\bar L_k / \tau`, into which the loss of the step does not enter, are arms of the method's development, found
    in the history of the authors' next release (https://github.com/Aitical/TUR, loss classes DWA and LossWA), there
    with ``tau`` 10, 1 and 0.1. Their levels were the task's last loss (``momentum=1``) or a running mean; that code is
    in no commit, so start and momentum are ours. ``log=False``, :math:`L_k / L^{\min}_k` as the second factor, is ours.
    So is ``best="level"``, :math:`L^{\min}_k` as the minimum of the running level: that of single batches is a record
    of the easiest batch so far, which goes on falling while the level stands still.

    The state is updated by every call in training mode, on the losses' device and without synchronising with the
    host. It is in ``state_dict()``.

    Args:
        tasks: number of tasks K.
        tau: temperature of the softmax, > 0.
        momentum: share a of the new loss in the running level, in [0, 1].
        start: running level and minimum before the first step, > 0.
        released: reproduce a defect of the release, where snow's running level is written to another attribute, so
            that it stays at ``start`` for ever. ``True`` means the task called ``desnow``, or else the last one (snow
            is last in the release's order: dehaze, derain, desnow); an ``int`` is the index of another one.
        task_names: names of the tasks, if ``released`` is to find snow.
        score: ``both`` factors, the ``pace`` alone, or the level of the ``loss`` alone.
        log: whether the distance from the best is a ratio of logarithms, or of losses; only of ``score="both"``.
        best: the minimum of single losses (``batch``), or of the running level (``level``); only of ``score="both"``.

    Raises:
        ValueError: for parameters out of range, or one of the distance's for a score without that factor.
    """

    running: Tensor  #: (K,) running levels, Lbar
    minimum: Tensor  #: (K,) smallest losses, or running levels, so far
    weights: Tensor  #: (K,) detached weights of the last call, 0 for absent tasks
    _learns: Tensor  # (K,) bool, whether a task's running level moves

    def __init__(
        self,
        tasks: int,
        tau: float = 0.1,
        momentum: float = 0.01,
        start: float = 0.1,
        released: bool | int = False,
        task_names: Sequence[str] = (),
        score: Score = "both",
        log: bool = True,
        best: Best = "batch",
    ) -> None:
        super().__init__()
        if tasks < 1:
            raise ValueError(f"Art needs at least one task; got tasks={tasks}.")
        if not tau > 0:
            raise ValueError(f"Art's temperature tau must be positive; got {tau}.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"Art's momentum must lie in [0, 1]; got {momentum}.")
        if not start > 0:
            raise ValueError(f"Art's starting level must be positive; got {start}.")
        for name, value, known in (("score", score, Score), ("best", best, Best)):
            if value not in get_args(known):
                raise ValueError(f"Art's {name} is one of {', '.join(get_args(known))}; got {value!r}.")
        if not isinstance(log, bool):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's)
            raise ValueError(f"Art's log is true or false; got {log!r}.")
        if score != "both" and (not log or best != "batch"):
            what = f"best={best}" if log else "log=false"
            raise ValueError(f"Art's {what} concerns the distance from the best, which score={score} leaves out.")
        if released is True and "desnow" in task_names:
            released = task_names.index("desnow")
        stuck = None if released is False else tasks - 1 if released is True else int(released)
        if stuck is not None and not 0 <= stuck < tasks:
            raise ValueError(f"Art's released={released} names no task; there are {tasks}, counted from 0.")
        self.tau, self.momentum, self.start, self.released = tau, momentum, start, released
        self.score, self.log, self.best = score, log, best
        self.register_buffer("running", torch.full((tasks,), float(start)))
        self.register_buffer("minimum", torch.full((tasks,), float(start)))
        self.register_buffer("weights", torch.full((tasks,), 1 / tasks), persistent=False)
        learns = torch.ones(tasks, dtype=torch.bool)
        if stuck is not None:
            learns[stuck] = False
        self.register_buffer("_learns", learns, persistent=False)

    def __call__(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """Combine the task losses into one scalar.

        Args:
            values: (K,) task losses >= 0, mean absolute errors of images in [0, 1]; entries of absent tasks are not
                read.
            present: (K,) bool, the tasks with samples in the batch; ``None`` means all.

        Returns:
            The weighted sum, a scalar with gradient to ``values``; 0 when no task is present. A NaN or infinite loss
            of a present task makes it NaN or infinite, so that it can be noticed, but is kept out of the state.
        """
        return torch.nn.Module.__call__(self, values, present)

    def forward(self, values: PerTask, /, present: Present | None = None) -> Scalar:
        """See :meth:`__call__`."""
        if values.shape != self.running.shape:
            raise ValueError(f"Art expects {self.running.numel()} task losses; got shape {tuple(values.shape)}.")
        if self.running.device != values.device:
            self.to(values.device)
        if present is None:
            present = torch.ones_like(values, dtype=torch.bool)
        with torch.no_grad():
            losses = values.detach().to(self.running.dtype)
            usable = present & losses.isfinite()
            losses = torch.where(usable, losses, self.running)
            self.weights = _masked_softmax(self._scores(losses), usable)
            if self.training:
                self._update(losses, usable)
        return (self.weights * torch.where(present, values, 0)).sum()

    def _scores(self, losses: Tensor) -> Tensor:
        if self.score == "loss":
            return self.running / self.tau
        pace = losses / self.running
        if self.score == "pace":
            return pace / self.tau
        if not self.log:
            return pace * (losses / self.minimum.clamp_min(_LOWEST)) / self.tau
        from_best = self.minimum.clamp(_LOWEST, _HIGHEST).log10() / losses.clamp(_LOWEST, _HIGHEST).log10()
        return pace * from_best / self.tau

    def _update(self, losses: Tensor, usable: Tensor) -> None:
        level = self.momentum * losses + (1 - self.momentum) * self.running
        self.running = torch.where(usable & self._learns, level, self.running)
        low = losses if self.best == "batch" else self.running
        self.minimum = torch.where(usable, torch.minimum(self.minimum, low), self.minimum)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return (
            f"tasks={self.running.numel()}, tau={self.tau}, momentum={self.momentum}, "
            f"start={self.start}, released={self.released}, score={self.score}, log={self.log}, best={self.best}"
        )

    __repr__ = torch.nn.Module.__repr__


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the masked entries, 0 elsewhere and everywhere when the mask is empty."""
    top = scores.masked_fill(~mask, -torch.inf).max().clamp_min(torch.finfo(scores.dtype).min)
    powers = torch.where(mask, (scores - top).exp(), 0)
    return powers / powers.sum().clamp_min(torch.finfo(scores.dtype).tiny)
