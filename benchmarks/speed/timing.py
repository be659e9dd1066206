"""What is measured: ratios, with their goals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
