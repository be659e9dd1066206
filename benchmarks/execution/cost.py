"""What a run will cost, from times measured before, on the kind of device that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import baselines
from benchmarks.execution import rates
from benchmarks.execution.plan import Plan
from benchmarks.execution.strategy_cost import ratio
from results import Run
from results.records import Environment, RunRecord

FLOPS = 20e12
"""Operations a second of a GPU that trainings are estimated for where none is measured."""

_USUAL_STEP = {"tiny": 150.0, "paper": 750.0}  # ms, where a [cost] has none: the middle of this project's networks
_REFERENCE_BATCH = {"tiny": 10, "paper": 1}  # of 64x64 patches, at which [cost] was measured
_METRICS = 1e-6  # seconds a pixel that PSNR and SSIM take on a CPU


def estimate(plan: Plan, kind: str = "cpu") -> float:
    """Seconds of training, with what its strategy adds to a step.

    They come from this store's own runs of the same baseline and size on such a device where there are some. Else, on
    a CPU, from the step time noted with the recipe (``[cost]``) or a usual one, scaled by batch and patch area; on a
    GPU from the images a second that were measured, or from operations (:data:`FLOPS`).

    Args:
        plan: the run.
        kind: of the device, ``cpu`` or ``cuda``.
    """
    return _mix_step(plan, kind) * ratio(plan.config, plan.output).value * plan.config.train.steps


def scoring(plan: Plan, pixels: int, kind: str = "cpu") -> float:
    """Seconds of scoring: as this store's own runs of the baseline and size took, else a step's share and the metrics.

    Args:
        plan: the run.
        pixels: of all test images together.
        kind: of the device.
    """
    if plan.trial:
        return 0.0
    here = [environment for record, environment in _own(plan, kind) if record.config.setting == plan.config.setting]
    own = sorted(filter(None, (environment.evaluate_seconds for environment in here)))
    if own:
        return own[len(own) // 2]
    train = plan.config.train
    forward = _mix_step(plan, kind) / 3 / (train.batch * train.patch**2)  # a step is three forward passes
    return pixels * (forward + _METRICS)


def memory(plan: Plan, kind: str = "cpu") -> float | None:
    """MiB that a training took at most on such a device, by this store's own runs of the same batches."""
    train, found = plan.config.train, list[float]()
    for record, environment in _own(plan, kind):
        peak = environment.peak_memory_mib if kind == "cpu" else environment.peak_gpu_memory_mib
        if peak and (record.config.train.batch, record.config.train.patch) == (train.batch, train.patch):
            found.append(peak)
    return max(found, default=None)


def operations(plan: Plan) -> float | None:
    """Floating-point operations of the whole training; ``None`` where the baseline's ``[cost]`` has no ``gmac``.

    A multiply-add counts as two, a step and view as three forward passes.
    """
    train = plan.config.train
    macs = (dict[str, float]() | baselines.describe(plan.config.baseline).cost.gmac).get(plan.config.size)
    if macs is None:
        return None
    return 6e9 * macs * (train.patch / 128) ** 2 * train.batch * train.views * train.steps


def _mix_step(plan: Plan, kind: str) -> float:
    """Seconds of a step with mix."""
    train = plan.config.train
    work = train.batch * train.patch**2
    measured: list[float] = []  # seconds per sample and pixel
    for record, environment in _own(plan, kind):
        other, seconds = record.config.train, environment.step_seconds
        if seconds and other.batch and other.patch:
            config = plan.config.usual.model_copy(update={"strategy": record.config.strategy})
            measured.append(seconds / ratio(config, plan.output).value / (other.batch * other.patch**2))
    if measured:
        return sorted(measured)[len(measured) // 2] * work
    return _gpu_step(plan) if kind == "cuda" else _cpu_step(plan)


def _cpu_step(plan: Plan) -> float:
    train, size = plan.config.train, plan.config.size
    milliseconds = (_USUAL_STEP | baselines.describe(plan.config.baseline).cost.step_ms)[size]
    return milliseconds / 1000 * train.batch * train.patch**2 / (_REFERENCE_BATCH[size] * 64**2)


def _gpu_step(plan: Plan) -> float:
    train, size = plan.config.train, plan.config.size
    rate = rates.measured(plan.config.baseline, train.precision, size)
    if rate is not None:
        return train.batch / rate.images_per_s * (train.patch / rate.patch) ** 2
    count = operations(plan)
    return _cpu_step(plan) / 50 if count is None else count / train.steps / FLOPS


def _own(plan: Plan, kind: str) -> Iterator[tuple[RunRecord, Environment]]:
    """What this store's own runs of the same baseline and size on such a device have recorded."""
    for path in plan.folder.parents[1].glob("*/*/environment.json"):
        run = Run(path.parent).legible()
        record, environment = run.record, run.environment
        if record and record.config.size == plan.config.size and (environment.device_type or "cpu") == kind:
            yield record, environment
