"""What training costs: our step over a plain one, memory, logging, and how cost grows with size."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

import art
import baselines
from baselines.deform_conv import deform_conv
from benchmarks.data.batches import Batch
from benchmarks.execution import environment
from benchmarks.execution.timing import interleaved
from benchmarks.speed import plain
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure, wait
from benchmarks.training.loop import REPORT_STEPS
from benchmarks.training.losses import restored_images, task_losses
from benchmarks.training.rhythm import Rhythm

TASKS = 5
Case = tuple[str, str, int, int]  # network, size, batch, patch
CASES: tuple[Case, ...] = (("transweather", "paper", 20, 128), ("nafnet", "paper", 5, 128))
FURTHER: tuple[Case, ...] = (
    ("transweather", "paper", 4, 128),
    ("restormer", "paper", 2, 128),
    ("promptir", "paper", 2, 128),
)


def steps(
    device: torch.device, rounds: int, threads: int, cases: Sequence[Case] = (*CASES, *FURTHER)
) -> Iterator[Measure]:
    """A training step of the plain loop over ours, fp32 and bf16, on a CPU (:mod:`benchmarks.speed.gpu` for GPUs)."""
    torch.set_num_threads(threads)
    goal = {"fp32": ">= 1.3", "bf16": ">= 1.8"}
    for name, size, batch, patch in cases:
        data = batch_of(batch, patch, device)
        ways = {"plain": plain.stepper(network_of(name, size, device), data.degraded, data.clean, data.tasks, TASKS)}
        for precision in ("fp32", "bf16"):
            ways[precision] = ours(network_of(name, size, device), data, precision)
        medians = interleaved(ways, rounds)
        for precision in ("fp32", "bf16"):
            values = {"plain_ms": 1000 * medians["plain"], "ours_ms": 1000 * medians[precision]}
            case = f"{name} {size}, batch {batch}, patch {patch}, {precision}"
            ratio = medians["plain"] / medians[precision]
            yield Measure("step", case, ratio, goal[precision], values, rounds)


def ours(network: baselines.Network, data: Batch, precision: str) -> Callable[[], None]:
    """A call that takes one training step as :class:`benchmarks.training.loop.Training` does, with mix.

    Args:
        network: in training mode.
        data: the batch of every step.
        precision: "fp32" or "bf16".
    """
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-6, fused=True)
    strategy = art.make("mix", [f"task-{number}" for number in range(TASKS)]).to(data.clean.device)
    rhythm = Rhythm(strategy.tasks, 1, data.clean.device)
    numbers = count(1)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(data.clean.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = network.training_forward(data.degraded, data.second)
        losses = task_losses(restored_images(output).float(), data, own=network.sample_loss)
        strategy.backward(losses, output.auxiliary)
        number = next(numbers)
        rhythm.record(number, losses.values, data.counts, strategy.weights)
        if number % REPORT_STEPS == 0:
            rhythm.flush()
        optimizer.step()

    return step


def deformable(rounds: int, threads: int) -> Iterator[Measure]:
    """AirNet's training step, and one deformable convolution by itself, with one ``grid_sample`` a tap over ours."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    for channels, batch, patch in ((8, 10, 64), (64, 2, 64)):  # those of AirNet, tiny and paper
        tensors = [torch.rand(batch, depth, patch, patch) for depth in (channels, 18, 9)]
        tensors = [tensor.requires_grad_() for tensor in (*tensors, torch.rand(channels, channels, 3, 3))]
        ways = {"plain": plain.per_tap, "ours": deform_conv}
        medians = interleaved({way: partial(_differentiated, call, tensors) for way, call in ways.items()}, 3 * rounds)
        values = {f"{way}_ms": 1000 * seconds for way, seconds in medians.items()}
        case = f"the convolution alone, {channels} channels, batch {batch}, patch {patch}"
        yield Measure("deform_conv", case, medians["plain"] / medians["ours"], ">= 2", values, 3 * rounds)
    for size, batch, patch in (("tiny", 10, 64), ("paper", 2, 64)):
        data = batch_of(batch, patch, device, views=2)
        step = ours(network_of("airnet", size, device), data, "fp32")

        def per_tap(step: Callable[[], None] = step) -> None:
            with plain.per_tap_convolutions():
                step()

        medians = interleaved({"plain": per_tap, "ours": step}, rounds)
        values = {f"{way}_ms": 1000 * seconds for way, seconds in medians.items()}
        case = f"airnet {size}, batch {batch}, patch {patch}"
        yield Measure("deform_conv", case, medians["plain"] / medians["ours"], ">= 2", values, rounds)


def _differentiated(convolve: Callable[..., Tensor], tensors: Sequence[Tensor]) -> None:
    convolve(*tensors).sum().backward()


def logging_share(bench: Bench, steps_run: int = 400) -> Iterator[Measure]:
    """Share of rhythm and checkpoints in a training's time, every step recorded and a checkpoint every 200.

    On a GPU, what a checkpoint waits for is training, not the checkpoint."""
    training = bench.training("transweather", "art", "tiny", f"train.steps={steps_run}")
    training.save()  # imports the writers of tables
    training.step, seconds, save = 0, [0.0], training.save

    def timed(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            if function is save:
                wait(bench.device)
            started = time.perf_counter()
            function(*arguments)
            seconds[0] += time.perf_counter() - started

        return call

    with (
        mock.patch.object(training, "save", timed(save)),
        mock.patch.object(training.rhythm, "record", timed(training.rhythm.record)),
    ):
        started = time.perf_counter()
        training.finish()
        total = time.perf_counter() - started
    values = {"logging_s": seconds[0], "training_s": total}
    case = f"rhythm every step, checkpoint every 200, transweather tiny, {steps_run} steps"
    goal = "<= 0.01" if bench.device.type == "cpu" else "<= 0.005"
    yield Measure("logging", case, seconds[0] / total, goal, values, 1)


def memory(device: torch.device, cases: Sequence[Case] = CASES) -> Iterator[Measure]:
    """Peak memory of three training steps, ours over plain, each in a process of its own, without what the process
    needs before them (imports)."""
    for name, size, batch, patch in cases:
        peaks: dict[str, float] = {}
        for way in ("plain", "fp32", "bf16"):
            arguments = json.dumps([way, name, size, batch, patch, device.type])
            code = f"from benchmarks.speed.training import peak; print(peak(*{arguments}))"
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            peaks[way] = float(done.stdout.split()[-1])
        for precision in ("fp32", "bf16"):
            values = {"plain_mib": peaks["plain"], "ours_mib": peaks[precision]}
            case = f"{name} {size}, batch {batch}, patch {patch}, {precision}"
            yield Measure("memory", case, peaks[precision] / peaks["plain"], "<= 0.8", values, 1)


def peak(way: str, name: str, size: str, batch: int, patch: int, kind: str) -> float:
    """MiB that three steps add to this process's peak (on a GPU: peak allocation)."""
    device = torch.device(kind)
    data, network = batch_of(batch, patch, device), network_of(name, size, device)
    before = _highest()
    step = (
        plain.stepper(network, data.degraded, data.clean, data.tasks, TASKS)
        if way == "plain"
        else ours(network, data, way)
    )
    for _ in range(3):
        step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return _highest() - before


def _highest() -> float:
    """MiB of this process at its largest; ``getrusage`` would begin with what the parent had."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return environment.peak_memory() or math.nan


def scaling(bench: Bench, rounds: int) -> Iterator[Measure]:
    """Step time of tiny TransWeather under Art against tasks, batch and patch; the ratio is to the first of each."""
    for axis, values in (("tasks", (3, 5, 7, 11)), ("batch", (11, 22, 44)), ("patch", (64, 128, 192))):
        ways: dict[str, Callable[[], None]] = {}
        for value in values:
            chosen = {"tasks": 11, "batch": 11, "patch": 64} | {axis: value}
            data = batch_of(chosen["batch"], chosen["patch"], bench.device, tasks=chosen["tasks"])
            ways[str(value)] = _strategy_step("art", data, chosen["tasks"])
        medians = interleaved(ways, rounds)
        for value in values:
            seconds = medians[str(value)]
            ratio = seconds / medians[str(values[0])]
            yield Measure("scaling", f"{axis} {value}", ratio, "", {"ours_ms": 1000 * seconds}, rounds)


def _strategy_step(spec: str, data: Batch, tasks: int) -> Callable[[], None]:
    network = network_of("transweather", "tiny", data.clean.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    strategy = art.make(spec, [f"task-{number}" for number in range(tasks)]).to(data.clean.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        strategy.backward(task_losses(restored_images(network.training_forward(data.degraded)), data))
        optimizer.step()

    return step


def network_of(name: str, size: str, device: torch.device) -> baselines.Network:
    """A network in training mode, with the same weights at every call."""
    torch.manual_seed(0)
    return baselines.build(name, size).to(device).train()


def batch_of(batch: int, patch: int, device: torch.device, views: int = 1, tasks: int = TASKS) -> Batch:
    """A batch of noise, the tasks in equal shares."""
    torch.manual_seed(0)
    numbers = torch.arange(batch).mul(tasks).div(batch, rounding_mode="floor")
    counts = torch.bincount(numbers, minlength=tasks)
    images = [torch.rand(batch, 3, patch, patch).to(device) for _ in range(3)]
    return Batch(
        degraded=images[0],
        clean=images[1],
        tasks=numbers.to(device),
        counts=counts.float().to(device),
        sizes=tuple(counts.tolist()),
        second=images[2] if views == 2 else None,
    )
