"""How far a strategy lies beyond what fixed task weights reach, and how far a useless one would seem to.

Scores are PSNR in dB, arrays of the N fixed weightings being (N, S, J): S paired seeds, J objectives, all maximised.

A finite set of weightings is a staircase with room between its steps: one more random weighting often lies beyond it,
and the more so the better its seeds agree. So a strategy must be farther out than a margin, made of how far the
farthest weighting of the set itself is beyond all others (:func:`granularity`). That the fixed weightings are
exchangeable with one more of their kind bounds how often this happens by chance to 1 / (N + 1) without any seed noise;
the simulation of ``tests/reports/front_tables.py`` says how often it does with it. What it cannot give: of twelve
useless strategies beside 16 weightings, ten seeds that agree within 0.02 dB call one beyond in 7 % of tables and better
than the best weighting in 11 %, for it is. More weightings help, not more seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reports.numbers.statistics import PairedGain, paired_gain

Array = NDArray[np.float64]
T = TypeVar("T")

ROOM = 1.5
"""What is left to the design: times the largest leave-one-out distance. Of tables with two baselines, 16 weightings and
three well agreeing seeds, this share calls a useless strategy beyond the front: without a margin 31 % (56 % with six
such strategies a baseline), with 1.0 times 3 % (5 %; 11 % with steeper responses), with 1.5 times 1 % (2 %)."""

FEWEST, ENOUGH = 5, 10
"""Fixed weightings from which a strategy is compared with the best of them, and from which their front gets verdicts:
fewer are too coarse (of seven, 8 % of tables with six useless strategies a baseline would call one beyond)."""

MOST = 12
"""Groups of tasks of which all splits are looked at."""


def distance(point: Array, fixed: Array) -> Array:
    """By how many dB every objective of a point must fall before some fixed weighting is as good in all: (S,).

    d = min_p max_j (q_j - p_j). Above 0: beyond the fixed weightings; below 0: behind, so many dB short of the nearest.

    Source: the additive epsilon indicator of the fixed set against the point, Zitzler et al., "Performance assessment
    of multiobjective optimizers: an analysis and review", IEEE Trans. Evol. Comput. 7 (2003) 117-132.

    Args:
        point: (S, J).
        fixed: (N, S, J), of the same seeds.
    """
    return (point - fixed).max(axis=-1).min(axis=0)


def held_out_distance(point: Array, fixed: Array) -> Array:
    """:func:`distance` to the one weighting that the other seeds say is nearest: (S,), for two seeds or more.

    Its mean is never below the true distance, while the minimum over many noisy points is: so this is what calls a
    strategy behind.
    """
    total = (point - fixed).sum(axis=1)[:, None] - (point - fixed)  # of the other seeds, (N, S, J)
    nearest = total.max(axis=-1).argmin(axis=0)
    seeds = np.arange(len(point))
    return (point - fixed[nearest, seeds]).max(axis=-1)


def chosen(level: Array) -> NDArray[np.intp]:
    """For every seed the weighting that is best on average over the *other* seeds: (S,); of one seed its own best.

    A best that is chosen by the seed it is then measured on would be too good (the winner's curse).

    Args:
        level: (N, S) by which to choose, such as the average PSNR of the validation.
    """
    others = level.sum(axis=1, keepdims=True) - level if level.shape[1] > 1 else level
    return others.argmax(axis=0)


def over_the_best(point: Array, fixed: Array, level: Array) -> Array:
    """Gain of every seed over the best fixed weighting: (S,).

    Args:
        point: (S,) averages of the strategy.
        fixed: (N, S) those of the weightings.
        level: (N, S) by which the best one is :func:`chosen`.
    """
    return point - fixed[chosen(level), np.arange(fixed.shape[1])]


def granularity(count: int, left_out: Callable[[int, NDArray[np.intp]], Array]) -> float:
    """The farthest, on average over the seeds, that one of the weightings is beyond all others; 0 where none is.

    Args:
        count: weightings, two or more.
        left_out: measure (S,) of the weighting of an index against those of other indices.
    """
    every = np.arange(count)
    farthest = max(float(left_out(i, np.delete(every, i)).mean()) for i in range(count))
    return max(0.0, farthest)


def front_margin(fixed: Array) -> float:
    """What a distance must pass: :data:`ROOM` times the :func:`granularity` of fixed weightings (N, S, J)."""
    return ROOM * granularity(len(fixed), lambda i, others: distance(fixed[i], fixed[others]))


def best_margin(fixed: Array, level: Array) -> float:
    """What a gain over the best must pass: :data:`ROOM` times the :func:`granularity` of averages (N, S), which is what
    the best weighting has over all others."""
    return ROOM * granularity(len(fixed), lambda i, others: over_the_best(fixed[i], fixed[others], level[others]))


def of_seeds(values: Array) -> PairedGain:
    """Mean over seeds with its t-interval."""
    seeds = [str(seed) for seed in range(len(values))]
    return paired_gain(dict(zip(seeds, values.tolist(), strict=True)), dict.fromkeys(seeds, 0.0))


def p_beyond(values: Array, margin: float, behind: Array | None = None) -> float:
    """Two-sided p of Student's t for the mean being outside 0 to ``margin``: 1 inside; NaN for one seed.

    Args:
        values: (S,) distances or gains.
        margin: of :func:`front_margin` or :func:`best_margin`.
        behind: (S,) what must be below 0 as well, where a mean below 0 is to count.
    """
    whole = of_seeds(values)
    if whole.mean > margin:
        return of_seeds(values - margin).p
    if whole.mean >= 0 or whole.n < 2:
        return whole.p if whole.n < 2 else 1.0
    other = whole if behind is None else of_seeds(behind)
    return max(whole.p, other.p) if other.mean < 0 else 1.0


def splits(groups: Sequence[T]) -> list[tuple[tuple[T, ...], tuple[T, ...]]]:
    """All ways to part the groups into two bundles, each once, the first group always on the left; of very many groups
    each against all others."""
    if len(groups) > MOST:
        return [((group,), tuple(other for other in groups if other != group)) for group in groups]
    rest = groups[1:]
    lefts = [(groups[0], *more) for size in range(len(rest)) for more in combinations(rest, size)]
    return [(left, tuple(group for group in groups if group not in left)) for left in lefts]


def traded(points: Array) -> float:
    """Correlation of two objectives over points (N, 2): -1 where one is paid for by the other; 0 where one stands."""
    spread = points.std(axis=0)
    if not (spread > 0).all():
        return 0.0
    across, up = points.T - points.mean(axis=0)[:, None]
    return float((across * up).mean() / spread.prod())


def nondominated(points: Array) -> Array:
    """The front of points (N, 2), by rising first objective: (M, 2)."""
    import moocore

    return np.unique(points[np.asarray(moocore.is_nondominated(points, maximise=True))], axis=0)


def hypervolume(points: Array, floor: Array) -> float:
    """Area in dB² that points (N, 2) dominate above ``floor`` (2,)."""
    import moocore

    return float(moocore.hypervolume(points, floor, maximise=True))
