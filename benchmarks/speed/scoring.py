"""What evaluation costs: images restored and scored a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import baselines
from benchmarks.config import protocols
from benchmarks.config.data_sets import known
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting, load
from benchmarks.data import layouts, sources
from benchmarks.data.images import open_images
from benchmarks.data.pools import TestPool
from benchmarks.execution.timing import interleaved
from benchmarks.scoring import arithmetic, inputs
from benchmarks.scoring.scores import evaluate
from benchmarks.speed import plain
from benchmarks.speed.steps import SETTING, Bench
from benchmarks.speed.timing import Measure

IMAGES = 8  # of every test set
DRAWN = 16  # on a GPU
PROTOCOL = "airnet_rgb"


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
        ways, scores = _ways(network, pools, files, bench.device)
        medians = interleaved(ways, rounds)
        values, ratio = _compared(medians, scores, pools)
        values["again_images_per_s"] = _images(pools) / medians["again"]
        yield Measure("evaluation", f"{name} {size}, {origin} at three levels", ratio, ">= 2", values, rounds)


def on_gpu(
    folder: Path,
    device: torch.device,
    rounds: int,
    network: tuple[str, str] = ("promptir", "paper"),
    count: int = DRAWN,
    sides: tuple[int, int] = (321, 481),
) -> Iterator[Measure]:
    """Scoring denoising at three noise levels in batches, over the field's loop: one image at a time restored on the
    device by the plain network, in float32 as ours (TF32 off), and scored by scikit-image.

    Args:
        folder: for the images.
        device: where to compute.
        rounds: of each way, three at most: a round of the loop takes many seconds.
        network: baseline and size.
        count: of images, drawn in the sizes of CBSD68, a third of them upright.
        sides: of those that lie, height and width.
    """
    setting, rounds = load(SETTING), min(rounds, 3)
    files = _drawn(folder / "drawn", count, sides)
    pools = _file_pools(setting, files, folder)
    torch.manual_seed(0)
    model = baselines.build(*network).eval().to(device)
    ways, scores = _ways(model, pools, files, device)
    with arithmetic.exact(device):
        ways["again"]()  # both ways have met both sizes
        _plainly(model, _file_pools(setting, [files[0], files[-1]], folder)[:1], [files[0], files[-1]], device)
        halves, in_bf16 = _ways(model, pools, files, device, f"{PROTOCOL}@bf16")
        halves["again"]()
        medians = interleaved({"plain": ways["plain"], "ours": ways["ours"], "bf16": halves["ours"]}, rounds, warm=0)
        alone = _restored_a_second(model, pools[0], device)
    case = f"{' '.join(network)}, {count} drawn images of {sides[0]}x{sides[1]} at three levels"
    values, ratio = _compared(medians, scores, pools)
    values["network_alone_images_per_s"] = alone
    yield Measure("gpu scoring", f"{case}, fp32", ratio, ">= 8", values, rounds)
    values, ratio = _compared(medians | {"ours": medians["bf16"]}, scores | in_bf16, pools)
    yield Measure("gpu scoring", f"{case}, bf16", ratio, "", values, rounds)


def _ways(
    network: baselines.Network,
    pools: Sequence[TestPool],
    files: Sequence[Path],
    device: torch.device,
    protocol: str = PROTOCOL,
) -> tuple[dict[str, Callable[[], None]], dict[str, list[float]]]:
    """The ways to score, and where they put their PSNR: ``plain``, ``ours`` in a new process, and ``again`` in one
    that knows the scores of the degraded images."""
    scores: dict[str, list[float]] = {}

    def ours() -> None:
        inputs.forget()
        again()

    def again() -> None:
        rows, _ = evaluate(network, pools, protocol, device)
        scores["ours"] = [float(row["value"]) for row in rows if row["metric"] == "psnr"]

    def plainly() -> None:
        scores["plain"] = _plainly(network, pools, files, device)

    return {"plain": plainly, "ours": ours, "again": again}, scores


def _compared(
    medians: Mapping[str, float], scores: Mapping[str, Sequence[float]], pools: Sequence[TestPool]
) -> tuple[dict[str, float], float]:
    """What a row says of both ways, and plain over ours."""
    values = {f"{way}_images_per_s": _images(pools) / medians[way] for way in ("plain", "ours")}
    values["largest_difference_db"] = float(np.abs(np.subtract(scores["plain"], scores["ours"])).max())
    return values, medians["plain"] / medians["ours"]


def _images(pools: Sequence[TestPool]) -> int:
    return sum(len(pool.names) for pool in pools)


def _restored_a_second(network: baselines.Network, pool: TestPool, device: torch.device) -> float:
    """Images a second that the network restores in a batch of eight, without anything else: the most there could be."""
    batch = pool.pair(0, protocols.get(PROTOCOL).multiple)[0].expand(8, -1, -1, -1).to(device)
    medians = interleaved({"batch": lambda: network.restore(batch)[:, 0, 0, 0].tolist()}, 3)
    return len(batch) / medians["batch"]


def _pools(bench: Bench, root: Path | None) -> tuple[list[TestPool], list[Path], str]:
    """The pools of the three levels, the files of their images (none of the embedded ones), and what they are."""
    located = layouts.locate(known().get("CBSD68"), root) if root else None
    if not located:
        tests = sources.prepare(bench.setting, DataConfig(), (), bench.folder / "cache").tests
        return (
            [pool for pool in tests if pool.task.degradation == "noise"],
            [],
            f"{len(tests[0].names)} embedded photographs",
        )
    files = [pair.target for pair in located.pairs[:IMAGES]]
    return _file_pools(bench.setting, files, bench.folder), files, f"{len(files)} images of CBSD68"


def _file_pools(setting: Setting, files: Sequence[Path], folder: Path) -> list[TestPool]:
    """These images in each noise level of the setting."""
    images, _ = open_images(files, folder / "cache", "CBSD68")
    tasks = [task for task in setting.tasks if task.degradation == "noise"]
    return [TestPool(task, [path.name for path in files], images, dataset=task.test[0].name) for task in tasks]


def _drawn(folder: Path, count: int, sides: tuple[int, int]) -> list[Path]:
    """Files of smooth random images with some grain."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    files = [folder / f"{number:02}.png" for number in range(count)]
    for number, path in enumerate(files):
        height, width = sides if number < 2 * count / 3 else sides[::-1]
        small = Image.fromarray(chance.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) + chance.normal(
            0, 4, (height, width, 3)
        )
        Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(path)
    return files


def _plainly(
    network: baselines.Network, pools: Sequence[TestPool], files: Sequence[Path], device: torch.device
) -> list[float]:
    """Every image in turn: decoded by Pillow, degraded, restored by the plain network, scored by scikit-image."""
    scores: list[float] = []
    for pool in pools:
        for number in range(len(pool.names)):
            if files:
                np.array(Image.open(files[number], formats=plain.KINDS).convert("RGB"))
            degraded, clean = pool.pair(number, protocols.get(PROTOCOL).multiple)
            with plain.plainly(), torch.no_grad():
                restored = network.restore(degraded[None].to(device))[0].cpu()
            scores.append(plain.psnr_ssim(restored, clean)[0])
            plain.psnr_ssim(degraded, clean)
    return scores
