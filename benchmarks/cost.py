"""What a run will cost, from step times measured before."""

from __future__ import annotations

import baselines
from benchmarks.grid import Plan
from results import Run


def estimate(plan: Plan) -> float:
    """Seconds of training left, from this store's own runs of the same baseline and size where there are some, else
    from the step time measured on the reference machine (``[cost]`` of the recipe: milliseconds a step and sample of
    64x64 pixels), scaled by batch and patch area."""
    train = plan.config.train
    work = train.batch * train.patch**2
    measured = []
    for path in plan.folder.parents[1].glob("*/*/environment.json"):
        run = Run(path.parent)
        other = run.config.get("train", {})
        seconds = run.environment.get("step_seconds")
        if seconds and run.config.get("size") == plan.config.size:
            measured.append(seconds / (other["batch"] * other["patch"] ** 2))
    if measured:
        step = sorted(measured)[len(measured) // 2] * work
    else:
        step = baselines.describe(plan.config.baseline)["cost"][plan.config.size] / 1000 * work / 64**2
    return step * train.steps
