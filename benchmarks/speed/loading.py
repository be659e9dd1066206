"""What data costs: patches a second from the cache over the field's loader, and their share of a training step."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.config.configuration import resolve
from benchmarks.data.batches import Batch, Batches
from benchmarks.data.images import open_images
from benchmarks.data.pools import Pool
from benchmarks.data.procedural import training_set
from benchmarks.execution.timing import interleaved
from benchmarks.speed import plain
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure
from benchmarks.training.loop import Training

BATCH, PATCH = 32, 128
SIDES = (321, 481)  # of BSD400's images
DRAWN = 48


def patches(bench: Bench, root: Path | None, rounds: int) -> Iterator[Measure]:
    """Patches of 128x128 a second in batches of 32, in one thread, from files in the system's cache.

    Args:
        bench: its folder holds the files.
        root: a folder with BSD400, for denoising; without one, drawn images of that size. Pairs of PNG files are drawn.
        rounds: of each way.
    """
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    clean = sorted((root / "BSD400").glob("*.*")) if root and (root / "BSD400").is_dir() else _drawn(folder, "jpg")
    origin = f"{len(clean)} images of BSD400" if root else f"{len(clean)} drawn images"
    noise, rain = (task for task in bench.setting.tasks if task.name in ("denoise_25", "derain"))
    images, _ = open_images(clean, bench.folder / "cache", "clean")
    assert noise.severity is not None  # of denoise_25
    plainly = plain.batches(plain.CleanFolder(clean, PATCH, noise.severity), BATCH)
    ours = _batches(Pool(noise, [path.name for path in clean], images), bench)
    yield _compared(f"denoising, {origin}", plainly, ours, ">= 6", rounds)
    pairs = list(zip(_drawn(folder / "input", "png", seed=1), _drawn(folder / "target", "png"), strict=True))
    inputs, targets = (
        open_images(files, bench.folder / "cache", title)[0]
        for files, title in zip(zip(*pairs, strict=True), ("input", "target"), strict=True)
    )
    plainly = plain.batches(plain.PairedFolders(pairs, PATCH), BATCH)
    ours = _batches(Pool(rain, [path.name for path, _ in pairs], targets, inputs), bench)
    yield _compared(f"pairs of PNG, {len(pairs)} drawn", plainly, ours, ">= 30", rounds)


def _compared(case: str, plainly: Iterator[object], ours: Iterator[Batch], goal: str, rounds: int) -> Measure:
    medians = interleaved({"plain": lambda: next(plainly), "ours": lambda: next(ours)}, rounds, warm=3)
    speeds = {f"{name}_patches_per_s": BATCH / seconds for name, seconds in medians.items()}
    return Measure("loading", case, medians["plain"] / medians["ours"], goal, speeds, rounds)


def _batches(pool: Pool, bench: Bench) -> Iterator[Batch]:
    sizes = (f"train.batch={BATCH}", f"train.patch={PATCH}", "data.mixing=shuffled")
    batches = Batches([pool], resolve(bench.setting, "transweather", "mix", overrides=sizes), bench.device)
    return (batches(step) for step in count())


def _drawn(folder: Path, kind: str, seed: int = 0) -> Sequence[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    scenes, _ = training_set(DRAWN, max(SIDES), seed=seed)
    paths = [folder / f"{number}.{kind}" for number in range(DRAWN)]
    for path, scene in zip(paths, np.asarray(scenes), strict=True):
        Image.fromarray(scene[: SIDES[0]]).save(path)
    return paths


def share(bench: Bench, baselines: Sequence[str], rounds: int) -> Iterator[Measure]:
    """A training step on a fresh batch over the same on a fixed one, embedded three_task."""
    for baseline in baselines:
        ways = {
            "fixed": bench.stepper(bench.training(baseline, "mix")),
            "ours": partial(_step, bench.training(baseline, "mix")),
        }
        medians = interleaved(ways, rounds, warm=2)
        values = {f"{name}_ms": 1000 * seconds for name, seconds in medians.items()}
        case, ratio = f"step with data over fixed batch, {baseline} tiny", medians["ours"] / medians["fixed"]
        yield Measure("data", case, ratio, "<= 1.03", values, rounds)


def _step(training: Training) -> None:
    """A step as the training loop takes it."""
    training.update(training.batches(training.step))
