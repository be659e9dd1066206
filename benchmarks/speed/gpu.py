"""The GPU table in one sitting: ``python -m benchmarks.speed gpu --csv results/measured/speed-gpu.csv``.

Every part is measured in a process of its own (:mod:`benchmarks.speed.workers`), so that what fails, or takes too long,
costs its own rows only; those are named as not measured, with the reason.

Compiling is done first, for all networks at once, and only what has nothing to do with time is checked meanwhile: steps
of small kernels are as fast as the host launches them, so that a busy host would falsify them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import baselines
from benchmarks.config.errors import UserError
from benchmarks.speed import gpu_many, plain
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure
from benchmarks.speed.workers import Answer, Failed, Worker

WHATS = {
    "gpu limits": "what the device can do",
    "gpu step": "a training step in images a second, ours over the field's",
    "gpu memory": "peak memory of a training step, ours over the field's",
    "gpu data": "a training step with its data over one on a fixed batch",
    "gpu art": "a training step with Art over one with mix",
    "gpu many": "tiny trainings at once on the GPU over one CPU core",
    "gpu scoring": "scoring, the field's one-image loop over ours",
    "gpu logging": "share of rhythm and checkpoints in a training's time",
    "gpu checks": "whether the GPU computes the same",
}
NETWORKS = ("transweather", "promptir", "restormer", "nafnet", "airnet")  # the most important first
WITH_GOAL = ("transweather", "promptir", "restormer", "nafnet")
WITH_DATA = ("transweather", "promptir")
OFF = ("train.compile=off", "train.graphs=off")
WAYS: Mapping[str, tuple[str, ...]] = {
    precision: (f"train.precision={precision}", *OFF) for precision in ("fp32", "tf32", "bf16")
}
COMPILED = ("train.precision=bf16", "train.compile=on")
NAMED = {"compiled": "bf16 compiled", "plain": "the field's, fp32", "plain_default": "the field's, PyTorch's defaults"}
PRODUCT = {"plain": "fp32", "plain_default": "tf32", "compiled": "bf16"}  # the precision whose product is its limit
GOALS = {"compiled": ">= 4"}
IMAGES_GOAL = {"promptir": ">= 110"}  # images a second
PATCH = 128
COMPILE_SHARE = 0.4  # of the sitting: longer none may compile
LIMITS_SECONDS, CHECKS_SECONDS = 60.0, 150.0
MANY_COUNTED = 30.0  # of the part of many trainings, after all have begun
SCORING_ROUND, SCORING_LEAVES = 25.0, 110.0  # that a round of scoring takes, and what it leaves to the parts after it


@dataclass(frozen=True)
class Plan:
    """What the sitting is about; the tests take less.

    Attributes:
        names: of the networks, the most important first.
        size: of the networks.
        bench: profile and overrides of every training.
        ways: overrides of each way of ours that is not compiled.
        compiled: overrides of the compiled way; none for no such way.
        network_seconds: that a network's rows need, and those of its data.
        part_seconds: that each of the other parts needs at least.
    """

    names: Sequence[str] = NETWORKS
    size: str = "paper"
    bench: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ways: Mapping[str, Sequence[str]] = field(default_factory=lambda: WAYS)
    compiled: Sequence[str] = COMPILED
    network_seconds: float = 25.0
    data_seconds: float = 8.0
    part_seconds: Mapping[str, float] = field(
        default_factory=lambda: {"gpu art": 30.0, "gpu many": 60.0, "gpu scoring": 40.0, "gpu logging": 25.0}
    )


@dataclass(frozen=True)
class Part:
    """Rows that come together: ``run`` is given the seconds that are left, of which it needs some at least."""

    what: str
    case: str
    seconds: float
    run: Callable[[float], Iterator[Measure]]


class Sitting:
    """One filling of the table.

    Args:
        folder: for files.
        device: as ``--device`` names it.
        seconds: that all of it may take.
        rounds: of each way.
        plan: what is measured.
    """

    def __init__(self, folder: Path, device: str, seconds: float, rounds: int, plan: Plan | None = None):
        self.folder, self.device, self.rounds, self.plan = folder, device, rounds, plan or Plan()
        self.began = time.monotonic()
        self.until = self.began + seconds
        self.compiled_until = self.began + COMPILE_SHARE * seconds
        self.rates: dict[str, float] = {}  # of the matrix product, operations a second by precision
        self.work: dict[str, float] = {}  # operations of a training step for one image of PATCH pixels
        self.stations: dict[str, Worker] = {}
        self.uncompiled: dict[str, str] = {}  # networks, and why they are not

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def rows(self) -> Iterator[Measure]:
        """Every row, as soon as it is there; rows that are not measured too."""
        with ExitStack() as stack:
            limits = self._asked(stack, "limits", device=self.device)  # before anything else keeps the device busy
            Bench(self.folder, torch.device("cpu"))  # draws the images once, for all processes
            self._compile(stack)
            yield from self._answered(limits, "gpu limits", LIMITS_SECONDS)
            arguments = {"folder": str(self.folder), "device": self.device, "names": list(self.plan.names)}
            checks = self._asked(stack, "checks", **arguments)
            yield from self._answered(checks, "gpu checks", CHECKS_SECONDS)
            self.work = {name: operations(name, self.plan.size, PATCH) for name in self.plan.names}
            self._await_compiled(stack)
            for part in self._parts(stack):
                yield from self._taken(part)

    def _parts(self, stack: ExitStack) -> Iterator[Part]:
        """What is timed, the most important first."""
        plan = self.plan
        *main, last = plan.names if len(plan.names) > 1 else (*plan.names, "")
        for name in main:
            yield self._network_part(name)
        for what, run in (("gpu many", self._many), ("gpu scoring", self._scoring), ("gpu art", self._art)):
            yield Part(what, WHATS[what], plan.part_seconds[what], run)
        if last:
            yield self._network_part(last)
        what = "gpu logging"

        def logging(left: float) -> Iterator[Measure]:
            worker = self._asked(stack, "logging", folder=str(self.folder), device=self.device)
            return self._answered(worker, what, left)

        yield Part(what, WHATS[what], plan.part_seconds[what], logging)

    def _network_part(self, name: str) -> Part:
        case = f"every way, {name} {self.plan.size}"
        return Part("gpu step", case, self.plan.network_seconds, lambda left: self._network(name, left))

    def _taken(self, part: Part) -> Iterator[Measure]:
        """The rows of a part, or one that says why there are none."""
        if self.left < part.seconds:
            why = f"no time: {max(self.left, 0):.0f} s left of the {part.seconds:.0f} s that it needs"
            yield Measure.none(part.what, part.case, why)
            return
        try:
            yield from part.run(self.left)
        except Failed as error:
            yield Measure.none(part.what, part.case, str(error))

    def _asked(self, stack: ExitStack, do: str, **arguments: object) -> Worker:
        """A station of :mod:`benchmarks.speed.gpu_parts` that was asked."""
        worker = self._worker(stack, "gpu_parts", do)
        worker.tell(do, **arguments)
        return worker

    def _answered(self, worker: Worker, what: str, seconds: float) -> Iterator[Measure]:
        """The rows that it answers."""
        try:
            with worker:
                answer = worker.answer(min(seconds, self.left))
        except Failed as error:
            yield Measure.none(what, WHATS[what], str(error))
            return
        for row in answer["rows"]:
            measure = Measure(**row | {"what": what})
            if what == "gpu limits" and "TFLOP" in measure.case:
                self.rates[measure.case.split(", ")[1]] = measure.ratio * 1e12
            yield measure

    def _worker(self, stack: ExitStack, module: str, name: str) -> Worker:
        variables = {  # an empty cache, so that the seconds are those of compiling
            "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(self.folder / "inductor")),
            "TORCHINDUCTOR_COMPILE_THREADS": "3",
        }
        return stack.enter_context(Worker(module, self.folder / f"{module}-{name}.log", variables))

    def _compile(self, stack: ExitStack) -> None:
        """Begin to compile every network, each in its own process."""
        for name in self.plan.names:
            self._prepare(stack, name, self.plan.compiled)

    def _prepare(self, stack: ExitStack, name: str, compiled: Sequence[str]) -> None:
        self.stations[name] = self._worker(stack, "gpu_network", name)
        arguments = {"folder": str(self.folder), "device": self.device, "name": name, "size": self.plan.size}
        self.stations[name].tell("prepare", **arguments, compiled=list(compiled), **self.plan.bench)

    def _await_compiled(self, stack: ExitStack) -> None:
        """Wait for the compilations; where one fails or takes too long, begin again without it."""
        for name in self.plan.names:
            try:
                self.stations[name].answer(self.compiled_until - time.monotonic())
            except Failed as error:
                self.uncompiled[name] = f"not compiled: {error}"
                self.stations[name].stop()
        for name in self.uncompiled:
            self._prepare(stack, name, ())
        for name in self.uncompiled:
            try:
                self.stations[name].answer(min(60.0, self.left))
            except Failed as error:
                self.uncompiled[name] += f"; nor begun without: {error}"

    def _network(self, name: str, left: float) -> Iterator[Measure]:
        plan, station = self.plan, self.stations[name]
        ways = {way: list(overrides) for way, overrides in plan.ways.items()}
        seconds = min(plan.network_seconds, left)
        with station:  # it ends with its rows, and its memory is free for the next
            answer = station.ask(min(left, 4 * seconds), "measure", seconds=seconds, rounds=self.rounds, ways=ways)
            yield from self._steps(name, answer)
            if name in WITH_DATA and self.left > plan.data_seconds:
                asked = {"seconds": plan.data_seconds, "rounds": 4 * self.rounds}
                yield from self._data(name, station.ask(min(self.left, 60.0), "data", **asked))

    def _steps(self, name: str, answer: Answer) -> Iterator[Measure]:
        """Rows of a network's ways: over the field's step in fp32, and once over the field's with default settings."""
        ways: dict[str, Any] = answer["ways"]
        errors, rounds = dict[str, str](answer["errors"]), int(answer["rounds"])
        if name in self.uncompiled:
            errors["compiled"] = self.uncompiled[name]
        work = self.work[name] * (answer["patch"] / PATCH) ** 2
        for way, why in errors.items():
            yield Measure.none("gpu step", f"{name} {self.plan.size}, {NAMED.get(way, way)}", why, GOALS.get(way, ""))
        reference = ways.get("plain")
        for way, found in ways.items():
            case = self._case(name, way, found, answer["patch"])
            speed = found["batch"] / found["s"]
            goal = GOALS.get(way, "") if name in WITH_GOAL else ""
            precision = PRODUCT.get(way, way)
            values = {"ms": 1000 * found["s"], "images_per_s": speed, "tflop_per_s": speed * work / 1e12}
            values["share_of_product"] = speed * work / self.rates.get(precision, math.nan)
            values |= {"first_step_s": found["first_s"]} | {
                key: float(found[key]) for key in ("recompilations",) if way == "compiled" and key in found
            }
            if reference:
                ratio = speed * reference["s"] / reference["batch"]
                yield Measure("gpu step", case, ratio, goal, values, rounds)
            else:
                yield Measure("gpu step", f"{case}, images a second, without the field's", speed, "", values, rounds)
            if way == "compiled" and name in IMAGES_GOAL:
                yield Measure("gpu step", f"{case}, images a second", speed, IMAGES_GOAL[name], {}, rounds)
            if reference and found["batch"] == reference["batch"] and found["mib"] > 0:
                memory = {"mib": found["mib"], "field_mib": reference["mib"]}
                yield Measure("gpu memory", case, found["mib"] / reference["mib"], "", memory, 1)
        if answer["difference"] is not None:
            case = f"losses of the first steps, compiled and not, {name} {self.plan.size}, bf16, relative difference"
            yield Measure("gpu checks", case, answer["difference"], "<= 0.01", {}, 1)

    def _case(self, name: str, way: str, found: Mapping[str, Any], patch: int) -> str:
        graphs = " with CUDA graphs" if found.get("graphs") else ""
        return f"{name} {self.plan.size}, batch {found['batch']}, patch {patch}, {NAMED.get(way, way)}{graphs}"

    def _data(self, name: str, answer: Answer) -> Iterator[Measure]:
        fixed, own = (answer["medians"][way] for way in ("fixed", "own"))
        values = {"fixed_ms": 1000 * fixed, "own_ms": 1000 * own}
        case = f"step with data over fixed batch, {name} {self.plan.size}, {answer['way']}"
        yield Measure("gpu data", case, own / fixed, "<= 1.01", values, answer["rounds"])

    def _art(self, left: float) -> Iterator[Measure]:
        plan = self.plan
        for size, bench in (("tiny", {"profile": "demo"}), (plan.size, plan.bench)):
            with ExitStack() as stack:
                station = self._worker(stack, "gpu_network", f"art-{size}")
                arguments = {"folder": str(self.folder), "device": self.device, "name": NETWORKS[0], "size": size}
                station.ask(min(self.left, 40.0), "prepare", **arguments, **bench)
                asked = {"seconds": left / 8, "rounds": 8 * self.rounds, "overrides": ["train.compile=off"]}
                answer = station.ask(min(self.left, left / 2), "art", **asked)
            mix, ours = (answer["medians"][way] for way in ("mix", "art"))
            values = {"mix_ms": 1000 * mix, "ours_ms": 1000 * ours}
            case = f"art over mix, {NETWORKS[0]} {size}, not compiled"
            yield Measure("gpu art", case, ours / mix, "<= 1.005", values, answer["rounds"])

    def _many(self, left: float) -> Iterator[Measure]:
        try:
            yield from gpu_many.measures(self.folder, self.device, min(90.0, left - MANY_COUNTED))
        except RuntimeError as error:
            raise Failed(str(error)) from error

    def _scoring(self, left: float) -> Iterator[Measure]:
        rounds = round(max(1, min(3, (left - SCORING_LEAVES) // SCORING_ROUND)))
        arguments = {"folder": str(self.folder), "device": self.device, "rounds": min(rounds, self.rounds)}
        with ExitStack() as stack:
            yield from self._answered(self._asked(stack, "scoring", **arguments), "gpu scoring", 5 * SCORING_ROUND)


def operations(name: str, size: str, patch: int) -> float:
    """Floating-point operations of a training step for one image: three times those of the training's forward pass
    (convolutions, matrix products, attention), as the backward pass differentiates by inputs and by weights."""
    image = torch.empty(1, 3, patch, patch, device="meta")
    network = baselines.build(name, size).to("meta").train()
    second = image if baselines.recipe(name, "demo").get("views") == 2 else None
    with plain.plainly(), plain.visible_convolutions(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.training_forward(image, second)
    return 3 * counter.get_total_flops()


def measures(folder: Path, device: torch.device, seconds: float, rounds: int) -> Iterator[Measure]:
    """Fill the table.

    Args:
        folder: for files.
        device: the GPU.
        seconds: that all of it may take.
        rounds: of each way.

    Raises:
        UserError: without a GPU.
    """
    if device.type != "cuda":
        raise UserError(f"benchmarks.speed gpu needs a CUDA device, and this is {device}; its rows stay not measured.")
    yield from Sitting(folder, str(device), seconds, rounds).rows()
