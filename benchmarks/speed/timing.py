"""Timing in one process, interleaved, so that the machine's other work slows all ways alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Measure:
    """One measured ratio.

    Attributes:
        what: the kind of measurement (a key of :data:`benchmarks.speed.__main__.KINDS`).
        case: what was measured, in words.
        ratio: of medians; its meaning is the kind's (``a over b``).
        goal: what the ratio should be, as ``<= 1.01``; empty where there is none.
        values: medians by name, with their unit in the name (``mix_ms``).
        rounds: how many of each way.
    """

    what: str
    case: str
    ratio: float
    goal: str = ""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` without one."""
        sign, _, bound = self.goal.partition(" ")
        return None if not sign else (self.ratio <= float(bound) if sign == "<=" else self.ratio >= float(bound))


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, float]:
    """Median seconds of each way over ``rounds`` rounds after ``warm`` unmeasured ones; every round runs each way once,
    in an order that turns, since the first of a round can be slower."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = time.perf_counter()
            ways[name]()
            if number >= warm:
                seconds[name].append(time.perf_counter() - started)
    return {name: median(measured) for name, measured in seconds.items()}
