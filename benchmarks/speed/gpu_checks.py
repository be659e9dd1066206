"""Whether a GPU computes what a CPU does, the same again after a stop, and without waiting for the host."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import baselines
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure, wait
from benchmarks.speed.training import network_of
from benchmarks.training.loop import Training
from results import Run

WHAT = "gpu checks"
STRATEGIES = ("mix", "art", "uw", "famo")  # look at task losses only: nothing in their steps needs the host
SETTLED = 20  # steps after which everything is where it stays: kernels chosen, graphs captured
WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # cuBLAS repeats its bits with this only


def agreement(names: Sequence[str], device: torch.device, size: str = "tiny", patch: int = 64) -> Iterator[Measure]:
    """Largest difference of outputs and gradients between CPU and device, over the largest of them; fp32, no TF32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    images = torch.rand(2, 2, 3, patch, patch)
    for name in names:
        second = baselines.recipe(name, "demo").get("views") == 2
        here, there = (_differentiated(name, size, images, second, place) for place in (torch.device("cpu"), device))
        errors = {
            f"{what}_error": float((one - other).abs().max() / one.abs().max())
            for what, one, other in zip(("output", "gradient"), here, there, strict=True)
        }
        yield Measure(WHAT, f"CPU and GPU agree, {name} {size}, fp32", max(errors.values()), "<= 0.001", errors, 1)


def _differentiated(name: str, size: str, images: Tensor, second: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Output and gradient, on the CPU; weights are drawn there whatever the device."""
    network = network_of(name, size, device)
    degraded, other = images.to(device)
    output = network.training_forward(degraded, other if second else None)
    assert output.restored is not None
    loss = (output.restored - other).square().mean()
    (loss if output.auxiliary is None else loss + output.auxiliary).backward()
    gradients = [p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None]
    return output.restored.detach().cpu(), torch.cat(gradients)


def resume(
    bench: Bench, name: str = "transweather", strategy: str = "art", overrides: Sequence[str] = ()
) -> Iterator[Measure]:
    """The largest difference between weights after six steps and after three, a checkpoint and three."""
    overrides = ["train.steps=6", "train.deterministic=true", *overrides]
    whole = bench.training(name, strategy, "tiny", *overrides)
    _steps(whole, 0, 6)
    half = bench.training(name, strategy, "tiny", *overrides)
    _steps(half, 0, 3)
    half.save()
    rest = Training(half.config, bench.pools, Run(half.run.folder), bench.device)
    _steps(rest, rest.step, 6)
    pairs = zip(whole.network.state_dict().values(), rest.network.state_dict().values(), strict=True)
    apart = max(float((one.double() - other.double()).abs().max()) for one, other in pairs)
    yield Measure(WHAT, f"resumed training has the same bits, {name} tiny, {strategy}", apart, "<= 0", {}, 1)


def waiting(
    bench: Bench,
    strategies: Sequence[str] = STRATEGIES,
    name: str = "transweather",
    settled: int = SETTLED,
    overrides: Sequence[str] = (),
) -> Iterator[Measure]:
    """Steps of three that wait for the device, with data made for them; torch refuses such a call."""
    for strategy in strategies:
        training = bench.training(name, strategy, "tiny", *overrides)
        _steps(training, training.step, training.step + settled)
        waits, reason = 0, ""
        for _ in range(3):
            wait(bench.device)
            _refuse_waiting(bench.device, "error")
            try:
                _steps(training, training.step, training.step + 1)
            except RuntimeError as error:
                waits, reason = waits + 1, str(error).splitlines()[0][:80]
            finally:
                _refuse_waiting(bench.device, "default")
        case = f"no step waits for the GPU, {name} tiny, {strategy}" + (f" ({reason})" if reason else "")
        yield Measure(WHAT, case, waits, "<= 0", {}, 3)


def _refuse_waiting(device: torch.device, mode: str) -> None:
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def _steps(training: Training, start: int, stop: int) -> None:
    training.step = start
    while training.step < stop:
        training.update(training.batches(training.step))


def all_of(folder: Path, device: torch.device, names: Sequence[str]) -> Iterator[Measure]:
    """Every check, in a process of its own, whose settings they change; one that fails leaves the others alone."""
    os.environ.update(WORKSPACE)
    bench = Bench(folder, device)
    checks = {f"CPU and GPU agree, {name}": partial(agreement, [name], device) for name in names}
    checks |= {f"no step waits for the GPU, {name}": partial(waiting, bench, [name]) for name in STRATEGIES}
    checks["resumed training has the same bits"] = partial(resume, bench)
    for case, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            traceback.print_exc()
            yield Measure.none(WHAT, case, f"{type(error).__name__}: {error}".splitlines()[0][:200])
