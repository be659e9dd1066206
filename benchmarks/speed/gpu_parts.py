"""The parts of the GPU table that are no network's own, each to be measured in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from benchmarks.execution import environment
from benchmarks.speed import gpu_checks, scoring, training
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure, block, in_turn
from benchmarks.speed.workers import Answer

SIDE = 8192  # of the square matrices
COPIED = 2**30  # bytes


class Station:
    """Answers with the rows of one part."""

    def limits(self, device: str) -> Answer:
        """What the device can do: see :func:`limits`."""
        return _rows(limits(environment.device(device)))

    def checks(self, folder: str, device: str, names: Sequence[str]) -> Answer:
        """See :func:`benchmarks.speed.gpu_checks.all_of`."""
        return _rows(gpu_checks.all_of(Path(folder), environment.device(device), names))

    def logging(self, folder: str, device: str) -> Answer:
        """See :func:`benchmarks.speed.training.logging_share`."""
        return _rows(training.logging_share(Bench(Path(folder), environment.device(device))))

    def scoring(self, folder: str, device: str, rounds: int) -> Answer:
        """See :func:`benchmarks.speed.scoring.on_gpu`."""
        return _rows(scoring.on_gpu(Path(folder), environment.device(device), rounds))


def limits(device: torch.device, side: int = SIDE, copied: int = COPIED, rounds: int = 5) -> list[Measure]:
    """Tera-operations a second of a matrix product by precision, on random numbers (zeros would be faster: they draw
    less power), and gigabytes a second, read and written, of a copy within the device."""
    rows: list[Measure] = []
    for precision, kind in (("bf16", torch.bfloat16), ("tf32", torch.float32), ("fp32", torch.float32)):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        product = torch.empty_like(one)
        call = partial(torch.matmul, one, other, out=product)
        medians, _ = in_turn({"product": partial(block, call, device, 5, 2)}, rounds)
        rate = 2 * side**3 / medians["product"] / 1e12
        case = f"matrix product {side}x{side}, {precision}, TFLOP/s"
        rows.append(Measure("gpu limits", case, rate, "", {"ms": 1000 * medians["product"]}, rounds))
    source = torch.randint(256, (copied,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    medians, _ = in_turn({"copy": partial(block, partial(target.copy_, source), device, 5, 2)}, rounds)
    rate = 2 * copied / medians["copy"] / 1e9
    rows.append(Measure("gpu limits", "copy within memory, GB/s", rate, "", {"ms": 1000 * medians["copy"]}, rounds))
    return rows


def _rows(rows: Iterable[Measure]) -> Answer:
    return {"rows": [asdict(row) for row in rows]}
