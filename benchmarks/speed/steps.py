"""What a strategy costs: its training step over that of mix."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import torch

import art
from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.sections import DataConfig
from benchmarks.data import sources
from benchmarks.speed.timing import Measure, interleaved
from benchmarks.training.loop import Training
from results import Run

SETTING = "three_task"


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

    def training(self, baseline: str, strategy: str, size: str = "tiny", *overrides: str) -> Training:
        """A training past its warm-up, as a demo run's with the ``overrides``."""
        config = resolve(self.setting, baseline, strategy, size=size, overrides=overrides)
        torch.set_num_threads(config.train.threads)
        training = Training(config, self.pools, Run(Path(tempfile.mkdtemp(dir=self.folder))), self.device)
        training.step = config.train.steps // 2
        return training

    def stepper(self, training: Training):
        """A call that makes one update on a fixed batch, and waits for it."""
        batch = training.batches(training.step)

        def step() -> None:
            training.update(batch)
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return step


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
    """Step time of every strategy over mix's, on a fixed batch; each the mean over ``copies`` trainings, for two of the
    same strategy differ by a percent (where their memory lies)."""
    for baseline in baselines:

        def steppers(spec: str, baseline: str = baseline) -> dict[str, Callable[[], None]]:
            trainings = (bench.training(baseline, spec, size, *overrides) for _ in range(copies))
            return {f"{spec} {number}": bench.stepper(training) for number, training in enumerate(trainings)}

        mix = steppers("mix")
        for spec in specs:
            it = steppers(spec)
            medians = interleaved(mix | it, rounds, warm=2)
            means = [1000 * mean(medians[way] for way in ways) for ways in (mix, it)]
            values = dict(zip(("mix_ms", "ours_ms"), means, strict=True))
            ratio = values["ours_ms"] / values["mix_ms"]
            yield Measure(what, f"{spec} over mix, {baseline} {size}", ratio, goal(spec), values, rounds)


def goal(spec: str) -> str:
    """Of the step's ratio: Art and other strategies that look at task losses only must not be felt."""
    name, _ = art.parse(spec)
    known = art.entries().get(name)
    return "<= 1.01" if name == "art" else "<= 1.02" if known and known.cost == "losses" else ""
