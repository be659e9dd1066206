"""Write a synthetic run store in the true layout, with numbers one can check by hand.

``python tests/reports/synthetic_store.py FOLDER [leaderboard|fixed|big]`` writes a store to look at reports with.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from results import Run, RunRecord, State, Status
from results.records import MetricFacts
from results.schema import CURVE_COLUMNS

TASKS = ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]
SETS = ["CBSD68-s15", "CBSD68-s25", "CBSD68-s50", "Rain100L", "SOTS-outdoor"]
COUNTS = dict(zip(SETS, [68, 68, 68, 100, 500], strict=True))
INPUTS = dict(zip(SETS, [24.6, 20.2, 14.9, 26.3, 15.4], strict=True))
DISPLAY = {"transweather": "TransWeather", "airnet": "AirNet", "promptir": "PromptIR", "odd_name": "Odd_Name & 100%"}
SPREAD = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
"""Offsets of the images of a set around its mean; they sum to zero."""


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def records(origin: str = "embedded", found: dict[str, int] | None = None, sets: list[str] = SETS) -> list[dict]:
    """``data.json``; ``found`` gives the images found of some sets, all of them by default."""
    real = origin != "embedded"
    train = [
        {"role": "train", "task": "derain", "dataset": "RainTrainL", "found": 200, "expected": 200 if real else None}
    ]
    test = [
        {"role": "test", "task": task, "dataset": name, "found": (found or {}).get(name, COUNTS[name]),
         "expected": COUNTS[name] if real else None}
        for name, task in zip(SETS, TASKS, strict=True) if name in sets
    ]  # fmt: skip
    return [record | {"origin": origin} for record in train + test]


def write_run(
    output: Path,
    baseline: str = "transweather",
    strategy: str = "mix",
    seed: int = 0,
    psnr: dict[str, float] | float | None = None,
    *,
    status: tuple[str, str] = ("done", ""),
    config: dict | None = None,
    data: list[dict] | None = None,
    overrides: tuple[str, ...] = (),
    rhythm: pd.DataFrame | None = None,
    conflict: pd.DataFrame | None = None,
    curve: pd.DataFrame | None = None,
    parameters: dict | None = None,
    metrics: dict[str, MetricFacts] | None = None,
    environment: dict | None = None,
    samples: bool = False,
    age: float = 0,
    setting: str = "three_task",
) -> Run:
    """One run. ``psnr``: mean by test set, or one gain over the input for all; ``None`` writes no scores.

    ``config`` entries such as ``{"size": "paper", "train.steps": 20}`` change the configuration; ``parameters`` are
    the strategy's, resolved; ``metrics``: what is recorded of them;
    ``environment``: beside what every run has; ``age`` (seconds) sets how long ago the run ended.
    """
    resolved = {
        "setting": setting, "baseline": baseline, "strategy": strategy, "seed": seed, "size": "tiny", "profile": "demo",
        "data": {"source": "embedded", "missing": "error", "mixing": "balanced", "fingerprint": "f00"},
        "train": {"steps": 600, "batch": 10, "patch": 64, "lr": 0.001},
        "evaluate": {"protocol": "airnet_rgb"},
    }  # fmt: skip
    for key, value in (config or {}).items():
        *path, last = key.split(".")
        place = resolved
        for name in path:
            place = place[name]
        place[last] = value
    data = data or records()
    recorded = metrics and {name: facts.content() for name, facts in metrics.items()}
    images = {key: value for key, value in resolved["data"].items() if key != "mixing"}  # which is a recipe's own
    shared = [resolved["setting"], resolved["size"], resolved["profile"], images, list(overrides)]
    pair = {key: value for key, value in resolved.items() if key not in ("strategy", "terms")}
    terms = resolved.get("terms", {})  # runs of a race pair with mix
    pair["train"] = resolved["train"] | {key: terms[key] for key in ("steps", "lr") if key in terms}
    run = Run(output / "runs" / setting / baseline / strategy.replace(":", "-") / f"{seed}-{_hash(resolved)[:8]}")
    run.write_status(Status(State.RUNNING))
    run.write_json("config.json", {
        "hash": _hash(resolved), "pair": _hash(pair), "cohort": _hash(shared), "overrides": list(overrides),
        "display": {"setting": "Three degradations: noise, rain, haze", "baseline": DISPLAY.get(baseline, baseline)},
        "config": resolved, "store": 2,
        **{key: value for key, value in (("parameters", parameters), ("metrics", recorded)) if value is not None},
    })  # fmt: skip
    run.write_json("environment.json", {
        "commit": "0123456789abcdef", "device": "cpu", "train_seconds": 61.0, **(environment or {}),
    })  # fmt: skip
    run.write_json("data.json", data)
    if psnr is not None:
        run.write_scores(scores(psnr, data, resolved["evaluate"]["protocol"]))
    if rhythm is not None:
        run.write_rhythm(rhythm)
    if conflict is not None:
        run.write_conflicts(conflict)
    if curve is not None:
        run.write_curve(curve)
    if samples:
        draw_samples(run.folder / "samples", sorted({r["dataset"] for r in data if r["role"] == "test"}), seed)
    run.write_status(Status.of(*status))
    then = (run.folder / "status").stat().st_mtime - age
    os.utime(run.folder / "status", (then, then))
    return run


def renamed(record: RunRecord, strategy: str) -> RunRecord:
    """The record of a run of another strategy, whose name may be no folder's."""
    return record.model_copy(update={"config": record.config.model_copy(update={"strategy": strategy})})


def scores(psnr: dict[str, float] | float, data: list[dict], protocol: str) -> pd.DataFrame:
    """Five images a set around the asked mean; SSIM = PSNR / 40."""
    rows = []
    for record in data:
        name = record["dataset"]
        if record["role"] == "train" or (isinstance(psnr, dict) and name not in psnr):
            continue
        before = INPUTS.get(name, 20.0)
        mean = psnr[name] if isinstance(psnr, dict) else before + psnr
        for i, offset in enumerate(SPREAD):
            for metric, scale in (("psnr", 1.0), ("ssim", 1 / 40)):
                value, given = (mean + offset) * scale, (before + offset) * scale
                rows.append((name, record["task"], f"{i:04d}", protocol, metric, value, given))
    return pd.DataFrame(rows, columns=["dataset", "task", "image", "protocol", "metric", "value", "input_value"])


def learn(gain: float = 0.0, seed: int = 0, steps: int = 600) -> pd.DataFrame:
    """A validation curve that rises to 28 dB and so much more."""
    chance = np.random.default_rng(seed)
    shift = chance.normal(0, 0.3)  # of a seed, the same for every strategy
    rows = [
        (step, task, 2 * step, 0.1 * step, 18 + 10 * (step / steps) ** 0.5 + gain * step / steps + shift)
        for step in range(steps // 20, steps + 1, steps // 20)
        for task in TASKS
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def simulate(
    strategy: str, steps: int = 600, seed: int = 0, tasks: list[str] = TASKS, absent: float = 0.0
) -> pd.DataFrame:
    """A rhythm with the dynamics of the real rules on falling, noisy losses (no network)."""
    generator = np.random.default_rng(seed)
    count = len(tasks)
    start, floor = np.linspace(0.10, 0.30, count), np.linspace(0.02, 0.06, count)
    speed, progress = np.linspace(1.6, 0.6, count), np.zeros(count)
    level, minimum = np.full(count, 0.1), np.full(count, 0.1)
    tau = float(strategy.partition("tau=")[2] or 0.1)
    rows = []
    for step in range(1, steps + 1):
        clean = floor + (start - floor) * np.exp(-progress)
        loss = clean * np.exp(0.22 * generator.standard_normal(count))
        present = generator.random(count) >= absent
        pace = loss / level
        weight = np.full(count, 1 / count)
        if strategy.startswith("art"):
            score = pace * np.log10(minimum) / np.log10(loss) / tau
            weight = np.where(present, np.exp(score - score.max()), 0)
            weight = weight / max(weight.sum(), 1e-12)
        progress += speed * 5 * weight * 6 / steps
        level = np.where(present, 0.01 * loss + 0.99 * level, level)
        minimum = np.where(present, np.minimum(minimum, loss), minimum)
        weight = np.full(count, math.nan) if strategy == "pcgrad" else weight
        for k, task in enumerate(tasks):
            seen = present[k]
            rows.append((step, task, loss[k] if seen else math.nan, level[k], pace[k] if seen else math.nan, weight[k]))
    return pd.DataFrame(rows, columns=["step", "task", "loss", "running", "pace", "weight"])


def probe(strategy: str = "mix", steps: int = 600, seed: int = 0, tasks: list[str] = TASKS) -> pd.DataFrame:
    """Probed gradients: tasks as directions that turn away from each other, the last task against the others."""
    generator = np.random.default_rng(seed)
    count = len(tasks)
    apart = {"mix": 0.9, "art": 1.3}.get(strategy, 0.5)
    rows = []
    for step in np.unique(np.linspace(1, steps, 12).round().astype(int)):
        turned = apart * (0.4 + 0.8 * step / steps) * (np.arange(count) - (count - 1) / 2) * 0.7
        gradients = np.stack([np.cos(turned), np.sin(turned)], axis=1)
        gradients = np.concatenate([gradients, 0.25 * generator.standard_normal((count, 4))], axis=1)
        gradients *= np.geomspace(0.3, 1.5, count)[:, None] * (0.3 + np.exp(-3 * step / steps))
        norms = np.linalg.norm(gradients, axis=1)
        cosines = gradients @ gradients.T / np.outer(norms, norms)
        rows += [(int(step), a, b, cosines[i, j], norms[i]) for i, a in enumerate(tasks) for j, b in enumerate(tasks)]
    return pd.DataFrame(rows, columns=["step", "task", "other", "cosine", "norm"])


def draw_samples(folder: Path, datasets: list[str], seed: int = 0, size: int = 96) -> None:
    """Strips as the grid leaves them: degraded, restored and clean picture side by side."""
    folder.mkdir(parents=True)
    across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    generator = np.random.default_rng(seed)
    for place, name in enumerate(datasets):
        bands = np.sin(20 * across * (1 + place) + 5 * down**2)
        clean = np.stack([across, 0.5 + 0.4 * bands, 1 - down], axis=2)
        noise = generator.standard_normal(clean.shape)
        parts = [np.clip(clean + sigma * noise, 0, 1) for sigma in (0.25, 0.08, 0)]
        Image.fromarray((255 * np.concatenate(parts, axis=1)).astype(np.uint8)).save(folder / f"{name}.png")


def leaderboard(output: Path) -> None:
    """Twelve strategies, two baselines, three seeds."""
    names = ["mix", "equal", "art", "art:tau=1", "art:tau=10", "pcgrad", "cagrad", "famo", "dwa", "nash_mtl",
             "mypkg.optimizers:Mine:gamma=0.5:rate=0.01", "uw"]  # fmt: skip
    generator = np.random.default_rng(1)
    for baseline in ("transweather", "airnet"):
        for place, strategy in enumerate(names):
            for seed in range(3):
                psnr = {
                    n: INPUTS[n] + 3 + 0.1 * ((5 * place) % 12 - 5) + 0.1 * generator.standard_normal() for n in SETS
                }
                failed = (baseline, strategy) == ("airnet", "nash_mtl")
                write_run(output, baseline, strategy, seed, None if failed else psnr,
                          status=("failed", "the solver found no solution") if failed else ("done", ""),
                          rhythm=simulate(strategy, seed=seed))  # fmt: skip


def respond(weights: np.ndarray, baseline: int = 0) -> np.ndarray:
    """PSNR of the tasks (N, K) to fixed weights (N, K) with sum 1: each gains by its own weight, less and less."""
    ample = np.log10(weights * len(TASKS))
    reach = np.array([0.5, 0.6, 0.7, 2.2, 2.8]) * (1 + 0.3 * baseline)
    level = np.array([INPUTS[name] for name in SETS]) + np.array([8.5, 9.5, 12.0, 9.0, 13.0]) + 0.8 * baseline
    return level + reach * ample - 0.5 * (ample - 0.2) ** 2


def write_fixed(output: Path, count: int = 16, seeds: int = 3, baselines: tuple[str, ...] = ("transweather",)) -> None:
    """``count`` fixed weightings beside mix, equal and strategies: art is beyond them, pcgrad is one more fixed
    weighting, famo is behind."""
    generator = np.random.default_rng(3)
    drawn = 0.9 * generator.dirichlet(np.ones(len(TASKS)), count) + 0.1 / len(TASKS)
    names = ["fixed:" + ":".join(f"{t}={w / row.min():.3g}" for t, w in zip(TASKS, row, strict=True)) for row in drawn]
    even = np.full((1, len(TASKS)), 1 / len(TASKS))
    useless = 0.9 * generator.dirichlet(np.ones(len(TASKS)), 1) + 0.1 / len(TASKS)
    for place, baseline in enumerate(baselines):
        means = dict(zip(names, respond(drawn, place), strict=True))
        means |= dict.fromkeys(("mix", "equal"), respond(even, place)[0])
        means |= {"art": means["mix"] + 0.8, "pcgrad": respond(useless, place)[0], "famo": means["mix"] - 0.6}
        means |= {"art:tau=1": means["mix"] + 0.1, "cagrad": means["mix"] - 0.1, "dwa": means["mix"] + 0.02}
        for strategy, mean in means.items():
            for seed in range(seeds):
                psnr = dict(zip(SETS, mean + 0.05 * generator.standard_normal(len(SETS)), strict=True))
                curve = learn(float(mean.mean()) - 28, seed, 100) if strategy in (*names, "mix", "equal") else None
                write_run(output, baseline, strategy, seed, psnr, curve=curve)


def fixed(output: Path) -> None:
    """Sixteen fixed weightings, two baselines, three seeds."""
    write_fixed(output, baselines=("transweather", "airnet"))


def big(output: Path) -> None:
    """200 runs with 5,000 images each, to measure a build with: two baselines, twenty strategies, five seeds."""
    generator = np.random.default_rng(2)
    names = ["mix", "art", *(f"art:tau={tau}" for tau in (0.3, 1, 3, 10, 30)), *(f"peer{i}" for i in range(13))]
    index = pd.DataFrame(
        [(name, task, f"{name}_{i:05d}", "airnet_rgb") for name, task in zip(SETS, TASKS, strict=True)
         for i in range(1000)], columns=["dataset", "task", "image", "protocol"],
    )  # fmt: skip
    inputs = index["dataset"].map(INPUTS) + generator.standard_normal(len(index))
    rhythms = {name: simulate(name) for name in ("mix", "art")}
    for baseline in ("transweather", "airnet"):
        for place, strategy in enumerate(names):
            for seed in range(5):
                run = write_run(output, baseline, strategy, seed, rhythm=rhythms["art" if place else "mix"],
                                conflict=probe(seed=seed), samples=seed == 0, parameters={})  # fmt: skip
                value = inputs + 3 + 0.05 * place + 0.3 * generator.standard_normal(len(index))
                psnr = index.assign(metric="psnr", value=value, input_value=inputs)
                ssim = index.assign(metric="ssim", value=value / 40, input_value=inputs / 40)
                run.write_scores(pd.concat([psnr, ssim], ignore_index=True))


def showcase(output: Path) -> None:
    """Several baselines, strategies and seeds, a collapsed and a failed run, two cohorts."""
    generator = np.random.default_rng(0)
    means = {"mix": 3.0, "art": 2.2, "art:tau=1": 3.1, "art:tau=10": 3.2, "pcgrad": 3.3}
    for baseline, extra in (("transweather", 0.0), ("airnet", 0.6)):
        for strategy, gain in means.items():
            for seed in range(3):
                psnr = {name: INPUTS[name] + gain + extra + 0.2 * generator.standard_normal() for name in SETS}
                status, rhythm = ("done", ""), simulate(strategy, seed=seed)
                if (baseline, strategy, seed) == ("airnet", "mix", 1):
                    status = ("done", "collapsed: constant output on 5 of 5 test sets")
                    psnr = {name: 4.5 for name in SETS}
                if (baseline, strategy, seed) == ("airnet", "art", 2):
                    status, psnr = ("failed", "loss is NaN at step 212"), None
                tau = float(strategy.partition("tau=")[2] or 0.1)
                parameters = {"tau": tau, "momentum": 0.01, "released": False} if strategy.startswith("art") else {}
                write_run(output, baseline, strategy, seed, psnr, status=status, rhythm=rhythm, samples=seed == 0,
                          conflict=probe(strategy, seed=seed), parameters=parameters)  # fmt: skip
    for strategy in ("mix", "art"):
        psnr = {name: INPUTS[name] + means[strategy] + 0.2 * generator.standard_normal() for name in SETS}
        data = records("real", {"Rain100L": 2})
        data[-1]["origin"] = "synthesised"
        config = {"data.source": "files", "train.steps": 2000}
        rhythm = simulate(strategy, steps=2000, absent=0.4)
        write_run(output, "transweather", strategy, 0, psnr, config=config, data=data, rhythm=rhythm, age=86400)


if __name__ == "__main__":
    stores = {"showcase": showcase, "leaderboard": leaderboard, "fixed": fixed, "big": big}
    stores[sys.argv[2] if len(sys.argv) > 2 else "showcase"](Path(sys.argv[1]))
