"""Learning rates as functions of the step alone, so that resuming needs no scheduler state."""

from __future__ import annotations

import math

from benchmarks.config.errors import UserError
from benchmarks.config.sections import TrainConfig

EPOCHS = 100  # that a training has at the least


def encoder_warmup_steps(train: TrainConfig) -> int:
    """Steps at the start that train a contrastive baseline's encoder only."""
    return round(train.encoder_warmup * train.steps)


def epoch_steps(train: TrainConfig, whole: int) -> int:
    """Steps of what a strategy calls an epoch (DWA, STCH): ``train.epoch``, else the shorter of a pass over the
    training list, ``whole``, and a hundredth of the training.

    A demo run is a fraction of a pass. The hundredth is ours, between the 100 to 300 epochs that the authors of these
    strategies train for.
    """
    return train.epoch or max(1, min(whole, train.steps // EPOCHS))


def learning_rate(train: TrainConfig, step: int) -> float:
    """The learning rate of step 0, 1, ...

    All positions are fractions of the training; with ``plateaus`` every step has the position of the beginning of its
    plateau, as where a program changes the rate once an epoch.

    ``constant``; ``step``, ``lr`` times ``decay`` after each ``every``; ``cosine`` from ``lr`` to ``min_lr`` at
    ``cycle``, and back up after it, as torch's cosine annealing goes on; ``cosine_restarts``, such a fall in every
    ``cycle``, each from ``lr`` (Loshchilov, Hutter 2017); ``flat_cosine``, ``lr`` over ``warmup``, then a cosine to
    ``min_lr`` at ``cycle``; ``warmup_cosine``, a linear rise over ``warmup`` first: to
    ``lr`` at its last step, or from 0 in its first plateau to ``lr`` in its last, as the scheduler of Lightning Bolts
    does it; ``one_cycle`` (Smith, Topin 2019), a cosine rise from ``lr``/25 over ``warmup``, then a cosine fall to
    ``min_lr``; ``airnet``, ``encoder_lr`` falling by ``encoder_decay`` after each ``encoder_every`` while the encoder
    warms up, then ``lr`` by ``decay`` after each ``every``.
    """
    done = _plateau(train, step) / train.plateaus if train.plateaus else step / train.steps
    match train.schedule:
        case "constant":
            return train.lr
        case "step":
            return train.lr * train.decay ** _times(done, train.every)
        case "cosine":
            return _between(train.lr, train.min_lr, done / train.cycle)
        case "cosine_restarts":
            return _between(train.lr, train.min_lr, done / train.cycle - _times(done, train.cycle))
        case "airnet" if step < encoder_warmup_steps(train):
            return train.encoder_lr * train.encoder_decay ** _times(done, train.encoder_every)
        case "airnet":
            return train.lr * train.decay ** _times(done - train.encoder_warmup, train.every)
        case "flat_cosine" | "warmup_cosine" | "one_cycle":
            pass
    if done < train.warmup:
        if train.schedule == "flat_cosine":
            return train.lr
        risen = _risen(train, step)
        return _between(train.lr / 25, train.lr, risen) if train.schedule == "one_cycle" else train.lr * risen
    return _between(train.lr, train.min_lr, (done - train.warmup) / (train.cycle - train.warmup))


def _plateau(train: TrainConfig, step: int) -> int:
    """The plateau in which the step ends; plateaus need not be a whole number of steps long."""
    return -(-(step + 1) * train.plateaus // train.steps) - 1


def _risen(train: TrainConfig, step: int) -> float:
    """How much of the warm-up's rise is done, up to 1."""
    if train.plateaus:
        return _plateau(train, step) / max(round(train.warmup * train.plateaus) - 1, 1)
    return min((step + 1) / (train.warmup * train.steps), 1)


def _times(done: float, every: float) -> int:
    return math.floor(done / every + 1e-9)  # fractions such as 0.25 / 0.125 may come out a little below


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from ``first`` to ``last``."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def check(train: TrainConfig) -> None:
    """Refuse a schedule whose rates cannot be computed, or are not finite: looked at over the whole training."""
    for step in {train.steps * part // 500 for part in range(500)} | {train.steps - 1}:
        try:
            rate = learning_rate(train, step)
        except (ArithmeticError, ValueError):  # the latter: the cosine of infinity
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise UserError(
                f"train.schedule={train.schedule} has no learning rate at step {step + 1}; look at train.cycle, "
                "warmup, every, decay and min_lr."
            )
