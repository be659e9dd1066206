"""What a command asks for: the grid setting x baselines x strategies x seeds, as plans, with their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import art
import baselines
from benchmarks.config import protocols, settings
from benchmarks.config.configuration import Config, Profile, resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.config.shares import expected_epochs, expected_shares
from benchmarks.data import locating
from benchmarks.execution import feasible
from benchmarks.execution.cost import estimate, operations
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.progress import duration
from benchmarks.execution.step_cost import StepCosts, given_ratios
from benchmarks.training import distributed
from results.records import passes

_FLOPS = 20e12  # a second, of a GPU that trainings are estimated for


@dataclass(frozen=True)
class GridRequest:
    """The options of ``python -m benchmarks.run``, whose help explains them."""

    setting: str
    tasks: Sequence[str] | None
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
    budget: Sequence[Literal["steps", "cost"]]
    cost_ratios: Sequence[str]
    dry_run: bool
    fresh: bool

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.output / "cache"

    @property
    def command(self) -> str:
        """The grid in words, the same for the same request."""
        parts = [f"--setting {self.setting}", *(["--tasks", *self.tasks] if self.tasks else [])]
        parts += ["--baselines", *self.baselines, "--strategies", *self.strategies]
        parts += ["--seeds", *map(str, self.seeds), "--profile", self.profile]
        parts += [f"--size {self.size}"] if self.size else []
        parts += [f"--data-root {self.data_root} --missing {self.missing}"] if self.data_root else []
        parts += ["--set", *self.overrides] if self.overrides else []
        parts += ["--budget", *self.budget] if list(self.budget) != ["steps"] else []
        return " ".join(parts)

    def plans(self) -> list[Plan]:
        """Every run of the grid, resolved and checked as far as that needs no images.

        Raises:
            UserError: for unknown names, and for what cannot be.
        """
        setting = self.loaded
        configs = self._raced(self.configs(setting))
        protocols.get(configs[0].evaluate.protocol)
        for name in configs[0].evaluate.extra:
            setting.data_set(name)
        fingerprint = locating.fingerprint(setting, configs[0].data)
        plans = [Plan.of(setting, config.with_fingerprint(fingerprint), self.output) for config in configs]
        plans = list({plan.folder: plan for plan in plans}.values())  # art and art:tau=0.1 are one run
        feasible.check(plans)
        return plans

    @cached_property
    def loaded(self) -> Setting:
        """The setting, with the tasks that are asked for.

        Raises:
            UserError: for unknown ones, and for options that exclude each other.
        """
        self._check()
        setting = settings.load(self.setting)
        return setting.only(self.tasks) if self.tasks else setting

    def configs(self, setting: Setting) -> list[Config]:
        """The grid's runs by mix's steps.

        Raises:
            UserError: for unknown names and values.
        """
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
            for strategy in self._strategies(setting)
            for seed in self.seeds
        ]  # fmt: skip
        return [one for config in configs for one in _runs(setting, config)]

    @property
    def by_cost(self) -> bool:
        """Whether some runs take as many steps as fit into mix's cost."""
        return "cost" in self.budget

    @cached_property
    def costs(self) -> StepCosts:
        """The ratios of costs that runs are planned with."""
        tasks = self.loaded.task_names
        return StepCosts(self.output, given_ratios(self.cost_ratios, lambda spec: art.canonical(spec, tasks)))

    def raced_by_cost(self, configs: Sequence[Config]) -> list[Config]:
        """Those of the runs whose steps a budget by cost changes."""
        return [config for config in configs if self.by_cost and not _is_reference(config)]

    def _raced(self, configs: Sequence[Config]) -> list[Config]:
        """The runs with as many steps as mix, or as fit into its cost, as the budgets say; mix itself is in both."""
        changed = self.raced_by_cost(configs)
        raced = [config for config in configs if "steps" in self.budget or config not in changed]
        for config in changed:
            ratio = self.costs.ratio(config)
            if ratio is None:
                what = f"{config.strategy} on {config.baseline}"
                print(f"note: the cost of {what} is not measured yet; mix's steps are listed.")
            raced.append(config.on_terms(share=1 / (ratio or 1), budget="cost", ratio=ratio or 1.0))
        return raced

    def _strategies(self, setting: Setting) -> list[str]:
        """The strategies as typed, with designs of fixed weights written out.

        Raises:
            UserError: with everything that is wrong with them.
        """
        if self.strategies == ["all"]:
            return art.names()
        found, problems = list[str](), list[str]()
        for spec in self.strategies:
            try:
                found += art.expand(spec, setting.task_names)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise UserError("these strategies cannot be:", problems) if problems[1:] else UserError(problems[0])
        return found

    def _check(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: at least one run at a time is needed.")
        if self.cost_ratios and "cost" not in self.budget:
            raise UserError("--cost-ratio belongs to --budget cost.")
        if distributed.several() and self.cluster:
            raise UserError("torchrun and --cluster are two ways to use several machines; take one.")
        if distributed.several() and self.jobs not in (None, 1):
            raise UserError("under torchrun all processes work on one run at a time; leave out --jobs.")
        try:
            (self.output / "runs").exists()
        except OSError as error:
            raise UserError(f"the output folder {self.output} cannot be: {error.strerror}.") from error


def _is_reference(config: Config) -> bool:
    """Whether this run stands beside those of any budget: mix, fixed weights, whose step is mix's, and single-task
    networks."""
    name, _ = art.parse(config.strategy)
    return name in ("mix", "fixed") or _apart(name)


def _apart(name: str) -> bool:
    """Whether a strategy trains one network for each task."""
    return name in art.entries() and art.entries()[name].apart


def _runs(setting: Setting, config: Config) -> list[Config]:
    """The run itself; of single-task networks one for each task, which sees as many samples of its task as a multi-task
    run does, or takes as many steps."""
    name, parameters = art.parse(config.strategy)
    if not _apart(name):
        return [config]
    shares = expected_shares(config.data.mixing, setting, config.train.steps)
    return [
        config.on_terms(share=1.0 if parameters.get("full") else shares[task.name], task=task.name)
        for task in setting.tasks
        if task.test
    ]


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
    """How often each task's images will be seen: one line for all runs that draw alike, with their baselines, and one
    for all single-task networks of a baseline."""
    setting, data = plans[0].setting, plans[0].config.data
    samples = locating.expected_samples(setting, data)
    found: dict[tuple[str, str, int, int], dict[str, float]] = {}
    for config in {_drawing(plan.config): plan.config for plan in plans}.values():
        alone, train = config.terms.task, config.train
        key = (config.baseline, config.strategy, 0, 0) if alone else (config.baseline, "", train.steps, train.batch)
        found.setdefault(key, {}).update(expected_epochs(config, setting, samples))
    names: dict[str, list[str]] = {}
    for (baseline, strategy, steps, _), epochs in found.items():
        mixing = next(plan.config.data.mixing for plan in plans if plan.config.baseline == baseline)
        how = strategy or f"{mixing}, {steps} steps"
        names.setdefault(f"{how}: {passes(epochs)}", []).append(baselines.describe(baseline).name)
    images = "embedded scenes" if data.source == "embedded" else "training images as published"
    lines = [f"  {', '.join(several)}, {text}" for text, several in names.items()]
    return [f"Expected passes over each task's {images}:", *lines]


def _drawing(config: Config) -> tuple[str, str, int, int, str]:
    """What decides how many samples of each task a run draws; the mixing is its baseline's."""
    alone, train = config.terms.task, config.train
    return config.baseline, config.strategy if alone else "", train.steps, train.batch, alone


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
