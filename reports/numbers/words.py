"""Numbers and lists as words: the same in every sentence, table and figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reports.numbers.statistics import Spread

EMPTY = "–"
"""Stands for a missing value."""

NAMED = 3
"""Names that :func:`listed` writes out."""


def number(value: float, digits: int, signed: bool = False) -> str:
    """``24.31`` or ``+0.42``; a dash for a missing value, never ``-0.00``."""
    if math.isnan(value):
        return EMPTY
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"


def with_spread(score: Spread, digits: int, signed: bool = False) -> str:
    """``24.31 ±0.05``; without the plus-minus for one value."""
    text = number(score.mean, digits, signed)
    return text if math.isnan(score.std) else f"{text} ±{number(score.std, digits)}"


def interval(low: float, high: float, empty: str = "") -> str:
    """``-0.12 to +0.40`` in dB; ``empty`` where there is none."""
    return empty if math.isnan(low) else f"{number(low, 2, signed=True)} to {number(high, 2, signed=True)}"


def plural(count: int, noun: str, several: str = "") -> str:
    """``noun`` as it stands behind ``count``: ``seed`` or ``seeds``, or the word for ``several``."""
    return noun if count == 1 else several or f"{noun}s"


def listed(names: Sequence[str]) -> str:
    """``a, b, c and 4 more``."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
