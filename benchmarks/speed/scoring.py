"""What evaluation costs: images restored and scored a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import baselines
from benchmarks.config import protocols
from benchmarks.config.data_sets import known
from benchmarks.config.sections import DataConfig
from benchmarks.data import layouts, sources
from benchmarks.data.images import open_images
from benchmarks.data.pools import TestPool
from benchmarks.execution.timing import interleaved
from benchmarks.scoring.scores import evaluate
from benchmarks.speed import plain
from benchmarks.speed.steps import Bench
from benchmarks.speed.timing import Measure

IMAGES = 8  # of every test set


def evaluations(
    bench: Bench, names: Sequence[tuple[str, str]], root: Path | None, rounds: int, threads: int
) -> Iterator[Measure]:
    """Scoring denoising at three noise levels, the degraded inputs too: on CBSD68 below ``root``, or on the embedded
    photographs."""
    torch.set_num_threads(threads)
    pools, files, origin = _pools(bench, root)
    for name, size in names:
        torch.manual_seed(0)
        network = baselines.build(name, size).eval().to(bench.device)
        scores: dict[str, list[float]] = {}
        ways = {
            "plain": lambda network=network, scores=scores: scores.update(plain=_plainly(network, pools, files)),
            "ours": lambda network=network, scores=scores: scores.update(ours=_ours(network, pools, bench.device)),
        }
        medians = interleaved(ways, rounds)
        images = sum(len(pool.names) for pool in pools)
        values = {f"{way}_images_per_s": images / seconds for way, seconds in medians.items()}
        values["largest_difference_db"] = float(np.abs(np.subtract(scores["plain"], scores["ours"])).max())
        ratio = medians["plain"] / medians["ours"]
        yield Measure("evaluation", f"{name} {size}, {origin} at three levels", ratio, ">= 2", values, rounds)


def _pools(bench: Bench, root: Path | None) -> tuple[list[TestPool], list[Path], str]:
    """The pools of the three levels, the files of their images (none of the embedded ones), and what they are."""
    tasks = [task for task in bench.setting.tasks if task.degradation == "noise"]
    located = layouts.locate(known().get("CBSD68"), root) if root else None
    if not located:
        tests = sources.prepare(bench.setting, DataConfig(), (), bench.folder / "cache").tests
        return [pool for pool in tests if pool.task in tasks], [], f"{len(tests[0].names)} embedded photographs"
    files = [pair.target for pair in located.pairs[:IMAGES]]
    images, _ = open_images(files, bench.folder / "cache", "CBSD68")
    names = [path.name for path in files]
    pools = [TestPool(task, names, images, dataset=task.test[0].name) for task in tasks]
    return pools, files, f"{len(files)} images of CBSD68"


def _ours(network: baselines.Network, pools: Sequence[TestPool], device: torch.device) -> list[float]:
    rows, _ = evaluate(network, pools, "airnet_rgb", device)
    return [float(row["value"]) for row in rows if row["metric"] == "psnr"]


def _plainly(network: baselines.Network, pools: Sequence[TestPool], files: Sequence[Path]) -> list[float]:
    """Every image in turn: decoded by Pillow, degraded, restored by the plain network, scored by scikit-image."""
    scores: list[float] = []
    for pool in pools:
        for number in range(len(pool.names)):
            if files:
                np.array(Image.open(files[number], formats=plain.KINDS).convert("RGB"))
            degraded, clean = pool.pair(number, protocols.get("airnet_rgb").multiple)
            with plain.plainly(), torch.no_grad():
                restored = network.restore(degraded[None])[0]
            scores.append(plain.psnr_ssim(restored, clean)[0])
            plain.psnr_ssim(degraded, clean)
    return scores
