"""What a command asks for: the grid setting x baselines x strategies x seeds, as plans, with their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import art
import baselines
from benchmarks.config import protocols, settings
from benchmarks.config.configuration import Config, Profile, resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.config.shares import expected_epochs
from benchmarks.data import locating
from benchmarks.execution import feasible
from benchmarks.execution.cost import estimate, operations
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.progress import duration
from benchmarks.training import distributed
from results.records import passes

_FLOPS = 20e12  # a second, of a GPU that trainings are estimated for


@dataclass(frozen=True)
class GridRequest:
    """The options of ``python -m benchmarks.run``, whose help explains them."""

    setting: str
    baselines: Sequence[str]
    strategies: Sequence[str]
    seeds: Sequence[int]
    profile: Profile
    size: str | None
    data_root: Path | None
    missing: Literal["error", "synthesise"]
    overrides: Sequence[str]
    output: Path
    metrics: Sequence[str] | None
    tracking_uri: str | None
    device: str
    jobs: int | None
    cluster: str | None
    probe_conflicts: int | None
    dry_run: bool
    fresh: bool

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.output / "cache"

    @property
    def command(self) -> str:
        """The grid in words, the same for the same request."""
        parts = [f"--setting {self.setting}", "--baselines", *self.baselines, "--strategies", *self.strategies]
        parts += ["--seeds", *map(str, self.seeds), "--profile", self.profile]
        parts += [f"--size {self.size}"] if self.size else []
        parts += [f"--data-root {self.data_root} --missing {self.missing}"] if self.data_root else []
        parts += ["--set", *self.overrides] if self.overrides else []
        return " ".join(parts)

    def plans(self) -> list[Plan]:
        """Every run of the grid, resolved and checked as far as that needs no images.

        Raises:
            UserError: for unknown names, and for what cannot be.
        """
        self._check()
        setting = settings.load(self.setting)
        overrides = list(self.overrides)
        if self.probe_conflicts is not None:
            overrides.append(f"train.probe_every={self.probe_conflicts}")
        if self.metrics:
            overrides.append(f"evaluate.metrics={','.join(self.metrics)}")
        data = DataConfig()
        if self.data_root is not None:
            data = DataConfig(source="files", root=str(self.data_root.resolve()), missing=self.missing)
        configs = [
            resolve(setting, baseline, strategy, seed=seed, profile=self.profile, size=self.size, data=data,
                    overrides=overrides)
            for baseline in (baselines.names() if self.baselines == ["all"] else self.baselines)
            for strategy in (art.names() if self.strategies == ["all"] else self.strategies)
            for seed in self.seeds
        ]  # fmt: skip
        protocols.get(configs[0].evaluate.protocol)
        for name in configs[0].evaluate.extra:
            setting.data_set(name)
        fingerprint = locating.fingerprint(setting, configs[0].data)
        plans = [Plan.of(setting, config.with_fingerprint(fingerprint), self.output) for config in configs]
        plans = list({plan.folder: plan for plan in plans}.values())  # art and art:tau=0.1 are one run
        feasible.check(plans)
        return plans

    def _check(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: at least one run at a time is needed.")
        if distributed.several() and self.cluster:
            raise UserError("torchrun and --cluster are two ways to use several machines; take one.")
        if distributed.several() and self.jobs not in (None, 1):
            raise UserError("under torchrun all processes work on one run at a time; leave out --jobs.")
        try:
            (self.output / "runs").exists()
        except OSError as error:
            raise UserError(f"the output folder {self.output} cannot be: {error.strerror}.") from error


def listing(plans: Sequence[Plan]) -> str:
    """The runs with their state and cost, for ``--dry-run``, and notes on the image files, which it does not open."""
    lines: list[str] = []
    total, left = 0.0, 0
    for plan in plans:
        todo, train = plan.todo, plan.config.train
        seconds = 0.0 if todo == Todo.NOTHING else estimate(plan)
        total += seconds
        left += todo != Todo.NOTHING
        size = f"{plan.config.size}, {train.steps} steps of {train.batch} x {train.patch}x{train.patch}"
        lines.append(f"  {plan.title:34} {todo:9} {size:40} about {duration(seconds):>10}  {plan.folder}")
    lines.append(f"{len(plans)} runs, {left} to do, about {duration(total)} of training one after another on this CPU.")
    config = plans[0].config
    notes = locating.notes(plans[0].setting, config.data, config.evaluate.extra)
    return "\n".join([*lines, *_passes(plans), *_gpu_hours(plans), *(f"note: {note}" for note in notes)])


def _passes(plans: Sequence[Plan]) -> list[str]:
    """How often each task's images will be seen: one line for all runs that draw alike, with their baselines."""
    names: dict[str, dict[str, None]] = {}
    samples = locating.expected_samples(plans[0].setting, plans[0].config.data)
    for config in {_drawing(plan.config): plan.config for plan in plans}.values():
        epochs = expected_epochs(config, plans[0].setting, samples)
        names.setdefault(f"{config.data.mixing}: {passes(epochs)}", {})[baselines.describe(config.baseline).name] = None
    images = "embedded scenes" if plans[0].config.data.source == "embedded" else "training images as published"
    lines = [f"  {', '.join(several)}, {text}" for text, several in names.items()]
    return [f"Expected passes over each task's {images}:", *lines]


def _drawing(config: Config) -> tuple[str, str, int, int]:
    """What decides how many samples of each task a run draws."""
    return config.baseline, config.data.mixing, config.train.steps, config.train.batch


def _gpu_hours(plans: Sequence[Plan]) -> list[str]:
    """What the published schedules need, from their operations: step times are known for a CPU only."""
    published = {plan.config.baseline: plan for plan in reversed(plans) if plan.config.profile == "paper"}
    if not published:
        return []
    lines = ["", f"One training on a GPU that sustains {_FLOPS / 1e12:.0f} TFLOP/s (arithmetic, no measurement):"]
    for name, plan in published.items():
        count = operations(plan)
        hours = f"{count / _FLOPS / 3600:,.0f} GPU-hours ({count / 1e18:.2g} EFLOP)" if count else ""
        lines.append(f"  {name:14} {hours or 'no gmac in its [cost]'}")
    return lines
