"""What a strategy costs: its training step over that of mix."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import torch

import art
from art.specs import known
from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Profile
from benchmarks.data import sources
from benchmarks.execution.timing import interleaved
from benchmarks.speed.timing import Measure
from benchmarks.training.loop import Training
from results import Run

SETTING = "three_task"
SPECS = {"fixed": "fixed:derain=2", "crmogm": "crmogm:of=art"}  # strategies that need more than their name


class Bench:
    """Trainings on the embedded images of three_task, ready to be timed.

    Args:
        folder: for their files and the images.
        device: where to train.
    """

    def __init__(self, folder: Path, device: torch.device):
        self.folder, self.device = folder, device
        self.setting = settings.load(SETTING)
        self.pools = sources.prepare(self.setting, DataConfig(), (), folder / "cache").train

    def training(
        self, baseline: str, strategy: str, size: str = "tiny", *overrides: str, profile: Profile = "demo"
    ) -> Training:
        """A training past its warm-up, by a profile's recipe with the ``overrides``."""
        config = resolve(self.setting, baseline, strategy, profile=profile, size=size, overrides=overrides)
        torch.set_num_threads(config.train.threads)
        training = Training(config, self.pools, Run(Path(tempfile.mkdtemp(dir=self.folder))), self.device)
        training.step = config.train.steps // 2
        return training

    def stepper(self, training: Training) -> Callable[[], None]:
        """A call that makes one update on a fixed batch, always as the same step, and waits for it."""
        number = training.step
        batch = training.batches(number)

        def step() -> None:
            training.update(batch)
            training.step = number
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return step


def art_over_mix(bench: Bench, rounds: int) -> Iterator[Measure]:
    """The step of Art on TransWeather over that of mix, with many rounds: its goal is one percent."""
    for size, factor in (("tiny", 8), ("paper", 2)):
        yield from strategies(bench, ["transweather"], size, ["art"], factor * rounds, what="art", copies=2)


def every_strategy(bench: Bench, names: Sequence[str] | None, rounds: int) -> Iterator[Measure]:
    """The step of the strategies of these names, by default all, over that of mix; of a few on a larger network too."""
    apart = {name for name, entry in art.entries().items() if entry.apart}  # one network a task: another comparison
    names = names or [SPECS.get(name, name) for name in sorted(art.entries()) if name not in {"mix", *apart}]
    yield from strategies(bench, ["transweather", "nafnet", "airnet"], "tiny", names, rounds)
    few = [name for name in ("art", "famo", "pcgrad", "upgrad") if name in names]
    yield from strategies(bench, ["transweather"], "paper", few, max(rounds // 3, 3), "train.batch=10")


def strategies(
    bench: Bench,
    baselines: Sequence[str],
    size: str,
    specs: Sequence[str],
    rounds: int,
    *overrides: str,
    what: str = "strategies",
    copies: int = 1,
) -> Iterator[Measure]:
    """Step time of every strategy over mix's, on a fixed batch; each the mean over ``copies`` trainings: two of one
    strategy differ by a percent (where their memory is). ``kept``: numbers a parameter that the strategy remembers."""

    def trainings(baseline: str, spec: str) -> dict[str, Training]:
        return {f"{spec} {number}": bench.training(baseline, spec, size, *overrides) for number in range(copies)}

    for baseline in baselines:
        mix = {way: bench.stepper(training) for way, training in trainings(baseline, "mix").items()}
        for spec in specs:
            made = trainings(baseline, spec)
            ours = {way: bench.stepper(training) for way, training in made.items()}
            medians = interleaved(mix | ours, rounds, 2, clock(bench.device))
            mix_ms, ours_ms = (1000 * mean(medians[way] for way in ways) for ways in (mix, ours))
            values = {"mix_ms": mix_ms, "ours_ms": ours_ms, "kept": _kept(next(iter(made.values())))}
            yield Measure(what, f"{spec} over mix, {baseline} {size}", ours_ms / mix_ms, _goal(spec), values, rounds)


def clock(device: torch.device) -> Callable[[], float]:
    """The time of a step: where one thread of the host computes, that which it had a processor, so that other work on
    the machine does not count; else the time that went by."""
    return time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def _kept(training: Training) -> float:
    """Numbers that a strategy keeps from step to step (and in checkpoints) for each parameter of the network."""
    state = [value for value in training.strategy.state_dict().values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() for value in state) / sum(one.numel() for one in training.network.parameters())


def _goal(spec: str) -> str:
    """Of the step's ratio: Art and other strategies that look at task losses only must cost next to nothing."""
    name, _ = art.parse(spec)
    entry = known(spec)
    return "<= 1.01" if name == "art" else "<= 1.02" if entry and entry.cost == "losses" else ""
