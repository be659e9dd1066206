"""How many seeds it takes to see a gain, from how far the gains of the seeds at hand scatter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from reports.numbers.model import Row, judged
from reports.numbers.statistics import LEVEL, PairedGain
from reports.numbers.words import number
from results.records import Note, Severity

EFFECTS = (0.1, 0.2, 0.5)
"""Gains to see, in dB."""

POWER = 0.8
"""How often a gain of that size is to get its verdict."""

MOST = 1000
"""Seeds beyond which nobody looks."""

POINTS = 400
"""Quantiles of the variance over which :func:`power` averages; its error is about 1e-4."""


def power(effect: float, seeds: int, comparisons: int = 1) -> float:
    """How often the two-sided paired t-test at ``1 - LEVEL`` sees a gain of ``effect`` standard deviations.

    The statistic has a noncentral t-distribution with ``seeds - 1`` degrees of freedom and noncentrality ``effect *
    sqrt(seeds)``. Its tails are computed as means of the normal ones over the chi-square distribution of the variance,
    because ``scipy.stats.nct`` gives NaN for many of the values that are asked for here.

    Args:
        effect: mean over standard deviation of the paired gains.
        seeds: 2 or more.
        comparisons: verdicts that are taken together; the level is that of Holm's first step, ``(1 - LEVEL) /
            comparisons``.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit

    freedom = seeds - 1
    limit = float(stdtrit(freedom, 1 - (1 - LEVEL) / 2 / comparisons))
    quantiles = (np.arange(POINTS) + 0.5) / POINTS
    deviations = np.sqrt(2 * gammaincinv(freedom / 2, quantiles) / freedom)
    shift = effect * math.sqrt(seeds)
    return float((ndtr(shift - limit * deviations) + ndtr(-shift - limit * deviations)).mean())


@cache
def seeds_needed(deviation: float, gain: float, comparisons: int = 1) -> int | None:
    """Paired seeds with which a gain is seen with :data:`POWER`; ``None`` for more than :data:`MOST` or an unknown
    deviation.

    Args:
        deviation: standard deviation over seeds of the paired gains, in the unit of ``gain``; 0 needs 2 seeds.
        gain: to see.
        comparisons: as in :func:`power`.
    """
    if math.isnan(deviation):
        return None
    effect = gain / deviation if deviation > 0 else math.inf
    if math.isinf(effect):
        return 2
    low, high = 1, 2
    while power(effect, high, comparisons) < POWER:
        low, high = high, 2 * high
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, comparisons) >= POWER else (middle, high)
    return high if high <= MOST else None


def pooled_deviation(gains: Iterable[PairedGain]) -> float:
    """Standard deviation over seeds, pooled over strategies: root of the mean variance, weighted by ``n - 1``; NaN
    without two pairs.

    The gains share mix's runs and so are not independent; their mean variance is right all the same.
    """
    known = [(gain.std, gain.n - 1) for gain in gains if gain.n > 1 and math.isfinite(gain.std)]
    freedom = sum(free for _, free in known)
    return math.sqrt(sum(free * deviation**2 for deviation, free in known) / freedom) if known else math.nan


def seeds_note(rows: Sequence[Row]) -> list[Note]:
    """Seeds that it takes on each baseline to see :data:`EFFECTS`; nothing where no row has two paired seeds."""
    names = list(dict.fromkeys(row.baseline for row in rows))
    groups = [[row for row in rows if row.baseline == name and row.average.gain.n > 1] for name in names]
    groups, family = [group for group in groups if group], len(judged(rows))
    parts = [
        f"{group[0].display} {' / '.join(_words(group, effect, family) for effect in EFFECTS)}, as a seed's gain "
        f"scatters by {number(_deviation(group), 2)} dB"
        for group in groups
        if not math.isnan(_deviation(group))
    ]
    if not parts:
        return []
    effects = " / ".join(f"{effect:g}" for effect in EFFECTS)
    together = f"; in brackets as the first of {family} with Holm's correction" if family > 1 else ""
    text = (
        f"Seeds needed to see an average gain of {effects} dB in {POWER:.0%} of cases (paired t-test, two-sided at "
        f"{1 - LEVEL:.0%}, one comparison{together}): {'; '.join(parts)}. Scatter: standard deviation over paired "
        "seeds, pooled over the baseline's strategies; rough where seeds are few."
    )
    return [Note(Severity.NOTE, "seeds-needed", text)]


def _deviation(group: Sequence[Row]) -> float:
    return pooled_deviation(row.average.gain for row in group)


def _words(group: Sequence[Row], effect: float, family: int) -> str:
    alone, together = (_count(seeds_needed(_deviation(group), effect, count)) for count in (1, family))
    return f"{alone} ({together})" if family > 1 else alone


def _count(seeds: int | None) -> str:
    return f"over {MOST}" if seeds is None else str(seeds)
