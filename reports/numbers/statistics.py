"""Statistics of a comparison: over seeds first, over images second, and the word that sums them up.

Seeds answer "would training again give the same gain?"; images answer "would other test images give the same gain, with
these very networks?". The second is no substitute for the first and is labelled as what it is wherever it is printed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
"""Confidence level of every interval; verdicts are taken at ``1 - LEVEL``."""

RESAMPLES = 2000
"""Bootstrap resamples of an image-level interval."""

PART = 1_000_000
"""Entries of a table of resamples that are in memory at a time (8 MB)."""

GAIN, LOSS, NO_DIFFERENCE, ONE_SEED, NO_PAIR, NO_DIRECTION = (
    "gain",
    "loss",
    "no difference seen",
    "one seed: no verdict",
    "no pair: no verdict",
    "direction not known: no verdict",
)


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (``n - 1``; NaN below two values) and count."""

    mean: float = math.nan
    std: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class PairedGain(Spread):
    """A gain over paired seeds: mean, sample standard deviation, pairs, t-interval at :data:`LEVEL`, two-sided p.

    ``std``, ``low``, ``high`` and ``p`` are NaN below two pairs.
    """

    low: float = math.nan
    high: float = math.nan
    p: float = math.nan


NO_SPREAD, NO_GAIN = Spread(), PairedGain()
"""Of no value, and of no pair."""


@dataclass(frozen=True)
class ImageGain:
    """A gain over the images of one test set, the trained networks being fixed.

    ``low``, ``high``: percentile bootstrap interval of the mean at :data:`LEVEL`; ``p``: two-sided Wilcoxon
    signed-rank test. NaN below two images.
    """

    mean: float = math.nan
    n: int = 0
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan


@dataclass(frozen=True)
class Reach:
    """Where a task's validation first reached the target, as a share of mix's whole training.

    Attributes:
        share: median over the seeds, one that never reached it counting as infinite; infinite unless more than half of
            them did.
        least, most: of the seeds; infinite where one did not reach it.
        end: how far the curves went at least, as such a share.
        reached, n: seeds that reached it, and seeds.
    """

    share: float = math.nan
    least: float = math.nan
    most: float = math.nan
    end: float = math.nan
    reached: int = 0
    n: int = 0

    @property
    def words(self) -> str:
        """``0.85``, or ``>1`` where it is not reached; empty where it is not known."""
        if not self.n:
            return ""
        return f"{self.share:.2f}" if math.isfinite(self.share) else f">{float(f'{self.end:.2f}'):g}"


@dataclass(frozen=True)
class Target:
    """:class:`Reach` in steps, and in cost: seconds of training without scoring, over the median of mix's whole
    trainings; of no seeds where strategy and mix were not trained with the same machine."""

    steps: Reach = Reach()
    cost: Reach = Reach()


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample standard deviation of ``values``; NaNs are refused (:class:`ValueError`), not skipped."""
    array = np.asarray(list(values), dtype=float)
    if np.isnan(array).any():
        raise ValueError("a missing value among those to average: leave it out where its absence is shown")
    if not len(array):
        return Spread()
    deviation = float(array.std(ddof=1)) if len(array) > 1 and np.isfinite(array).all() else math.nan
    return Spread(float(array.mean()), deviation, len(array))


def paired_gain(strategy: Mapping[str, float], reference: Mapping[str, float]) -> PairedGain:
    """Mean of ``strategy[pair] - reference[pair]`` over the pairs both have, with Student's t-interval and test.

    The numbers are those of :func:`scipy.stats.ttest_rel`, which takes 27 times as long (tables ask thousands of times)
    and warns of differences that are all equal.

    Args:
        strategy: score by pair (:attr:`results.records.RunRecord.pair`: same baseline, seed, data and training).
        reference: the same of the reference strategy.
    """
    from scipy.special import stdtr, stdtrit

    common = [pair for pair in strategy if pair in reference]
    differences = np.array([strategy[pair] - reference[pair] for pair in common], dtype=float)
    differences = differences[np.isfinite(differences)]
    whole = spread(differences)
    if whole.n < 2:
        return PairedGain(whole.mean, n=whole.n)
    error = whole.std / math.sqrt(whole.n)
    half = float(stdtrit(whole.n - 1, (1 + LEVEL) / 2)) * error
    p = float(whole.mean == 0)  # identical differences: the quotient below would divide by zero
    if error > 0:
        p = 2 * float(stdtr(whole.n - 1, -abs(whole.mean) / error))
    return PairedGain(whole.mean, whole.std, whole.n, whole.mean - half, whole.mean + half, p)


def image_gain(differences: ArrayLike, seed: int = 0) -> ImageGain:
    """:func:`image_gains` of one test set."""
    return image_gains([differences], seed)[0]


def image_gains(several: Sequence[ArrayLike], seed: int = 0) -> list[ImageGain]:
    """Interval and test for the mean of per-image differences; the same input gives the same interval.

    Args:
        several: strategy minus reference, one value an image, each of shape ``(images,)``. Values that are not finite
            (PSNR of a perfect restoration) are left out, as ``n`` shows. Those of one length are resampled together.
        seed: of the bootstrap's generator.
    """
    from scipy import stats

    arrays = [array[np.isfinite(array)] for array in (np.asarray(gains, dtype=float) for gains in several)]
    found = [ImageGain(float(array.mean()), len(array)) if len(array) else ImageGain() for array in arrays]
    sizes: dict[int, list[int]] = {}
    for place, array in enumerate(arrays):
        if len(array) > 1:
            sizes.setdefault(len(array), []).append(place)
    for images, places in sizes.items():
        centred = np.stack([arrays[place] - found[place].mean for place in places], axis=1)
        means = np.concatenate([counts @ centred for counts in _resamples(images, seed)]) / images
        ends = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
        for place, (low, high) in zip(places, ends, strict=True):
            array, mean = arrays[place], found[place].mean
            p = 1.0
            if np.any(array):
                p = float(stats.wilcoxon(array).pvalue)  # pyright: ignore[reportAttributeAccessIssue]: scipy has no stubs
            found[place] = ImageGain(mean, images, float(mean + low), float(mean + high), p)
    return found


def _resamples(images: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each image is drawn in each resample, in parts of (resamples, images)."""
    generator = np.random.default_rng(seed)
    most = max(1, PART // images)
    for start in range(0, RESAMPLES, most):
        rows = min(most, RESAMPLES - start)
        drawn = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(float)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: adjusted p-values in the given order; NaN stays NaN and does not count.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979) 65-70.
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(order) - position)))
        adjusted[index] = largest
    return adjusted


def needed(seeds: int, comparisons: int = 1) -> float:
    """Mean gain in sample standard deviations from which Student's t sees a difference beside so many comparisons."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 1 - (1 - LEVEL) / 2 / comparisons)) / math.sqrt(seeds)


def verdict(gain: PairedGain, p: float | None = None, lower_is_better: bool | None = False) -> str:
    """``gain``, ``loss``, ``no difference seen``, or why there is no verdict.

    Args:
        gain: the paired gain.
        p: its p-value after correction for several comparisons; ``None`` takes the uncorrected one.
        lower_is_better: of the metric; ``None``: not known.
    """
    if gain.n == 0:
        return NO_PAIR
    if gain.n == 1:
        return ONE_SEED
    if lower_is_better is None:
        return NO_DIRECTION
    p = gain.p if p is None else p
    if p >= 1 - LEVEL:
        return NO_DIFFERENCE
    return GAIN if (gain.mean > 0) != lower_is_better else LOSS
