"""How long the commands take to answer, and how much time the grid's workers save."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.execution.timing import interleaved
from benchmarks.speed.timing import Measure

RUN = [sys.executable, "-m", "benchmarks.run"]


def answers(rounds: int) -> Iterator[Measure]:
    """Seconds to ``--help`` and to ``--dry-run``; the ratio is to one second."""
    for case, goal, arguments in (
        ("--help", "<= 0.4", ["--help"]),
        ("--dry-run", "<= 2", ["--setting", "three_task", "--dry-run"]),
    ):
        seconds = interleaved({case: lambda arguments=arguments: _quiet([*RUN, *arguments])}, rounds)[case]
        yield Measure("commands", f"benchmarks.run {case}", seconds, goal, {"seconds": seconds}, rounds)


def grid(folder: Path) -> Iterator[Measure]:
    """The four runs of ``make run`` one after another over two at a time, images ready."""
    common = [*RUN, "--setting", "three_task", "--tracking-uri", "none"]
    seconds: dict[int, float] = {}
    cache = Path(tempfile.mkdtemp(dir=folder))
    _quiet([*common, "--set", "train.steps=1", "--output", str(cache)])  # draws the scenes, compiles the kernels
    for jobs in (1, 2):
        output = Path(tempfile.mkdtemp(dir=folder))
        (cache / "cache").rename(output / "cache")
        started = time.perf_counter()
        _quiet([*common, "--jobs", str(jobs), "--output", str(output)])
        seconds[jobs] = time.perf_counter() - started
        (output / "cache").rename(cache / "cache")
    values = {"plain_s": seconds[1], "ours_s": seconds[2]}
    yield Measure("grid", "make run, one job over two jobs", seconds[1] / seconds[2], ">= 1.3", values, 1)


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
