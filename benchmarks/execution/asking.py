"""Which values the next trial of a search takes: defaults, then points spread evenly, then where trials went well.

What is asked for depends on the trials before and on the trial's number alone. So a search that was interrupted goes on
as if it had not been, and a search of 16 trials is the beginning of one of 24.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from art import Choice, Range

if TYPE_CHECKING:
    import optuna

Value = bool | int | float | str
Values = dict[str, Value]
Told = tuple[Values, float | None]
"""Values of a trial and its score, which is ``None`` where it failed."""

DESIGN = 8
"""Trials spread evenly over the ranges, after the one at the defaults: half of a search of 16."""

_LEAST = 2  # scores that a model is made of
_TRIES = 8  # to find values that no trial had
_BITS = 30  # of SciPy's Sobol points


def ask(
    space: Mapping[str, Range | Choice], defaults: Mapping[str, Value], told: Sequence[Told], number: int, stream: str
) -> Values:
    """Values of trial ``number``.

    Trial 0 has the defaults. Trials 1 to :data:`DESIGN` are points of a Sobol sequence with a digital shift, which do
    not depend on how others went. The further ones are where a multivariate tree-structured Parzen estimator (Bergstra
    et al., NeurIPS 2011; Falkner et al., ICML 2018; Optuna's) expects improvement; to it, failed trials count as the
    worst. With fewer than two scores they are further points of the sequence.

    Args:
        space: what is searched.
        defaults: of each of them.
        told: all trials before, in their order; of the design's, any.
        number: of the trial, from 0.
        stream: what the chance of this search is drawn from, the same for every trial.

    Returns:
        Values within their ranges, with 4 significant digits.
    """
    if number == 0:
        return dict(defaults)
    scores = [score for _, score in told if score is not None]
    if number <= DESIGN or len(scores) < _LEAST:
        places = _point(len(space), number - 1, stream)
        return {key: values.at(place) for (key, values), place in zip(space.items(), places, strict=True)}
    worst = min(scores)
    trials = [(values, worst if score is None else score) for values, score in told]
    known = [values for values, _ in told]
    found = dict(defaults)
    for attempt in range(_TRIES):
        found = _estimated(space, trials, _seed(f"{stream} {number} {attempt}"))
        if found not in known:
            break
    return found


def batch(told: int, wanted: int, room: int) -> int:
    """How many trials may be asked for at once after so many: several only where none depends on another.

    Args:
        told: trials that have ended.
        wanted: trials in all.
        room: runs that can be at work.
    """
    left = wanted - told
    return min(left, room, max(1, 1 + DESIGN - told)) if left > 0 else 0


def _point(dimensions: int, index: int, stream: str) -> list[float]:
    """A point of the sequence: the same in every version of NumPy and SciPy."""
    from scipy.stats import qmc  # takes a second

    shift = np.random.PCG64(_seed(stream)).random_raw(dimensions) >> np.uint64(64 - _BITS)
    points = qmc.Sobol(dimensions, scramble=False).random_base2((index + 1).bit_length())[index] * 2**_BITS
    return (((points.astype(np.uint64) ^ shift) + 0.5) / 2**_BITS).tolist()


def _estimated(
    space: Mapping[str, Range | Choice], trials: Sequence[tuple[Mapping[str, Value], float]], seed: int
) -> Values:
    import optuna  # takes a second

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {key: _distribution(values) for key, values in space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that may change
        sampler = optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            [
                optuna.trial.create_trial(params=dict(values), distributions=distributions, value=score)
                for values, score in trials
            ]
        )
        found = study.ask(distributions).params
    return {key: _rounded(values, found[key]) for key, values in space.items()}


def _distribution(values: Range | Choice) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(values, Choice):
        return CategoricalDistribution(values.options)
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _rounded(values: Range | Choice, value: Value) -> Value:
    """A value from a range with as few digits as :meth:`art.Range.at` has."""
    if isinstance(values, Choice) or values.whole:
        return value
    number = float(value)
    if values.log:
        return values.at(math.log(number / values.low) / math.log(values.high / values.low))
    return values.at((number - values.low) / (values.high - values.low))


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
