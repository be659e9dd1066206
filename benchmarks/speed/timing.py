"""What is measured: ratios, with their goals; and how a training's steps are timed on any device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

import torch


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
        missing: why it was not measured; empty where it was.
    """

    what: str
    case: str
    ratio: float
    goal: str = ""
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0
    missing: str = ""

    @classmethod
    def none(cls, what: str, case: str, why: str, goal: str = "") -> Measure:
        """The row of what was not measured, and why."""
        return cls(what, case, math.nan, goal, missing=why)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` without one, or where nothing was measured."""
        if self.missing:
            return None
        sign, _, bound = self.goal.partition(" ")
        return None if not sign else (self.ratio <= float(bound) if sign == "<=" else self.ratio >= float(bound))


def wait(device: torch.device) -> None:
    """Until the device has done everything that was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def block(step: Callable[[], object], device: torch.device, steps: int, warm: int = 1) -> float:
    """Seconds a step, of ``steps`` that are launched one after another and then waited for, as trainings do.

    Args:
        step: takes one.
        device: that works.
        steps: timed together.
        warm: steps before them that are not.
    """
    for _ in range(warm):
        step()
    wait(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return (time.perf_counter() - started) / steps


def in_turn(
    ways: Mapping[str, Callable[[], float]], rounds: int, until: float = math.inf
) -> tuple[dict[str, float], int]:
    """Medians of what the ways measure by themselves, and of how many rounds, taken as by
    :func:`benchmarks.execution.timing.interleaved`.

    Args:
        ways: each gives the seconds of one of its steps.
        rounds: at most.
        until: the time (``time.monotonic``) after which no other round begins; three are taken in any case.
    """
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    taken = 0
    while taken < rounds and (taken < 3 or time.monotonic() < until):
        turn = taken % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(ways[name]())
        taken += 1
    return {name: median(measured) for name, measured in seconds.items()}, taken
