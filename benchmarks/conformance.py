"""What every setting must do: ``python -m benchmarks.conformance path/to/mine.toml``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.config import data_sets, settings
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.data import sources
from benchmarks.data.audit.invented import not_found
from benchmarks.data.batches import Batches
from benchmarks.data.degradations import load
from benchmarks.data.degradations.conformance import Finding, printed
from benchmarks.data.pools import Prepared
from benchmarks.scoring.fidelity import score
from results.command import announce, command, leave


def check(setting: Setting, cache: Path) -> Iterator[Finding]:
    """Check a setting that was loaded, on embedded data.

    Args:
        setting: with names that are known, as :func:`settings.load` has seen to.
        cache: folder of the training scenes, drawn there where they are not.

    Raises:
        UserError: if a degradation cannot be imported.
    """
    yield _severities(setting)
    for name in {**setting.given, **setting.data_sets}:
        yield _layouts(name, setting)
    prepared = sources.prepare(setting, DataConfig(), (), cache)
    yield _batch(setting, prepared)
    yield _scores(setting, prepared)


def _severities(setting: Setting) -> Finding:
    """Severities within the limits of the degradations."""
    wrong = []
    for task in setting.tasks:
        kind = load(task.degradation_at)
        given = (task.severity, *(task.drawn or ()), *(test.severity for test in task.test))
        low, high = kind.limits
        wrong += [f"{task.name}: {value:g}" for value in given if value is not None and not low <= value <= high]
    return Finding("severities", not wrong, f"beyond the limits: {', '.join(wrong)}" if wrong else "within the limits")


def _layouts(name: str, setting: Setting) -> Finding:
    """Files with invented names that fit a layout are found, and paired."""
    parts = [f"{name}:{part}" for part in setting.data_set(name).parts] or [name]
    wrong = [f"{part}, {problem}" for part in parts for problem in not_found(setting.data_set(part))]
    return Finding(name[:15], not wrong, "; ".join(wrong) or "its layouts find files with invented names")


def _batch(setting: Setting, prepared: Prepared) -> Finding:
    """A training batch holds every task, with inputs that are images and not the clean ones."""
    size = f"train.batch={2 * len(setting.tasks)}"
    config = resolve(setting, "transweather", "mix", overrides=["train.patch=32", size, "data.mixing=balanced"])
    batch = Batches(prepared.train, config, torch.device("cpu"))(0)
    wrong = [] if min(batch.sizes) else ["some task is absent"]
    for task, degraded, clean in zip(batch.tasks.tolist(), batch.degraded, batch.clean, strict=True):
        if not (degraded.isfinite().all() and degraded.min() >= 0 and degraded.max() <= 1):
            wrong.append(f"{setting.tasks[task].name}: inputs beyond 0 to 1")
        elif torch.equal(degraded, clean):
            wrong.append(f"{setting.tasks[task].name}: an input equals its target")
    return Finding("batch", not wrong, "; ".join(wrong) or f"{len(batch.tasks)} patches; tasks: {len(setting.tasks)}")


def _scores(setting: Setting, prepared: Prepared) -> Finding:
    """The degraded input of the first image of every test set is scored by the setting's protocol."""
    found = {pool.dataset: score(*pool.pair(0), setting.protocol)["psnr"] for pool in prepared.tests}
    fine = len(found) == len(prepared.tests) and all(5 < psnr < 40 for psnr in found.values())
    shown = ", ".join(f"{name} {psnr:.1f}" for name, psnr in found.items())
    return Finding("scores", fine, f"degraded inputs, PSNR in dB by {setting.protocol}: {shown}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        "python -m benchmarks.conformance", description="Check what every setting must do, on embedded data."
    )
    result.add_argument("setting", nargs="+", help=f"a file, or one of {', '.join(settings.names())}")
    data_sets.add_argument(result)
    result.add_argument("--output", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    return result


@command(parser, UserError)
def main(options: argparse.Namespace) -> int:
    """The command; 0 if nothing failed, 1 if something did, 2 if the setting cannot be read."""
    announce("Checking settings on embedded data.")
    given = data_sets.read(options.data_sets)
    loaded = [settings.load(name, given) for name in options.setting]
    return int(not all([printed(setting.title, check(setting, options.output / "cache")) for setting in loaded]))


if __name__ == "__main__":
    leave(main())
