"""What runs need besides the time of their training: what strategies add to a step, scoring, memory, room on the
disk, and hours of a GPU by published schedules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import baselines
from benchmarks.config.sections import TrainConfig
from benchmarks.data import locating
from benchmarks.data.decoding import UnusableImage, shape_of
from benchmarks.data.images import CACHE_LIMIT, PIXELS
from benchmarks.data.layouts import Located
from benchmarks.execution import cost as costs
from benchmarks.execution import rates, strategy_cost
from benchmarks.execution.cost import FLOPS, operations
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.rates import Rate
from benchmarks.execution.tracking import POINTS

_NUMBER = 4  # bytes of a weight, and of what an optimizer keeps of it
_EMBEDDED = 8 * 256**2  # pixels of the photographs
_PROCESS = 450.0  # MiB of a process with torch, before it trains
_ROW = 24  # bytes of a step and task in rhythm.parquet
_POINT = 120  # bytes of a number in MLflow's SQLite file, with its index
_SAMPLE = 500_000  # bytes of a picture of degraded, restored and clean
_HEADERS = 8  # images of a set from which the size of all is estimated
_FASTER = 1.1  # than in a run's own precision: then another one is named


def told(plans: Sequence[Plan], kind: str = "cpu") -> list[str]:
    """The needs in lines, for ``--dry-run``; ``kind``: of the device, ``cpu`` or ``cuda``."""
    left = [plan for plan in plans if plan.todo != Todo.NOTHING]
    return [*_gpu(plans), "", *_step_costs(left), *_memories(left, kind), _disk(left, plans[0])]


def scoring(left: Sequence[Plan], kind: str) -> list[float]:
    """Seconds that scoring takes of each run."""
    pixels = _test_pixels(left[0]) if left else 0
    return [costs.scoring(plan, pixels, kind) for plan in left]


def _test_pixels(plan: Plan) -> int:
    """Of all test images together, about, each as often as it is degraded."""
    setting, config = plan.setting, plan.config
    tests = [test.set for task in setting.tasks for test in task.test]
    if config.data.source == "embedded":
        return len(tests) * _EMBEDDED
    root = locating.root_of(config.data)
    pixels = {name: _located_pixels(locating.locate(setting, name, root)) for name in {*tests, *config.evaluate.extra}}
    return sum(pixels[name] for name in (*tests, *config.evaluate.extra))


def _located_pixels(located: Located | None) -> int:
    return _decoded([pair.target for pair in located.pairs]) // 3 if located else 0


def _step_costs(left: Sequence[Plan]) -> list[str]:
    """What strategies add to a step, whose measurement that is, and for which none is known."""
    found: dict[str, dict[str, float]] = {}
    unknown: dict[str, None] = {}
    for plan in left:
        ratio, name = strategy_cost.ratio(plan.config, plan.output), plan.config.strategy
        if not ratio.source:
            unknown[name] = None
        elif ratio.value != 1:
            found.setdefault(ratio.source, {})[name] = ratio.value
    lines = [
        f"A step costs, over mix's ({source}): {', '.join(f'{name} {value:.3g}' for name, value in ratios.items())}."
        for source, ratios in found.items()
    ]
    if unknown:
        lines.append(f"What a step costs with {', '.join(unknown)} is not measured; it is counted as mix's.")
    return lines


def _memories(left: Sequence[Plan], kind: str) -> list[str]:
    """Memory of a run, by baseline: as this store's runs took, else about what their parts take."""
    found: dict[str, str] = {}
    most = 0.0
    for plan in left:
        name = baselines.describe(plan.config.baseline).name
        measured = costs.memory(plan, kind)
        parts = _parts(plan.config.baseline, plan.config.size, plan.config.train)
        if mib := measured or (parts and parts + (kind == "cpu") * _PROCESS):
            found[name] = f"{'about ' * (not measured)}{mib / 1024:.2g} GiB"
            most = max(most, mib)
    if not found:
        return []
    what = "main memory" if kind == "cpu" else "memory on the GPU"
    whole = _main_memory() if kind == "cpu" else 0
    short = f" This machine has {whole / 1024:.3g} GiB." * (0 < whole < most)
    return [f"Each run takes, of {what}: {', '.join(f'{name} {size}' for name, size in found.items())}.{short}"]


def _main_memory() -> float:
    """MiB of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    except (AttributeError, OSError, ValueError):
        return 0.0


def _gpu(plans: Sequence[Plan]) -> list[str]:
    """Hours and memory of one training by every published schedule: as measured, else from its operations."""
    published = {plan.config.baseline: plan for plan in reversed(plans) if plan.config.profile == "paper"}
    found: dict[bool, list[str]] = {True: [], False: []}
    for name, plan in reversed(published.items()):
        known = _measured(name, plan)
        found[bool(known)] += known or [f"  {name:14} {_counted(plan)}"]
    arithmetic = f"One training on a GPU that sustains {FLOPS / 1e12:.0f} TFLOP/s (arithmetic, no measurement):"
    titles = {True: "One training on one GPU, by the images a second that were measured:", False: arithmetic}
    return [line for kind, lines in found.items() if lines for line in ("", titles[kind], *lines)]


def _measured(name: str, plan: Plan) -> list[str]:
    """By the rate in the run's own precision, and by the best one where that is another."""
    train, size = plan.config.train, plan.config.size
    own, best = rates.measured(name, train.precision, size), rates.measured(name, None, size)
    if best is None:
        return []
    chosen = [own] if own else []
    if own is None or best.images_per_s > _FASTER * own.images_per_s:
        chosen.append(best)
    return [f"  {label:14} {_by_rate(rate, plan)}" for label, rate in zip((name, ""), chosen, strict=False)]


def _by_rate(rate: Rate, plan: Plan) -> str:
    train = plan.config.train
    seconds = train.steps * train.batch / rate.images_per_s * (train.patch / rate.patch) ** 2
    way = rate.way + f" (--set train.precision={rate.precision})" * (rate.precision != train.precision)
    memory = _memory(plan.config.baseline, plan.config.size, train, rate)
    return (
        f"{seconds / 3600:,.0f} GPU-hours, {memory}: {rate.images_per_s:.3g} images a second in {way}, "
        f"batches of {rate.batch} x {rate.patch}x{rate.patch}; {rate.whose}"
    )


def _counted(plan: Plan) -> str:
    count, config = operations(plan), plan.config
    memory = _memory(config.baseline, config.size, config.train)
    hours = f"{count / FLOPS / 3600:,.0f} GPU-hours ({count / 1e18:.2g} EFLOP)" if count else "no gmac in its [cost]"
    return f"{hours}, {memory}"


def _memory(baseline: str, size: str, train: TrainConfig, rate: Rate | None = None) -> str:
    """Of a step on a GPU: the measured one where batch and patch are the same, else scaled, else from what a network
    keeps for its backward pass."""
    same = rate is not None and (rate.batch, rate.patch) == (train.batch, train.patch)
    cost = baselines.describe(baseline).cost
    parameters = (dict[str, int]() | cost.parameters).get(size)
    if rate is not None and rate.peak_mib and (same or parameters):
        fixed = 0.0 if same else _state(parameters or 0, train.ema, gradients=True) / 2**20
        scale = train.batch / rate.batch * (train.patch / rate.patch) ** 2
        mib = fixed + max(0.0, rate.peak_mib - fixed) * scale
    elif mib := _parts(baseline, size, train, rate.precision if rate else train.precision):
        same = False
    else:
        return "memory unknown"
    return f"{'about ' * (not same)}{mib / 1024:.3g} GiB of its memory"


def _parts(baseline: str, size: str, train: TrainConfig, precision: str | None = None) -> float | None:
    """MiB of weights, gradients, moments, and what a network keeps for its backward pass; ``None`` where unknown."""
    cost = baselines.describe(baseline).cost
    parameters = (dict[str, int]() | cost.parameters).get(size)
    kept = (dict[str, float]() | cost.saved_mib).get(size)
    if not (parameters and kept):
        return None
    share = 0.5 if (precision or train.precision) == "bf16" else 1.0
    return _state(parameters, train.ema, gradients=True) / 2**20 + kept * share * train.batch * (train.patch / 128) ** 2


def _state(parameters: int, ema: float, gradients: bool = False) -> int:
    """Bytes of the weights, of Adam's two moments, of a weight average where there is one, and of gradients."""
    return _NUMBER * parameters * (3 + bool(ema) + gradients)


def _disk(left: Sequence[Plan], some: Plan) -> str:
    """Room for checkpoints and decoded images of the runs that are left, and what there is."""
    output = some.folder.parents[4]
    checkpoints, parts = _checkpoints(left)
    further = sum(map(_records, left))
    parts += [f"about {_bytes(further)} of curves, scores and samples, and in MLflow"] * bool(left)
    images, streamed = _images(some)
    made = sum(path.stat().st_size for path in (output / "cache").glob(f"*/{PIXELS}"))
    parts += [f"about {_bytes(images)} of decoded images, {_bytes(made)} of it made"] * bool(images)
    parts += [f"nothing of {', '.join(streamed)}, decoded as needed"] * bool(streamed)
    free = shutil.disk_usage(next(path for path in (output, *output.absolute().parents) if path.exists())).free
    short = " That is too little." * (checkpoints + further + max(0, images - made) > free)
    return f"Disk: {'; '.join(parts) or 'nothing more'}. {_bytes(free)} are free in {output}.{short}"


def _records(plan: Plan) -> int:
    """Bytes of what a run records besides its checkpoint, about: rhythm and curve, scores, a sample of each test set,
    and the same numbers in MLflow."""
    setting, train = plan.setting, plan.config.train
    tasks = len(setting.tasks)
    recorded = -(-train.steps // train.log_every)
    points = tasks * (4 * min(POINTS, recorded) + 20)
    samples = sum(len(task.test) for task in setting.tasks) + len(plan.config.evaluate.extra)
    return recorded * tasks * _ROW + points * _POINT + samples * _SAMPLE * (not plan.trial)


def _checkpoints(left: Sequence[Plan]) -> tuple[int, list[str]]:
    """Bytes that checkpoints take at most, and that in words."""
    sizes, unknown, total = dict[str, int](), dict[str, None](), 0
    for plan in left:
        described = baselines.describe(plan.config.baseline)
        parameters = (dict[str, int]() | described.cost.parameters).get(plan.config.size)
        if parameters is None:
            unknown[described.name] = None
            continue
        sizes[described.name] = _state(parameters, plan.config.train.ema)
        total += 2 * sizes[described.name]
    each = ", ".join(f"{name} {_bytes(size)}" for name, size in sizes.items())
    parts = [f"up to {_bytes(total)} of checkpoints (two a run while it trains, then one; {each})"] * bool(sizes)
    return total, parts + [f"checkpoints of {', '.join(unknown)} (no parameters in its [cost])"] * bool(unknown)


def _images(plan: Plan) -> tuple[int, list[str]]:
    """Bytes that the decoded images of all sets take, about, and the sets too large to be kept decoded."""
    setting, config = plan.setting, plan.config
    if config.data.source == "embedded":
        return 0, []
    further = [entry.data_set.name for entry in locating.further(setting, config.data)]
    total, streamed = 0, dict[str, None]()
    for name in dict.fromkeys((*setting.train_sets, *further, *setting.test_sets, *config.evaluate.extra)):
        located = locating.locate(setting, name, locating.root_of(config.data))
        pairs = located.pairs if located else ()
        for side in ([pair.target for pair in pairs], [pair.input for pair in pairs if pair.input]):
            size = _decoded(list(dict.fromkeys(side)))
            if size > CACHE_LIMIT:
                streamed[name] = None
            else:
                total += size
    return total, list(streamed)


def _decoded(paths: Sequence[Path]) -> int:
    """Bytes of the pixels of these files, about: from the headers of some of them."""
    sizes: list[int] = []
    for path in paths[:: max(1, len(paths) // _HEADERS)]:
        with suppress(UnusableImage):
            height, width = shape_of(path)
            sizes.append(3 * height * width)
    return len(paths) * sum(sizes) // len(sizes) if sizes else 0


def _bytes(count: float) -> str:
    """``3.1 GB``, ``420 MB``."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
