"""What a command asks for: the grid setting x baselines x strategies x seeds, as plans, with their cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import art
import baselines
from benchmarks.config import data_sets, protocols, settings
from benchmarks.config.configuration import Config, Profile, resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.config.shares import expected_epochs, expected_shares
from benchmarks.data import locating
from benchmarks.execution import continuing, feasible, needs, tuned
from benchmarks.execution.cost import estimate
from benchmarks.execution.plan import Plan, Todo
from benchmarks.execution.progress import duration
from benchmarks.execution.slurm_options import SlurmOptions
from benchmarks.execution.step_cost import StepCosts, given_ratios
from benchmarks.training import distributed, starts
from results.records import passes
from results.visible import visible


@dataclass(frozen=True)
class GridRequest:
    """The options of ``python -m benchmarks.run``, whose help explains them."""

    setting: str | None
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
    tracking_uri: str | None
    device: str
    jobs: int | None
    cluster: str | None
    dry_run: bool
    metrics: Sequence[str] | None = None
    probe_conflicts: int | None = None
    budget: Sequence[Literal["steps", "cost"]] = ("steps",)
    cost_ratios: Sequence[str] = ()
    tuned: bool = False
    fresh: bool = False
    slurm: str | None = None
    devices: str | None = None
    data_sets: Sequence[Path] = ()
    continued: Sequence[Path] = ()

    @property
    def cache(self) -> Path:
        """Folder of decoded images."""
        return self.output / "cache"

    @property
    def command(self) -> str:
        """The grid in words, the same for the same request."""
        what = ["--strategies", *self.strategies, "--seeds", *map(str, self.seeds)]
        terms = ["--budget", *self.budget] if list(self.budget) != ["steps"] else []
        return self.words(*what) + "".join(f" {word}" for word in [*terms, *["--tuned"] * self.tuned])

    @cached_property
    def jobs_of_slurm(self) -> SlurmOptions | None:
        """What the jobs are to have, where runs are jobs of Slurm.

        Raises:
            UserError: with everything that is wrong with it.
        """
        return None if self.slurm is None else SlurmOptions.read(self.slurm)

    @property
    def elsewhere(self) -> bool:
        """Whether runs are done by other processes than this command's own, perhaps on other machines."""
        return bool(self.cluster or self.jobs_of_slurm)

    @cached_property
    def gpus(self) -> list[int]:
        """Numbers of the GPUs of this machine that are named; whether they are there is another question.

        Raises:
            UserError: for what are no numbers, and where one is named twice.
        """
        numbers = [piece.strip() for piece in self.devices.split(",")] if self.devices is not None else []
        if not all(number.isascii() and number.isdigit() for number in numbers):
            told = f"--devices {visible(self.devices)}"
            raise UserError(f"{told}: numbers of GPUs with commas between them are meant, such as 0,2.")
        if len(set(map(int, numbers))) < len(numbers):
            raise UserError(f"--devices {self.devices}: a GPU is named twice; --jobs says how many runs are at work.")
        return [int(number) for number in numbers]

    def words(self, *what: str) -> str:
        """The options that all its trainings have alike, with those of ``what`` among them."""
        if self.continued:
            return " ".join(["--continue", *map(str, self.continued), "--set", *self.overrides])
        parts = [f"--setting {self.setting}", *(["--tasks", *self.tasks] if self.tasks else [])]
        parts += ["--baselines", *self.baselines, *what, "--profile", self.profile]
        parts += [f"--size {self.size}"] if self.size else []
        parts += [f"--data-root {self.data_root} --missing {self.missing}"] if self.data_root else []
        parts += ["--data-sets", *map(str, self.data_sets)] if self.data_sets else []
        parts += ["--set", *self.overrides] if self.overrides else []
        return " ".join(parts)

    def plans(self) -> list[Plan]:
        """Every run of the grid, resolved and checked as far as that needs no images.

        Raises:
            UserError: for unknown names, and for what cannot be.
        """
        setting = self.loaded
        configs = continuing.configs(self, setting) if self.continued else self._raced(self.configs(setting))
        protocols.get(configs[0].evaluate.protocol)
        for name in configs[0].evaluate.extra:
            setting.data_set(name)
        configs = configs if self.continued else self.fingerprinted(setting, configs)
        plans = [Plan.of(setting, config, self.output) for config in configs]
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
        if self.continued:
            return continuing.setting(self)
        setting = settings.load(self.setting or "", data_sets.read(self.data_sets))
        return setting.only(self.tasks) if self.tasks else setting

    def configs(self, setting: Setting) -> list[Config]:
        """The grid's runs by mix's steps, ordinary ones first.

        Raises:
            UserError: for unknown names and values.
        """
        strategies = self.typed(setting, self.tuned)
        usual = [config for spec in strategies if not tuned.needs_values(spec) for config in self.of(setting, spec)]
        # a baseline's runs stand together
        runs = [one for config in sorted(usual, key=self._place) for one in _runs(setting, config)]
        if not self.tuned:
            return runs
        names = [spec for spec in dict.fromkeys(strategies) if not trains_apart(art.parse(spec)[0])]
        if len(names) < len(strategies):
            print("note: single-task networks are not tuned; their ordinary runs are compared with mix's.")
        return runs + tuned.found(
            self.output,
            setting,
            names,
            lambda spec: self.fingerprinted(setting, self.of(setting, spec)),
            lambda lacking: f"{self.words('--strategies', *lacking)} --output {self.output}",
        )

    @staticmethod
    def fingerprinted(setting: Setting, configs: Sequence[Config]) -> list[Config]:
        """The same runs with what stands for their training images, which are the same for all."""
        fingerprint = locating.fingerprint(setting, configs[0].data)
        return [config.with_fingerprint(fingerprint) for config in configs]

    def of(self, setting: Setting, strategy: str) -> list[Config]:
        """The runs of one strategy as ordinary ones, of every baseline and seed.

        Raises:
            UserError: for unknown names and values.
        """
        data = DataConfig()
        if self.data_root is not None:
            data = DataConfig(source="files", root=str(self.data_root.resolve()), missing=self.missing)
        return [
            starts.resolved(resolve(setting, baseline, strategy, seed=seed, profile=self.profile, size=self.size,
                                    data=data, overrides=self.all_overrides))
            for baseline in self._networks
            for seed in self.seeds
        ]  # fmt: skip

    @property
    def all_overrides(self) -> list[str]:
        """``--set``, with what other options set."""
        overrides = list(self.overrides)
        if self.probe_conflicts is not None:
            overrides.append(f"train.probe_every={self.probe_conflicts}")
        if self.metrics:
            overrides.append(f"evaluate.metrics={','.join(self.metrics)}")
        return overrides

    @property
    def _networks(self) -> Sequence[str]:
        return baselines.names() if self.baselines == ["all"] else self.baselines

    def _place(self, config: Config) -> int:
        return list(self._networks).index(config.baseline)

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

    def typed(self, setting: Setting, searched: bool) -> list[str]:
        """The strategies in their one spelling, with designs of fixed weights written out; where their parameters are
        ``searched``, ``fixed`` may stand without weights.

        Raises:
            UserError: with everything that is wrong with them.
        """
        if self.strategies == ["all"]:
            return art.names()
        found, problems = list[str](), list[str]()
        for spec in self.strategies:
            try:
                whole = not (searched and tuned.needs_values(spec))
                found += art.expand(spec, setting.task_names) if whole else [spec]
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise UserError("these strategies cannot be:", problems) if problems[1:] else UserError(problems[0])
        return [tuned.typed(spec, setting.task_names) for spec in found]

    def _check(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: at least one run at a time is needed.")
        if self.cost_ratios and "cost" not in self.budget:
            raise UserError("--cost-ratio belongs to --budget cost.")
        self._check_place()
        if distributed.several() and self.jobs not in (None, 1):
            raise UserError("under torchrun all processes work on one run at a time; leave out --jobs.")
        try:
            (self.output / "runs").exists()
        except OSError as error:
            raise UserError(f"the output folder {self.output} cannot be: {error.strerror}.") from error

    def _check_place(self) -> None:
        """Whether the options that say where runs are done go together."""
        ways = {"--cluster": self.cluster, "--slurm": self.jobs_of_slurm, "torchrun": distributed.several()}
        if len(chosen := [name for name, asked in ways.items() if asked]) > 1:
            raise UserError(f"{' and '.join(chosen)} are ways to use several machines; take one.")
        if self.jobs_of_slurm and self.jobs is not None:
            raise UserError("--jobs is of this machine; with --slurm it is at_once: --slurm ...,at_once=N.")
        if self.gpus and chosen:
            raise UserError(f"--devices names GPUs of this machine; leave it out with {chosen[0]}.")
        if self.gpus and self.device not in ("auto", "cuda"):
            raise UserError(f"--devices {self.devices} names CUDA devices; leave out --device {self.device}.")


def _is_reference(config: Config) -> bool:
    """Whether this run stands beside those of any budget: mix, fixed weights, whose step is mix's, and single-task
    networks."""
    name, _ = art.parse(config.strategy)
    return name in ("mix", "fixed") or trains_apart(name)


def trains_apart(name: str) -> bool:
    """Whether a strategy trains one network for each task."""
    return name in art.entries() and art.entries()[name].apart


def _runs(setting: Setting, config: Config) -> list[Config]:
    """The run itself; of single-task networks one for each task, which sees as many samples of its task as a multi-task
    run does, or takes as many steps."""
    name, parameters = art.parse(config.strategy)
    if not trains_apart(name):
        return [config]
    shares = expected_shares(config.data.mixing, setting, config.train.steps)
    return [
        config.on_terms(share=1.0 if parameters.get("full") else shares[task.name], task=task.name)
        for task in setting.tasks
        if task.test
    ]


def listing(plans: Sequence[Plan], kind: str = "cpu", here: bool = True) -> str:
    """The runs with their state, cost and needs, for ``--dry-run``, and notes on the image files, of which it reads
    some headers at most.

    Args:
        plans: the runs.
        kind: of the device that they will train on, ``cpu`` or ``cuda``.
        here: whether that is this machine's.
    """
    lines: list[str] = []
    todo = [plan for plan in plans if plan.todo != Todo.NOTHING]
    seconds = {plan: estimate(plan, kind) for plan in todo}
    for plan in plans:
        train = plan.config.train
        size = f"{plan.config.size}, {train.steps} steps of {train.batch} x {train.patch}x{train.patch}"
        cost = f"about {duration(seconds.get(plan, 0.0)):>10}"
        lines.append(f"  {plan.title:34} {plan.todo:9} {size:40} {cost}  {plan.folder}")
    total, scores = sum(seconds.values()), sum(needs.scoring(todo, kind))
    where = "one GPU" if kind == "cuda" else "this CPU" if here else "a CPU like this one"
    lines.append(
        f"{len(plans)} runs, {len(todo)} to do, about {duration(total)} of training and {duration(scores)} of scoring "
        f"one after another on {where}."
    )
    config = plans[0].config
    notes = locating.notes(plans[0].setting, config.data, config.evaluate.extra)
    notes = [*continuing.told(plans), *notes]
    return "\n".join([*lines, *_passes(plans), *needs.told(plans, kind), *(f"note: {note}" for note in notes)])


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
