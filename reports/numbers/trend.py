"""How a gain changes with the length of the training: a straight line over log10(steps), where it meets 0, and whether
the points bend away from it.

What it supposes. Seeds are independent of each other. The gains that one seed has at several lengths need not be: these
trainings share first weights and the order of the first batches. So where several seeds have all lengths, errors are
taken from whole seeds: least squares through all points, with the variance that the seeds' own departures from the line
show (cluster-robust, CR2) and Student's t with as many degrees of freedom as there are seeds of several lengths, less
one. Where all seeds have all lengths this is Student's t over the slopes of the seeds' own lines. Where the longest
training has fewer seeds, all still count: of simulated 95 % intervals 92 to 96 % hold the true slope and 89 to 96 % the
true zero, be the seeds' levels or slopes alike or not.

Where one seed at most has all lengths, errors are those of ordinary least squares, which takes all points for
independent and equally scattered: if seeds have slopes of their own that differ as much as the points scatter, 88 to
90 % hold the true slope.

Sources: R. M. Bell, D. F. McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage
samples", Survey Methodology 28 (2002) 169-181; E. C. Fieller, "Some problems in interval estimation", J. R. Statist.
Soc. B 16 (1954) 175-185.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.numbers.statistics import LEVEL

Array = NDArray[np.float64]

LEAST = 3
"""Lengths from which there is a trend."""

COMPLETE = 2
"""Seeds with all lengths from which errors are taken from whole seeds."""


SMALL = 1e-9
"""Share of a residual that the fit has left of it, below which it says nothing."""


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
        clustered: whether errors are taken from whole seeds.
        count: of the seeds that have several lengths then, or of all points.
    """

    slope: Estimate
    intercept: float
    zero: Estimate
    bend: Estimate
    clustered: bool
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
    if len(points) < LEAST:
        return None
    several = [seed for seed, count in _counts(points).items() if count > 1]
    complete = [seed for seed, count in _counts(points).items() if count == len(points)]
    x = np.array([math.log10(steps) for steps in sorted(points) for _ in points[steps]])
    gains = np.array([gain for steps in sorted(points) for gain in points[steps].values()])
    seeds = np.array([seed for steps in sorted(points) for seed in points[steps]])
    clustered = len(complete) >= COMPLETE
    centre = float(x.mean())  # far from 0 the powers would be nearly the same
    line, square = (Fit.of(x - centre, gains, degree, seeds if clustered else None) for degree in (1, 2))
    if clustered:
        line, square = (replace(one, free=len(several) - 1) for one in (line, square))
    return _trend(line, square, centre, clustered, len(several) if clustered else len(x))


def _counts(points: Mapping[int, Mapping[int, float]]) -> Counter[int]:
    return Counter(seed for gains in points.values() for seed in gains)


@dataclass(frozen=True)
class Fit:
    """A polynomial by least squares: coefficients (degree + 1,) by rising power, their covariance, and the degrees of
    freedom of Student's t."""

    coefficients: Array
    covariance: Array
    free: int

    @classmethod
    def of(cls, x: Array, gains: Array, degree: int, seeds: NDArray[np.int_] | None = None) -> Fit:
        """Through the points.

        Args:
            x, gains: (P,) places and values.
            degree: of the polynomial.
            seeds: (P,) of the points, to take errors from whole seeds; ``None`` for independent points.
        """
        powers = np.vander(x, degree + 1, increasing=True)
        inverse: Array = np.asarray(np.linalg.inv(powers.T @ powers), dtype=np.float64)
        found: Array = inverse @ powers.T @ gains
        rest = gains - powers @ found
        free = len(x) - degree - 1
        if seeds is None:
            return cls(found, inverse * (float(rest @ rest) / free if free > 0 else math.nan), free)
        names = np.unique(seeds)
        scores = np.stack([_score(powers[seeds == seed], inverse, rest[seeds == seed]) for seed in names])
        return cls(found, inverse @ scores.T @ scores @ inverse, len(names) - 1)

    def estimate(self, power: int) -> Estimate:
        """A coefficient with Student's t."""
        from scipy.special import stdtr

        value, variance = float(self.coefficients[power]), float(self.covariance[power, power])
        if self.free < 1 or math.isnan(variance):
            return Estimate(value)
        error = math.sqrt(max(0.0, variance))
        half = _quantile(self.free) * error
        p = 2 * float(stdtr(self.free, -abs(value) / error)) if error > 0 else float(value == 0)
        return Estimate(value, value - half, value + half, p)


def _score(powers: Array, inverse: Array, rest: Array) -> Array:
    """A seed's part in the variance: its residuals, blown up by what the fit took from them, along the powers."""
    sizes, axes = np.linalg.eigh(np.eye(len(rest)) - powers @ inverse @ powers.T)
    blown = np.where(sizes > SMALL, 1 / np.sqrt(np.maximum(sizes, SMALL)), 0.0)
    return powers.T @ (axes @ (blown * (axes.T @ rest)))


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


def _trend(line: Fit, square: Fit, centre: float, clustered: bool, count: int) -> Trend:
    intercept, slope = line.coefficients.tolist()
    steep, zero = line.estimate(1), NONE
    if line.free > 0:
        low, high = fieller(intercept, slope, line.covariance, _quantile(line.free))
        if not math.isnan(low):
            zero = Estimate(centre - intercept / slope, centre + low, centre + high, steep.p)
    return Trend(steep, intercept - slope * centre, zero, square.estimate(2), clustered, count)


def _quantile(free: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(free, (1 + LEVEL) / 2))


def as_steps(exponent: float) -> float:
    """10 to that power; infinity where no number is as large."""
    return 10**exponent if not exponent > 300 else math.inf
