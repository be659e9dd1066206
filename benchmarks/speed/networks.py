"""Every network by itself: parameters, multiply-adds, step time, memory."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import baselines
from benchmarks.config.errors import UserError
from benchmarks.execution import environment
from benchmarks.training.losses import pixel_errors, restored_images

ROUNDS = 5
BATCH = {"tiny": 10, "paper": 1}  # of 64x64 patches, as in the recipes' [cost]
THREADS = {"tiny": 1, "paper": 2}


class Row(TypedDict):
    """What one network costs.

    ``gmac_*``: billions of multiply-adds of one forward pass, counted by torch's FlopCounterMode (convolutions, matrix
    products and attention; not sampling, norms or activations). ``step_ms``: median of forward, backward and AdamW.
    ``memory_mib``: peak of the process on a CPU, peak allocation on a GPU; both with the batch named.
    """

    network: str
    size: str
    parameters: int
    gmac_128: float
    gmac_256: float
    batch: int
    threads: int
    step_ms: float
    memory_mib: float
    device: str


def measure(name: str, size: str, device_name: str) -> Row:
    """What one network costs, measured in this process."""
    device = environment.device(device_name)
    torch.set_num_threads(THREADS[size])
    torch.manual_seed(0)
    network = baselines.build(name, size).to(device)
    batch = torch.rand(BATCH[size], 3, 64, 64, device=device)
    second = batch.flip(0) if baselines.recipe(name, "demo").get("views") == 2 else None
    optimizer = torch.optim.AdamW((p for p in network.parameters() if p.requires_grad), lr=1e-6, fused=True)
    times: list[float] = []
    for _ in range(ROUNDS + 2):
        started = time.perf_counter()
        output = network.training_forward(batch, second)
        loss = pixel_errors("l1", restored_images(output), batch, network.sample_loss).mean()
        (loss if output.auxiliary is None else loss + output.auxiliary).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started))
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    else:
        memory = environment.peak_memory() or math.nan
    network.eval()
    return Row(
        network=name,
        size=size,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gmac_128=_multiply_adds(network, 128, device),
        gmac_256=_multiply_adds(network, 256, device),
        batch=BATCH[size],
        threads=THREADS[size],
        step_ms=sorted(times[2:])[ROUNDS // 2],
        memory_mib=memory,
        device=environment.describe(device).device or "",
    )


def _multiply_adds(network: nn.Module, side: int, device: torch.device) -> float:
    """Billions, of one forward pass on an image of that side."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, side, side, device=device))
    return counter.get_total_flops() / 2e9


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = (
        "| network | size | parameters | G multiply-adds 128x128 | 256x256 | step, ms | batch x threads | memory, MiB |"
    )
    lines = [head, "|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['size']} | {row['parameters']:,} | {row['gmac_128']:.2f} "
            f"| {row['gmac_256']:.2f} | {row['step_ms']:.0f} | {row['batch']} x {row['threads']} "
            f"| {row['memory_mib']:.0f} |"
        )
    return "\n".join(lines)


def main(names: Sequence[str] | None, device: str, csv: Path | None) -> None:
    """Measure and print both sizes of every network, each in a process of its own because of its memory.

    Args:
        names: of the networks; ``None``: all.
        device: as ``--device`` names it.
        csv: a file for the rows.

    Raises:
        UserError: for an unknown network.
    """
    if unknown := [name for name in names or () if name not in baselines.names()]:
        raise UserError(f"no network is called {unknown[0]!r}; there are: {', '.join(baselines.names())}.")
    rows: list[Row] = []
    for name in names or baselines.names():
        for size in BATCH:
            code = (
                f"from benchmarks.speed.networks import *; print(json.dumps(measure({name!r}, {size!r}, {device!r})))"
            )
            done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name} {size}: {rows[-1]['step_ms']:.0f} ms a step", file=sys.stderr)
    print(table(rows))
    if csv:
        csv.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(csv, index=False, float_format="%.5g", lineterminator="\n")
