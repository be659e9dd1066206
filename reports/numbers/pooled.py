"""One verdict on a strategy over several baselines, by the seeds of all of them.

Initial weights, order, crops and noise depend on baseline and seed, so that seeds of different baselines are
independent. What is asked is whether the strategy changes anything on these baselines together; nothing is said of
others: two or three networks are no sample of networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.numbers.model import Row
from reports.numbers.statistics import LEVEL, PairedGain, holm, verdict

LEAST = 1e-300
"""Below it a p-value is taken as this: gains that are all equal have 0."""


@dataclass(frozen=True)
class Pooled:
    """A strategy's average PSNR gain over several baselines.

    Attributes:
        strategy: the label of its rows; tuned ones and those by equal cost have their own.
        baselines: names for people, of those with two paired seeds or more.
        gains: on each of them.
        gain: over them (:func:`over_baselines`); ``std`` is NaN, ``n`` counts the paired seeds of all.
        p_holm: its p-value corrected for the strategies that are pooled.
        verdict: of that.
    """

    strategy: str
    baselines: tuple[str, ...]
    gains: tuple[PairedGain, ...]
    gain: PairedGain
    p_holm: float = math.nan
    verdict: str = ""

    @property
    def ahead(self) -> int:
        """Baselines on which the mean gain is above 0."""
        return sum(gain.mean > 0 for gain in self.gains)


def pooled(rows: Sequence[Row]) -> list[Pooled]:
    """Every strategy that has two paired seeds or more on two baselines or more, in the order of the rows."""
    found: list[Pooled] = []
    for strategy in dict.fromkeys(row.strategy for row in rows if not row.is_reference):
        alike = [row for row in rows if row.strategy == strategy and row.average.gain.n > 1]
        # seeds of one network are the same with every departure from its recipe: it counts once, at its recipe first
        several = list({row.network or row.baseline: row for row in reversed(alike)}.values())[::-1]
        if len(several) > 1:
            gains = tuple(row.average.gain for row in several)
            found.append(Pooled(strategy, tuple(row.display for row in several), gains, over_baselines(gains)))
    corrected = holm([one.gain.p for one in found])
    return [replace(one, p_holm=p, verdict=verdict(one.gain, p)) for one, p in zip(found, corrected, strict=True)]


def over_baselines(gains: Sequence[PairedGain]) -> PairedGain:
    """The gains of independent baselines as one: mean, interval, p.

    ``p`` is Stouffer's: the one-sided p-values of the paired t-tests as standard normal deviates, summed with the
    weights ``sqrt(n - 1)`` and taken two-sided (Liptak's weighting). Without any gain it is uniform, whatever the seeds
    and scatters of the baselines; of the weights tried, these found planted gains most often where the seeds of the
    baselines differ (equal ones: up to a tenth less).

    ``mean`` is the mean of the baselines' mean gains, each counted alike, and ``low``, ``high`` its t-interval with the
    degrees of freedom of Welch and Satterthwaite: it covers the mean over these baselines in 93 to 98 % of cases with 2
    to 5 seeds, and answers another question than ``p``, so that the two may differ.

    Args:
        gains: two or more, each of two pairs or more.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    freedom = np.array([gain.n - 1 for gain in gains], dtype=float)
    means = np.array([gain.mean for gain in gains])
    p_values = np.array([gain.p for gain in gains]).clip(LEAST, 1.0)
    deviates = -np.sign(means) * ndtri(p_values / 2)
    weights = np.sqrt(freedom)
    p = 2 * float(ndtr(-abs(weights @ deviates) / math.sqrt(weights @ weights)))
    variances = np.array([gain.std**2 / gain.n for gain in gains])
    mean, total, count = float(means.mean()), float(variances.sum()), sum(gain.n for gain in gains)
    half = 0.0
    if total > 0:
        error = math.sqrt(total) / len(gains)
        half = float(stdtrit(total**2 / float((variances**2 / freedom).sum()), (1 + LEVEL) / 2)) * error
    return PairedGain(mean, math.nan, count, mean - half, mean + half, p)
