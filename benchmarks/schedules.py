"""Learning rates as functions of the step alone, so that resuming needs no scheduler state."""

from __future__ import annotations

import math

from benchmarks.config import TrainConfig


def encoder_warmup_steps(train: TrainConfig) -> int:
    """Steps at the start that train a contrastive baseline's encoder only."""
    return round(train.encoder_warmup * train.steps)


def learning_rate(train: TrainConfig, step: int) -> float:
    """The learning rate of step 0, 1, ...

    ``constant``; ``cosine`` from ``lr`` to ``min_lr``; ``warmup_cosine``, a linear rise over ``warmup`` first, the
    cosine spanning ``cosine_length`` trainings (PromptIR stops at 120 of 150 epochs); ``one_cycle`` (Smith, Topin
    2019), a cosine rise from ``lr``/25 over ``warmup``, then a cosine fall to ``min_lr``; ``airnet``, ``encoder_lr``
    x 0.1 every 6 % of the training while the encoder warms up, then ``lr`` halved every 12.5 %.
    """
    done = step / train.steps
    if train.schedule == "constant":
        return train.lr
    if train.schedule == "airnet":
        if step < encoder_warmup_steps(train):
            return train.encoder_lr * 0.1 ** math.floor(done / 0.06)
        return train.lr * 0.5 ** math.floor((done - train.encoder_warmup) / 0.125)
    if done < train.warmup:
        risen = (step + 1) / (train.warmup * train.steps)
        if train.schedule == "one_cycle":
            return _between(train.lr / 25, train.lr, min(risen, 1))
        return train.lr * min(risen, 1)
    start = train.warmup if train.schedule != "cosine" else 0
    return _between(train.lr, train.min_lr, min((done - start) / (train.cosine_length - start), 1))


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from ``first`` to ``last``."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
