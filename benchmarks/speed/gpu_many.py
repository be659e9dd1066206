"""Tiny trainings, one or several at a time on one GPU, against one CPU core: steps a second, over a common window.

What is counted is training as ``benchmarks.run`` does it: data made for every step, rhythm, reports and checkpoints,
and starting the next training where one ends; not starting the process, and not scoring.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.execution import environment
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure
from benchmarks.speed.workers import Answer, Worker
from benchmarks.training.loop import Training
from benchmarks.training.rhythm import Rhythm

WHAT = "gpu many"
TOGETHER = (1, 2, 4, 8)  # trainings at once
SETTLING = 60  # steps before anything is counted: kernels compiled, graphs captured
GOAL = ">= 40"
ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}


class _Enough(Exception):
    """The window has ended."""


class Windows(NamedTuple):
    """Seconds that are counted: on the GPU for each number of trainings, and on the CPU, whose steps are slow."""

    gpu: float = 4.0
    cpu: float = 10.0


WINDOWS = Windows()


class Station:
    """Trains one tiny network after another."""

    def prepare(
        self, folder: str, device: str, name: str, settling: int = SETTLING, overrides: Sequence[str] = ()
    ) -> Answer:
        """Make ready, and take some steps that nobody counts."""
        self.name, self.overrides = name, overrides
        if device == "cpu" and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the next batch is made in a thread beside
        self.bench = Bench(Path(folder), environment.device(device))
        self.training = self._begun()
        self._until(lambda step: step >= settling)
        return {}

    def count(self, start: float, end: float) -> Answer:
        """Steps a second between the first and the last report within a window of the clock (``time.time``)."""
        reports: list[tuple[float, int]] = []
        done = 0

        def enough(step: int) -> bool:
            now = time.time()
            if start <= now <= end:
                reports.append((now, done + step))
            return now > end

        while not self._until(enough):
            done += self.training.step
            self.training = self._begun()
        if len(reports) < 2:
            raise RuntimeError("the window is too short for two reports")
        (first, before), (last, after) = reports[0], reports[-1]
        return {"steps_per_s": (after - before) / (last - first)}

    def _begun(self) -> Training:
        training = self.bench.training(self.name, "mix", "tiny", *self.overrides)
        training.step = 0
        return training

    def _until(self, enough: Callable[[int], bool]) -> bool:
        """Train until a report is enough, or to the end; whether it was enough."""

        def report(step: int, _: Rhythm) -> None:
            if enough(step):
                raise _Enough

        try:
            self.training.finish(report)
        except _Enough:
            return True
        return False


def measures(
    folder: Path,
    device: str,
    seconds: float,
    together: Sequence[int] = TOGETHER,
    windows: Windows = WINDOWS,
    name: str = "transweather",
    settling: int = SETTLING,
) -> Iterator[Measure]:
    """Runs an hour on the device over those of one CPU core, for each number of trainings at once.

    Args:
        folder: for files; its cache holds the embedded images.
        device: as ``--device`` names it.
        seconds: that workers may take to make ready.
        together: numbers of trainings at once.
        windows: that are counted.
        name: of the network.
        settling: steps before anything is counted.
    """
    with ExitStack() as stack:

        def station(number: int, variables: Mapping[str, str]) -> Worker:
            return stack.enter_context(Worker("gpu_many", folder / f"many-{number}.log", variables))

        workers = [station(number, {}) for number in range(max(together))]
        core = station(len(workers), ONE_CORE | {"CUDA_VISIBLE_DEVICES": ""})
        for worker, place in (*((worker, device) for worker in workers), (core, "cpu")):
            worker.tell("prepare", folder=str(folder), device=place, name=name, settling=settling)
        until = time.monotonic() + seconds
        for worker in (*workers, core):
            worker.answer(until - time.monotonic())
        cpu, alone = _counted([core], windows.cpu), 0.0
        for number in together:
            rate = _counted(workers[:number], windows.gpu)
            alone = alone or rate
            values = {"gpu_steps_per_s": rate, "core_steps_per_s": cpu, f"over_{together[0]}_at_once": rate / alone}
            case = f"demo training of {name} tiny, {number} at once, runs an hour over those of one CPU core"
            yield Measure(WHAT, case, rate / cpu, GOAL if number == max(together) else "", values, 1)


def _counted(workers: Sequence[Worker], seconds: float) -> float:
    """Steps a second of all these workers together."""
    start = time.time() + 0.5
    for worker in workers:
        worker.tell("count", start=start, end=start + seconds)
    return sum(worker.answer(seconds + 60)["steps_per_s"] for worker in workers)
