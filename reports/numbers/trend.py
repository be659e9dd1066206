"""How a gain changes with the length of the training: a straight line over log10(steps), where it meets 0, and whether
the points bend away from it.

What it supposes. Seeds are independent of each other. The gains that one seed has at several lengths need not be: these
trainings share first weights and the order of the first batches. So where enough seeds have all lengths, every seed has
a line of its own, and Student's t is taken over the seeds' slopes, which supposes nothing of what happens within a
seed. Otherwise ordinary least squares goes through all points, which takes them for independent and equally scattered
at every length: where a seed's gains agree with each other its interval of the slope is too wide, where the lengths
scatter differently it is only roughly right.

Source of the interval of the zero: E. C. Fieller, "Some problems in interval estimation", J. R. Statist. Soc. B 16
(1954) 175-185.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.numbers.statistics import LEVEL

Array = NDArray[np.float64]

LEAST = 3
"""Lengths from which there is a trend."""

COMPLETE = 3
"""Seeds with all lengths from which the seeds' own slopes are taken: of two, Student's t gives an interval 13 standard
errors long to either side."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval at :data:`reports.numbers.statistics.LEVEL` and the two-sided p of its being 0; all
    but ``value`` NaN where there are too few points."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    @property
    def apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


NONE = Estimate()


@dataclass(frozen=True)
class Trend:
    """A straight line through gains.

    Attributes:
        slope: dB a tenfold length.
        intercept: of the line at one step, dB.
        zero: log10 of the steps at which the line is 0, with Fieller's interval; NaN where the slope may be 0, for then
            no end of the interval is known. Its ``p`` is the slope's.
        bend: coefficient of the square of log10(steps) beside such a line, dB.
        own: whether the seeds' own lines were taken.
        count: of these seeds, or of all points.
    """

    slope: Estimate
    intercept: float
    zero: Estimate
    bend: Estimate
    own: bool
    count: int

    def at(self, steps: float) -> float:
        """The line's gain after so many steps, dB."""
        return self.intercept + self.slope.value * math.log10(steps)


def trend(points: Mapping[int, Mapping[int, float]]) -> Trend | None:
    """The line through the seeds' gains.

    Args:
        points: gain in dB by seed, by steps.

    Returns:
        ``None`` for fewer than :data:`LEAST` lengths.
    """
    lengths = sorted(points)
    if len(lengths) < LEAST:
        return None
    complete = sorted(set.intersection(*(set(points[steps]) for steps in lengths)))
    if len(complete) >= COMPLETE:
        x = np.log10(np.array(lengths, dtype=float))
        gains = np.array([[points[steps][seed] for seed in complete] for steps in lengths])
        return _line(x, gains, own=True)
    pairs = [(steps, gain) for steps in lengths for gain in points[steps].values()]
    x = np.log10(np.array([steps for steps, _ in pairs], dtype=float))
    return _line(x, np.array([[gain] for _, gain in pairs]), own=False)


def fit(x: Array, gains: Array, degree: int) -> tuple[Array, Array, int]:
    """Polynomial by least squares: coefficients (degree + 1,) by rising power, their covariance, degrees of freedom.

    Args:
        x: (P,) places.
        gains: (P, S) of several seeds, each of which gets a polynomial of its own: the mean of the coefficients, whose
            covariance is that of the seeds' own; or (P, 1), of one polynomial through all points.
        degree: of the polynomial.
    """
    powers = np.vander(x, degree + 1, increasing=True)
    own = np.linalg.lstsq(powers, gains, rcond=None)[0]  # (degree + 1, S)
    mean, seeds = own.mean(axis=1), gains.shape[1]
    if seeds > 1:
        return mean, np.cov(own) / seeds, seeds - 1
    free = len(x) - degree - 1
    if free < 1:
        return mean, np.full((degree + 1, degree + 1), math.nan), free
    rest = gains[:, 0] - powers @ mean
    return mean, np.linalg.inv(powers.T @ powers) * float(rest @ rest) / free, free


def fieller(intercept: float, slope: float, covariance: Array, quantile: float) -> tuple[float, float]:
    """Where ``intercept + slope x`` may be 0: all x at which it is within ``quantile`` standard errors of it.

    Args:
        intercept, slope: estimates.
        covariance: (2, 2), theirs.
        quantile: of Student's t.

    Returns:
        The ends; NaN where the slope is within its own ``quantile`` standard errors of 0, as the x then have no end.
    """
    square = quantile**2
    a = slope**2 - square * covariance[1, 1]
    if not a > 0:
        return math.nan, math.nan
    b = intercept * slope - square * covariance[0, 1]
    c = intercept**2 - square * covariance[0, 0]
    root = math.sqrt(max(0.0, b**2 - a * c))
    return (-b - root) / a, (-b + root) / a


def _line(x: Array, gains: Array, own: bool) -> Trend:
    centre = float(x.mean())  # far from 0 the powers would be nearly the same
    (intercept, slope), covariance, free = fit(x - centre, gains, 1)
    steep = _estimate(float(slope), float(covariance[1, 1]), free)
    low, high = fieller(float(intercept), float(slope), covariance, _quantile(free)) if free > 0 else (math.nan,) * 2
    zero = NONE
    if not math.isnan(low):
        zero = Estimate(centre - float(intercept / slope), centre + low, centre + high, steep.p)
    bent, spread, left = fit(x - centre, gains, 2)
    bend = _estimate(float(bent[2]), float(spread[2, 2]), left)
    count = gains.shape[1] if own else len(x)
    return Trend(steep, float(intercept - slope * centre), zero, bend, own, count)


def _quantile(free: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(free, (1 + LEVEL) / 2))


def _estimate(value: float, variance: float, free: int) -> Estimate:
    """A coefficient with Student's t."""
    from scipy.special import stdtr

    if free < 1 or math.isnan(variance):
        return Estimate(value)
    error = math.sqrt(max(0.0, variance))
    half = _quantile(free) * error
    p = 2 * float(stdtr(free, -abs(value) / error)) if error > 0 else float(value == 0)
    return Estimate(value, value - half, value + half, p)


def as_steps(exponent: float) -> float:
    """10 to that power; infinity where no number is as large."""
    return 10**exponent if not exponent > 300 else math.inf
