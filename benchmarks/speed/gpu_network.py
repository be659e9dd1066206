"""One network's training steps on a GPU, each way timed in turn, in a process of its own.

What is timed is :class:`benchmarks.training.loop.Training` itself, with its batches, rhythm and weight average. It is
given one batch again and again, but where its own batches are what is measured.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.data.batches import Batch, Batches
from benchmarks.execution import environment
from benchmarks.speed import plain
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import block, in_turn, wait
from benchmarks.speed.training import network_of
from benchmarks.speed.workers import Answer
from benchmarks.training.loop import Training

ALIKE = ("compiled", "bf16")  # ways that compute the same
COMPARED = 4  # steps whose losses are compared
BLOCK_SECONDS, MOST_STEPS = 0.3, 20  # of the steps that are timed together
SHORT, SETTLING = 0.15, 16  # seconds of a step, and steps
ROOM = 0.5  # of the device's memory: what is cached beyond it is given back before another way's turn
RETRIES, PAUSE = 6, 5.0  # seconds, where other processes fill the memory


class Fixed:
    """One batch at every step, in place of a training's own :class:`Batches`."""

    def __init__(self, batch: Batch):
        tensors = {name: value.clone() for name, value in vars(batch).items() if isinstance(value, Tensor)}
        self.batch = replace(batch, **tensors)

    def __call__(self, step: int) -> Batch:
        """The batch, whatever the step."""
        return self.batch

    def begin(self, step: int) -> None:
        """Nothing: it is there."""


class Way:
    """A training that takes its steps on fixed or on its own batches.

    Args:
        training: in progress; several ways may share one.
        batches: of every step.
    """

    def __init__(self, training: Training, batches: Fixed | Batches):
        self.training, self.batches = training, cast(Batches, batches)
        self.first = self.next = training.step

    def __call__(self) -> None:
        """Take one step; at the end of the training it starts again where it was given."""
        training, own = self.training, self.training.batches
        training.batches, training.step = self.batches, self.next
        training.update(self.batches(self.next))
        training.batches = own
        self.next = training.step if training.step < training.config.train.steps - 1 else self.first

    def block(self, steps: int) -> float:
        """Seconds a step."""
        device = self.training.device
        seconds = block(self, device, steps, _warm(device, steps))
        self.training.rhythm.flush()
        return seconds


@dataclass
class Found:
    """What the first steps of a way show.

    Attributes:
        block: gives the seconds of a step, measured over a number of them.
        batch: its size.
        held: MiB that the process held before.
        step: seconds of a step, roughly.
        mib: peak memory of a step, with weights and optimizer, beyond that.
        first: seconds of the first step: compilation, choice of convolutions.
        losses: of the tasks in the first steps.
    """

    block: Callable[[int], float]
    batch: int
    held: float = 0.0
    step: float = 0.0
    mib: float = 0.0
    first: float = 0.0
    losses: Sequence[float] = ()


Maker = Callable[[int | None], tuple[Callable[[], object], Found]]  # a way's step, given another size of the batch


class Station:
    """Answers for one network, which :meth:`prepare` names."""

    def prepare(
        self, folder: str, device: str, name: str, size: str, compiled: Sequence[str] = (), **bench: Any
    ) -> Answer:
        """Compile, or do whatever the first steps do; while other processes do the same.

        Args:
            folder: for files; its cache holds the embedded images.
            device: as ``--device`` names it.
            name: of the network.
            size: of it.
            compiled: overrides of the training to be compiled; none for no such training.
            bench: ``profile`` and ``overrides`` of every training.
        """
        self.bench = Bench(Path(folder), environment.device(device))
        self.device, self.name, self.size = self.bench.device, name, size
        self.profile, self.overrides = bench.get("profile", "paper"), bench.get("overrides", [])
        self.fixed: Fixed | None = None
        self.ways: dict[str, Found] = {}
        self.trainings: dict[str, Training] = {}
        if not compiled:
            return {}
        for last in (False, True):
            with redirect_stderr(StringIO()) as said:
                self._find("compiled", partial(self._ours, "compiled", "mix", compiled), patient=True)
            print(said.getvalue(), file=sys.stderr)
            _clear(self.device)
            if self.trainings["compiled"].facts()["compiled"]:
                return {}
            if not last:
                time.sleep(PAUSE)  # others may have filled the memory; what was compiled is kept
        raise RuntimeError(f"the training went on uncompiled: {' '.join(said.getvalue().split())[-200:]}")

    def measure(self, seconds: float, rounds: int, ways: dict[str, Sequence[str]]) -> Answer:
        """Every way in turn: those of ``ways`` by their overrides, the field's step as it is written and with PyTorch's
        default convolutions (TF32), and what :meth:`prepare` compiled."""
        until = time.monotonic() + seconds
        self._settle("compiled")
        errors: dict[str, str] = {}
        makers = {way: partial(self._ours, way, "mix", overrides) for way, overrides in ways.items()}
        makers |= {"plain_default": partial(self._plain, True), "plain": partial(self._plain, False)}
        for way, make in makers.items():
            try:
                self._find(way, make)
            except Exception as error:  # one way that fails must not cost the others
                errors[way] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        measured = {way: found for way, found in self.ways.items() if way in (*makers, "compiled")}
        medians, taken = in_turn({way: _timed(found) for way, found in measured.items()}, rounds, until)
        answer: dict[str, dict[str, Any]] = {
            way: {"s": medians[way], "batch": found.batch, "mib": found.mib, "first_s": found.first}
            for way, found in measured.items()
        }
        patch = self._fixed(None).batch.clean.shape[-1]
        difference = self._difference(*ALIKE)
        for way in set(answer) & set(self.trainings):
            answer[way].update(self.trainings[way].facts())
        return {"ways": answer, "errors": errors, "rounds": taken, "patch": patch, "difference": difference}

    def _settle(self, way: str) -> None:
        """Steps in which a training decides on CUDA graphs by what it has seen; where steps are long, none pays."""
        found = self.ways.get(way)
        if found and found.step < SHORT:
            found.block(SETTLING)
            _reset_peak(self.device)
            found.block(2)
            found.mib = _peak(self.device) - found.held

    def data(self, seconds: float, rounds: int) -> Answer:
        """A step with its own batches against one on a fixed batch, of one and the same training."""
        way = "compiled" if "compiled" in self.trainings else list(self.trainings)[-1]
        training = self.trainings[way]
        fixed = Fixed(training.batches(training.step))
        own = Batches(self.bench.pools, training.config, self.device)
        ways = {"fixed": Way(training, fixed), "own": Way(training, own)}
        found = {name: _timed(_found(taken, training)) for name, taken in ways.items()}
        return {"way": way, **_compared(found, seconds, rounds)}

    def art(self, seconds: float, rounds: int, overrides: Sequence[str]) -> Answer:
        """A step with Art against one with mix; the mean over two trainings of each, since two of one strategy differ
        (where their memory is)."""
        pairs = {strategy: (f"{strategy} 1", f"{strategy} 2") for strategy in ("mix", "art")}
        for number in (0, 1):
            for strategy, ways in pairs.items():
                self._find(ways[number], partial(self._ours, ways[number], strategy, overrides))
                self._settle(ways[number])
        ways = {way: _timed(self.ways[way]) for pair in pairs.values() for way in pair}
        answer = _compared(ways, seconds, rounds)
        answer["medians"] = {name: sum(answer["medians"][way] for way in pair) / 2 for name, pair in pairs.items()}
        return answer

    def _find(
        self, way: str, make: Callable[[int | None], tuple[Callable[[], object], Found]], patient: bool = False
    ) -> None:
        """Take a way's first steps, with the largest batch that fits: the recipe's, or half of it, a quarter, ..."""
        batch: int | None = None
        retries = RETRIES if patient else 0
        while True:
            try:
                self.ways[way] = self._first_steps(*make(batch), COMPARED if way in ALIKE else 2)
                return
            except torch.OutOfMemoryError:
                pass  # the frames that hold tensors are gone once this is left
            self.trainings.pop(way, None)
            _clear(self.device)
            if retries:
                retries -= 1
                time.sleep(PAUSE)
                continue
            batch = (batch or self._fixed_size()) // 2
            if not batch:
                raise RuntimeError("not even one image fits into the device's memory")

    def _first_steps(self, step: Callable[[], object], found: Found, steps: int) -> Found:
        rhythm = step.training.rhythm if isinstance(step, Way) else None
        every = rhythm.every if rhythm else 1
        if rhythm:
            rhythm.every = 1
        wait(self.device)
        started = time.perf_counter()
        step()
        wait(self.device)
        found.first = time.perf_counter() - started
        _reset_peak(self.device)
        times: list[float] = []
        for _ in range(steps - 1):
            started = time.perf_counter()
            step()
            wait(self.device)
            times.append(time.perf_counter() - started)
        found.step, found.mib = median(times), _peak(self.device) - found.held
        if rhythm:
            rhythm.flush()
            found.losses, rhythm.every = rhythm.table()["loss"].tolist(), every
        return found

    def _ours(
        self, way: str, strategy: str, overrides: Sequence[str], batch: int | None
    ) -> tuple[Callable[[], object], Found]:
        held = _held(self.device)
        sizes = [] if batch is None else [f"train.batch={batch}"]
        training = self.bench.training(
            self.name, strategy, self.size, *self.overrides, *sizes, *overrides, profile=self.profile
        )
        self.trainings[way] = training
        taken = Way(training, self._fixed(training) if batch is None else Fixed(training.batches(training.step)))
        return taken, Found(taken.block, training.config.train.batch, held)

    def _plain(self, tf32: bool, batch: int | None) -> tuple[Callable[[], object], Found]:
        data, held = self._fixed(None).batch, _held(self.device)
        size = batch or len(data.tasks)
        network = network_of(self.name, self.size, self.device)
        second = None if data.second is None else data.second[:size]
        step = plain.stepper(
            network, data.degraded[:size], data.clean[:size], data.tasks[:size], len(data.counts), second
        )

        def as_written() -> None:
            torch.set_float32_matmul_precision("highest")  # PyTorch's default, as is the next
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = False, tf32
            step()

        def timed(steps: int) -> float:
            return block(as_written, self.device, steps, _warm(self.device, steps))

        return as_written, Found(timed, size, held)

    def _fixed(self, training: Training | None) -> Fixed:
        """The one batch of all ways."""
        if self.fixed is None:
            training = training or self.bench.training(
                self.name, "mix", self.size, *self.overrides, profile=self.profile
            )
            self.fixed = Fixed(training.batches(training.step))
        return self.fixed

    def _fixed_size(self) -> int:
        return len(self._fixed(None).batch.tasks)

    def _difference(self, one: str, other: str) -> float | None:
        """How far the losses of two ways' first steps lie apart, relative to them."""
        if one not in self.ways or other not in self.ways or self.ways[one].batch != self.ways[other].batch:
            return None
        first, second = (torch.tensor(self.ways[way].losses) for way in (one, other))
        present = second.isfinite()  # of tasks that the batch has
        return float(((first - second).abs() / second.abs())[present].max())


def _timed(found: Found) -> Callable[[], float]:
    steps = max(1, min(MOST_STEPS, round(BLOCK_SECONDS / max(found.step, 1e-4))))
    return partial(found.block, steps)


def _found(way: Way, training: Training) -> Found:
    """Of a training whose first steps are taken."""
    return Found(way.block, training.config.train.batch, step=way.block(3))


def _compared(ways: dict[str, Callable[[], float]], seconds: float, rounds: int) -> Answer:
    medians, taken = in_turn(ways, rounds, time.monotonic() + seconds)
    return {"medians": medians, "rounds": taken}


def _make_room(device: torch.device, most: float = ROOM) -> bool:
    """Give cached memory back where it is more than a part of the device's, so that no way waits for another's; whether
    it was."""
    if device.type != "cuda":
        return False
    full = torch.cuda.memory_reserved(device) > most * torch.cuda.get_device_properties(device).total_memory
    if full:
        torch.cuda.empty_cache()
    return full


def _clear(device: torch.device) -> None:
    """Give back all memory that no tensor in use has; trainings that are done with hold each other in cycles."""
    gc.collect()
    _make_room(device, 0)


def _warm(device: torch.device, steps: int) -> int:
    """Steps to be taken before those that are timed: one, but where steps are long and their memory is still there."""
    return 1 if _make_room(device) or steps > 1 else 0


def _held(device: torch.device) -> float:
    """MiB of tensors at the moment; 0 on a CPU, where nothing counts them."""
    return torch.cuda.memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0
