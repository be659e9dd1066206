"""Time to target: how soon a strategy's validation reaches the level at which mix of the same seed ended.

The target and its first reach follow AlgoPerf (Dahl et al., "Benchmarking Neural Network Training Algorithms", 2023),
with mix's last level as the target: a race over steps, and over cost. Validation curves are noisy, and a first reach is
an early one where noise lifts a point above the level; so mix's own first reach of its own last level is given too: a
strategy is earlier only by what it is earlier than that. No running maximum or smoothing is used, which would favour
curves with more points or more noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
import pandas as pd

from reports.numbers.curves import Axis, Curve, SeedCurve
from reports.numbers.statistics import Reach, Target


def targets(curve: Curve) -> dict[str, Target]:
    """By task and for the average, of the seeds that mix has too; of single-task networks nothing, as they have no
    common course."""
    reference = curve.reference if curve.compared else curve.seeds
    pairs = [(own, reference[pair]) for pair, own in curve.seeds.items() if pair in reference and not own.apart]
    alike = [(own, mix) for own, mix in pairs if own.machine == mix.machine]
    return {
        task: Target(_reach(pairs, "step", task), _reach(alike, "seconds", task))
        for task in (curve.tasks if pairs else ())
    }


def _reach(pairs: Sequence[tuple[SeedCurve, SeedCurve]], axis: Axis, task: str) -> Reach:
    whole = [float(mix.along(axis, task)[-1]) for _, mix in pairs]
    pairs = [pair for pair in pairs if math.isfinite(pair[1].psnr[task].iloc[-1])]
    if not pairs or not (total := median(whole)):
        return Reach()
    shares = [first_reach(own, float(mix.psnr[task].iloc[-1]), axis, task) / total for own, mix in pairs]
    reached = sum(map(math.isfinite, shares))
    middle = median(shares) if 2 * reached > len(shares) else math.inf
    end = min(float(own.along(axis, task)[-1]) for own, _ in pairs) / total
    return Reach(middle, min(shares), max(shares), end, reached, len(shares))


def first_reach(curve: SeedCurve, level: float, axis: Axis, task: str) -> float:
    """Where a curve first has this level in dB, linear between its points; its first point where that has it already;
    infinite if none does. What is not finite reaches nothing."""
    places, values = curve.along(axis, task), curve.psnr[task].to_numpy(dtype=float)
    above = np.flatnonzero(values >= level)
    if not len(above):
        return math.inf
    first = int(above[0])
    if first == 0 or not math.isfinite(values[first - 1]):
        return float(places[first])
    before, after = values[first - 1 : first + 1]
    return float(places[first - 1] + (places[first] - places[first - 1]) * (level - before) / (after - before))


def target_table(found: Mapping[tuple[str, str], Mapping[str, Target]]) -> pd.DataFrame:
    """:func:`targets` by baseline and strategy as one row a task.

    Columns: ``baseline, strategy, task``; of steps and of cost ``<which>_share, _least, _most, _end, _reached, _n``
    (:class:`reports.numbers.statistics.Reach`); what is not reached is empty.
    """
    rows: list[dict[str, object]] = []
    for (baseline, strategy), tasks in found.items():
        for task, target in tasks.items():
            row: dict[str, object] = {"baseline": baseline, "strategy": strategy, "task": task}
            for which, reach in (("steps", target.steps), ("cost", target.cost)):
                numbers = {name: getattr(reach, name) for name in ("share", "least", "most", "end")}
                row |= {f"{which}_{name}": round(v, 6) if math.isfinite(v) else None for name, v in numbers.items()}
                row |= {f"{which}_reached": reach.reached, f"{which}_n": reach.n}
            rows.append(row)
    return pd.DataFrame(rows)
