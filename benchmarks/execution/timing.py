"""Timing in one process, interleaved, so that the machine's other work slows all ways alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    warm: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each way over ``rounds`` rounds after ``warm`` unmeasured ones; every round runs each way once,
    in an order that turns, since the first of a round can be slower. The ``clock`` gives seconds."""
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warm + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            started = clock()
            ways[name]()
            if number >= warm:
                seconds[name].append(clock() - started)
    return {name: median(measured) for name, measured in seconds.items()}
