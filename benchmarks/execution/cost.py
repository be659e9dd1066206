"""What a run will cost, from step times measured before."""

from __future__ import annotations

import baselines
from benchmarks.execution.plan import Plan
from results import Run

_REFERENCE_BATCH = {"tiny": 10, "paper": 1}  # of 64x64 patches, at which [cost] was measured


def estimate(plan: Plan) -> float:
    """Seconds of training left.

    They come from this store's own runs of the same baseline and size where there are some, else from the step time
    noted with the recipe (``[cost]``), scaled by batch and patch area.
    """
    train = plan.config.train
    work = train.batch * train.patch**2
    measured: list[float] = []  # seconds per sample and pixel
    for path in plan.folder.parents[1].glob("*/*/environment.json"):
        run = Run(path.parent).legible()
        record, seconds = run.record, run.environment.step_seconds
        if record is None or record.config.size != plan.config.size:
            continue
        other = record.config.train
        if seconds and other.batch and other.patch:
            measured.append(seconds / (other.batch * other.patch**2))
    if measured:
        step = sorted(measured)[len(measured) // 2] * work
    else:
        milliseconds = baselines.describe(plan.config.baseline)["cost"]["step_ms"][plan.config.size]
        step = milliseconds / 1000 * work / (_REFERENCE_BATCH[plan.config.size] * 64**2)
    return step * train.steps


def operations(plan: Plan) -> float | None:
    """Floating-point operations of the whole training; ``None`` where the baseline's ``[cost]`` has no ``gmac``.

    A multiply-add counts as two, a step and view as three forward passes.
    """
    train = plan.config.train
    macs = baselines.describe(plan.config.baseline)["cost"].get("gmac", {}).get(plan.config.size)
    if macs is None:
        return None
    return 6e9 * macs * (train.patch / 128) ** 2 * train.batch * train.views * train.steps
