"""What a parameter may be varied over: a range, or a choice."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

Parameter = bool | int | float | str  # value of a strategy's parameter

_DIGITS = 4  # significant ones of a value from a range: it stands in names of runs


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the smallest, finite.
        high: the largest, finite, above ``low``.
        log: whether equal factors count as equal steps; ``low`` is then > 0.
        whole: whether they are whole numbers.

    Raises:
        ValueError: for ends that are no such range.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not all(map(is_number, (self.low, self.high))) or not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"a range goes from a finite number to a larger one; got {self.low!r}, {self.high!r}.")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0; got {self.low!r}.")
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError(f"a range of whole numbers has whole ends; got {self.low!r}, {self.high!r}.")

    @property
    def ends(self) -> tuple[Parameter, ...]:
        """The smallest and the largest value."""
        return (int(self.low), int(self.high)) if self.whole else (float(self.low), float(self.high))

    def __str__(self) -> str:
        return f"{'whole numbers ' if self.whole else ''}{self.low:g} to {self.high:g}"

    def holds(self, value: object) -> bool:
        """Whether ``value`` is one of its numbers."""
        return is_number(value) and self.low <= value <= self.high and not (self.whole and value % 1)

    def at(self, place: float) -> Parameter:
        """The number at ``place``, 0 (low) to 1 (high), rounded to 4 significant digits."""
        if self.whole and not self.log:  # each as often
            return int(min(self.low + place * (self.high - self.low + 1) // 1, self.high))
        value = self.low * (self.high / self.low) ** place if self.log else self.low + place * (self.high - self.low)
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        return float(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))


@dataclass(frozen=True)
class Choice:
    """One of several values, two or more.

    Raises:
        ValueError: for fewer, a value twice, or what no spec can say.
    """

    options: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.options, tuple) or len({*map(repr, self.options)}) != len(self.options):  # pyright: ignore[reportUnnecessaryIsInstance] (a user's)
            raise ValueError(f"a choice is a tuple of different values; got {self.options!r}.")
        if len(self.options) < 2:
            raise ValueError(f"a choice has two values or more; got {self.options!r}.")
        if wrong := [option for option in self.options if not _sayable(option)]:
            raise ValueError(f"{wrong[0]!r} is no number, truth value or word without a colon.")

    @property
    def ends(self) -> tuple[Parameter, ...]:
        """All values."""
        return self.options

    def __str__(self) -> str:
        return " or ".join(map(str, self.options))

    def holds(self, value: object) -> bool:
        """Whether ``value`` is one of its values."""
        return any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in self.options)

    def at(self, place: float) -> Parameter:
        """The value at ``place``, 0 (the first) to 1 (the last)."""
        return self.options[min(int(place * len(self.options)), len(self.options) - 1)]


def declared(value: object) -> Range | Choice:
    """A range or choice as a class declares it.

    Args:
        value: a :class:`Range` or :class:`Choice`; ``(low, high)`` with the words ``"log"`` and ``"whole"`` behind, as
            far as they hold; or a list of values to choose from.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, Range | Choice):
        return value
    if isinstance(value, list):
        return Choice(tuple(value))
    words = {*value[2:]} if isinstance(value, tuple) and all(isinstance(word, str) for word in value[2:]) else {None}
    if not isinstance(value, tuple) or len(value) < 2 or not words <= {"log", "whole"}:
        raise ValueError(f'expected (low, high), (low, high, "log"), a list of values, or an art.Range; got {value!r}.')
    low, high = value[:2]
    return Range(low, high, log="log" in words, whole="whole" in words)


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def listed(values: Iterable[object]) -> str:
    """Several values in words."""
    return ", ".join(map(str, values)) or "none"


def _sayable(option: object) -> bool:
    if isinstance(option, str):
        return bool(option) and ":" not in option and option.isprintable() and not _reads_otherwise(option)
    return isinstance(option, bool | int | float) and math.isfinite(option)


def _reads_otherwise(text: str) -> bool:
    """Whether a spec would take this text for a truth value or a number."""
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false")
    return True
