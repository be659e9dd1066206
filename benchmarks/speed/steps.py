"""What a strategy costs: its training step over that of mix."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import art
from benchmarks import settings
from benchmarks.config import DataConfig, resolve
from benchmarks.data import sources
from benchmarks.speed.timing import Measure, interleaved
from benchmarks.training import Training
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
        self.pools = sources.prepare(settings.load(SETTING), DataConfig(), (), folder / "cache").train

    def training(self, baseline: str, strategy: str, size: str = "tiny", *overrides: str) -> Training:
        """A training past its warm-up, as a demo run's with the ``overrides``."""
        config = resolve(SETTING, baseline, strategy, size=size, overrides=overrides)
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
    what="strategies",
) -> Iterator[Measure]:
    """Step time of every strategy over mix's, on a fixed batch."""
    for baseline in baselines:
        mix = bench.stepper(bench.training(baseline, "mix", size, *overrides))
        for spec in specs:
            training = bench.training(baseline, spec, size, *overrides)
            medians = interleaved({"mix": mix, "it": bench.stepper(training)}, rounds, warm=2)
            values = {"mix_ms": 1000 * medians["mix"], "ours_ms": 1000 * medians["it"]}
            ratio = medians["it"] / medians["mix"]
            yield Measure(what, f"{spec} over mix, {baseline} {size}", ratio, goal(spec), values, rounds)


def goal(spec: str) -> str:
    """Of the step's ratio: Art and other strategies that look at task losses only must not be felt."""
    name, _ = art.parse(spec)
    known = art.entries().get(name)
    return "<= 1.01" if name == "art" else "<= 1.02" if known and known.cost == "losses" else ""
