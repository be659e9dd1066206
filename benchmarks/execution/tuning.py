"""The searches of a command: trials asked for, run as a grid's runs are, and told, round by round."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

import art
import baselines
from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.config.settings import Setting
from benchmarks.execution import asking, before, feasible, grid, slurm_queues, tracking, tuned
from benchmarks.execution.asking import Told, Values
from benchmarks.execution.cost import estimate
from benchmarks.execution.locks import locked
from benchmarks.execution.plan import Plan, Todo, folder_name
from benchmarks.execution.progress import duration
from benchmarks.execution.request import GridRequest, trains_apart
from benchmarks.training import distributed
from results import Damaged, Status, tuning
from results.command import announce
from results.records import State
from results.schema import CHECKPOINT
from results.tuning import Parameter, Search, Trial

Execute = Callable[[Sequence[Plan]], Mapping[Path, Status]]
"""Does runs; what became of each, by its folder."""

_QUEUED = 64  # runs that a cluster is given at once, where --jobs does not say
_CHANCES = 2  # of a run: what failed by chance (memory, a machine) is no strategy's fault


@dataclass(frozen=True)
class TuneRequest:
    """The options of ``python -m benchmarks.tune``: those of a grid, and the trials of every search."""

    grid: GridRequest
    trials: int

    @property
    def place(self) -> Path:
        """Where the searches lie."""
        return tuning.place(self.grid.output, self.grid.loaded.name)

    @property
    def command(self) -> str:
        """The command in words."""
        return f"tune {self.grid.command} --trials {self.trials}"

    def studies(self) -> list[Study]:
        """Every search, a baseline with a strategy each.

        Raises:
            UserError: for unknown names, and for what cannot be searched.
        """
        if self.trials < 1:
            raise UserError(f"--trials {self.trials}: a search has one trial at least.")
        if distributed.several():
            raise UserError("trials are short runs, one on a GPU each: leave out torchrun.")
        request, setting = self.grid, self.grid.loaded
        strategies = list(dict.fromkeys(request.typed(setting, searched=True)))
        if apart := [spec for spec in strategies if trains_apart(art.parse(spec)[0])]:
            raise UserError(f"{apart[0]} trains a network for each task, and is not searched: leave it out.")
        studies: list[Study] = []
        for strategy in strategies:
            try:
                start = tuned.beginning(strategy, setting.task_names)
            except ValueError as error:
                raise UserError(str(error)) from error
            configs = request.fingerprinted(setting, request.of(setting, start))
            by_baseline = dict.fromkeys(config.baseline for config in configs)
            studies += [
                Study(setting, strategy, [config for config in configs if config.baseline == name], self)
                for name in by_baseline
            ]
        if not studies[0].configs[0].data.validation:
            raise UserError("trials are judged on held-out images, and none are held out: --set data.validation=8.")
        feasible.check([plan for study in studies for plan in study.plans(0, study.ask(0))])
        return studies


class Study:
    """A search while it goes on, kept in its file.

    Args:
        setting: with its tasks.
        strategy: as typed, in its one spelling.
        configs: of its runs at the defaults, one a seed.
        request: the command.
    """

    def __init__(self, setting: Setting, strategy: str, configs: Sequence[Config], request: TuneRequest):
        self.setting, self.strategy, self.configs, self.request = setting, strategy, configs, request
        self.declared = art.search_space(strategy, setting.task_names)
        self.space = {**self.declared, tuned.RATE: tuned.RATES}
        self.search = self._new()
        name = folder_name(f"{configs[0].baseline}-{strategy}")
        self.path = request.place / tuning.SEARCHES / f"{name}-{self.search.key}.json"

    def _new(self) -> Search:
        config, tasks = self.configs[0], self.setting.task_names
        recipe, seeds = tuned.recipe(config, self.strategy, tasks), [config.seed for config in self.configs]
        key = tuned.digest({"recipe": recipe, "seeds": list(seeds), "validation": config.data.validation})
        return Search(
            setting=self.setting.name,
            baseline=config.baseline,
            display=baselines.describe(config.baseline).name,
            size=config.size,
            profile=config.profile,
            strategy=self.strategy,
            recipe=recipe,
            cohort=config.identity(self.setting)["cohort"],
            key=key,
            seeds=seeds,
            validation=config.data.validation,
            lr=config.train.lr,
            wanted=self.request.trials,
            space=[_parameter(name, values) for name, values in self.declared.items()],
        )

    @property
    def title(self) -> str:
        """``NAFNet art``."""
        return f"{self.search.display} {self.strategy}"

    def load(self) -> None:
        """Go on from the file, where there is one. More trials are never taken back.

        Raises:
            UserError: for a file that is no search.
        """
        try:
            kept = tuning.read(self.path)
        except Damaged as damaged:
            raise UserError(
                f"{self.path}: {damaged.reason}; put it back as it was, or move it away: its runs are kept, and the "
                "same trials are asked for again."
            ) from damaged
        if kept is not None:
            self.search = kept.model_copy(update={"wanted": max(self.request.trials, len(kept.trials))})

    def keep(self, trials: Iterable[Trial] = ()) -> None:
        """Write the search with further trials."""
        self.search = self.search.model_copy(update={"trials": [*self.search.trials, *trials]})
        tuning.write(self.path, self.search)

    def ask(self, number: int) -> Values:
        """Values of a trial, the factor of the learning rate among them."""
        told: list[Told] = [({**trial.values, tuned.RATE: trial.factor}, trial.score) for trial in self.search.trials]
        config = self.configs[0]
        stream = f"{config.setting} {config.baseline} {self.strategy}"
        return asking.ask(self.space, self._defaults, told, number, stream)

    @cached_property
    def _defaults(self) -> Values:
        return {**art.start(self.strategy, self.setting.task_names), tuned.RATE: 1.0}

    def next(self, room: int) -> dict[int, Values]:
        """Values of the trials that come next, by number; none where all are there.

        Args:
            room: trials that can be at work.
        """
        first = len(self.search.trials)
        return {first + i: self.ask(first + i) for i in range(asking.batch(first, self.search.wanted, room))}

    def spec(self, values: Values) -> str:
        """The strategy with values."""
        chosen = {key: value for key, value in values.items() if key != tuned.RATE}
        if not chosen:
            return self.configs[0].strategy
        return art.with_parameters(self.strategy, chosen, self.setting.task_names)

    def plans(self, number: int, values: Values) -> list[Plan]:
        """The runs of a trial, one a seed."""
        spec, factor = self.spec(values), float(values[tuned.RATE])
        place = self.request.place / f"validation-{self.search.validation}"
        changed = {"strategy": spec, "definition": art.definition(spec)}
        configs = [config.model_copy(update=changed).on_terms(rate=factor) for config in self.configs]
        return [Plan.of(self.setting, config, place, trial=True) for config in configs]

    def told(self, number: int, values: Values, outcomes: Mapping[Path, Status]) -> Trial:
        """What became of a trial whose runs have ended."""
        plans = self.plans(number, values)
        trial = Trial(
            number=number,
            strategy=plans[0].config.strategy,
            values={key: value for key, value in values.items() if key != tuned.RATE},
            factor=float(values[tuned.RATE]),
            lr=plans[0].config.train.lr,
            state=State.DONE,
            seconds=sum(plan.run.legible().environment.train_seconds or 0.0 for plan in plans),
        )
        failed = [status.reason for plan in plans if (status := _ended(plan, outcomes)).state != State.DONE]
        if failed:
            return trial.model_copy(update={"state": State.FAILED, "reason": failed[0]})
        ends = pd.DataFrame([_end(plan.run.curve()) for plan in plans]).mean(skipna=False)
        score = float(ends.mean(skipna=False))
        if not math.isfinite(score):
            return trial.model_copy(update={"state": State.FAILED, "reason": "its validation is not finite"})
        tasks = {str(task): round(float(value), 6) for task, value in ends.items()}
        return trial.model_copy(update={"tasks": tasks, "score": round(score, 6)})

    def drop_weights(self) -> None:
        """Remove checkpoints of trials that have ended, but for the best: their scores are kept."""
        best = self.search.best
        for trial in self.search.trials:
            if best is None or trial.strategy != best.strategy or trial.factor != best.factor:
                for plan in self.plans(trial.number, {**trial.values, tuned.RATE: trial.factor}):
                    (plan.folder / CHECKPOINT).unlink(missing_ok=True)


def _parameter(name: str, values: art.Range | art.Choice) -> Parameter:
    if isinstance(values, art.Choice):
        return Parameter(name=name, options=list(values.options))
    return Parameter(name=name, low=float(values.low), high=float(values.high), log=values.log)


def _ended(plan: Plan, outcomes: Mapping[Path, Status]) -> Status:
    status = outcomes.get(plan.folder) or plan.status
    if status.state == State.DONE and plan.todo != Todo.NOTHING:  # damaged since
        return Status(State.DAMAGED, "its files are not as they were written")
    return status


def _end(curve: pd.DataFrame) -> pd.Series:
    """PSNR by task at the end of a training, dB."""
    return curve[curve["step"] == curve["step"].max()].set_index("task")["psnr"]


def search_all(studies: Sequence[Study], jobs: int, execute: Execute) -> None:
    """Do the rounds until every search has its trials: in each one trial of every search, or as many as keep the jobs
    at work. Whatever has ended is kept before the next round.

    Args:
        studies: the searches.
        jobs: runs at a time.
        execute: does runs.
    """
    while True:
        open_ = [study for study in studies if not study.search.finished]
        room = max(1, jobs // max(1, sum(len(study.configs) for study in open_)))
        asked = [(study, number, values) for study in open_ for number, values in study.next(room).items()]
        if not asked:
            return
        outcomes: dict[Path, Status] = {}
        plans = {plan.folder: plan for study, number, values in asked for plan in study.plans(number, values)}
        left = list(plans.values())
        for _ in range(_CHANCES):
            left = [plan for plan in left if plan.todo != Todo.NOTHING]
            outcomes |= execute(left) if left else {}
        for study in open_:
            study.keep(study.told(number, values, outcomes) for one, number, values in asked if one is study)
            study.drop_weights()


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def run(request: TuneRequest, reporter: Callable[[Sequence[Search]], str]) -> int:
    """Search, and print what was found; returns the exit code, 1 where all trials of a search failed.

    Args:
        request: the command.
        reporter: puts what searches found into words.

    Raises:
        UserError: for whatever the user can mend.
        KeyboardInterrupt: after runs at work were saved.
    """
    options = request.grid
    grid.check_output(options.output)
    if options.jobs_of_slurm:
        slurm_queues.check(options.jobs_of_slurm, options.output)
    studies = request.studies()
    searches, trials = _count(len(studies), "search", "searches"), _count(request.trials, "trial", "trials")
    announce(f"{studies[0].setting.title}: {searches} of {trials}.")
    with ExitStack() as locks:
        for study in sorted(studies, key=lambda study: study.path):  # in one order, so that no two commands wait
            locks.enter_context(locked(study.path.with_suffix(".lock")))
            study.load()
            study.keep()
        uri = grid.prepared_store(options, studies[0].setting.name)
        first = [plan for study in studies for plan in study.plans(0, study.ask(0))]
        if any(not study.search.finished for study in studies):
            data = grid.check(options, first, None)

            def execute(plans: Sequence[Plan]) -> Mapping[Path, Status]:
                ended = sum(len(study.search.trials) for study in studies)
                wanted = sum(study.search.wanted for study in studies)
                announce(f"{ended} of {wanted} trials done; {_count(len(plans), 'run', 'runs')} next.")
                return grid.execute(options, plans, uri, data, request.command)

            jobs = (options.jobs or _QUEUED) if options.elsewhere else grid.jobs(options, first)
            search_all(studies, jobs, execute)
        with locked(request.place / ".lock"):
            files = tuning.summarise(request.place, tuned.read_all(options.output, studies[0].setting.name))
    print(reporter([study.search for study in studies]))
    print(f"Written to {request.place}: {', '.join(path.name for path in files)}")
    if uri != tracking.NONE:
        tracking.mirror(uri, [plan.run for plan in _all(studies)], request.command, trials=True)
        print(f"MLflow:  {tracking.viewer(uri)}")
    _print_failures(studies)
    return 1 if any(study.search.best is None for study in studies) else 0


def _all(studies: Sequence[Study]) -> list[Plan]:
    return [
        plan
        for study in studies
        for trial in study.search.trials
        for plan in study.plans(trial.number, {**trial.values, tuned.RATE: trial.factor})
    ]


def _print_failures(studies: Sequence[Study]) -> None:
    for study in studies:
        for trial in study.search.failures:
            what = f"{study.title} trial {trial.number}, {trial.strategy}, lr {trial.lr:.3g}"
            print(f"failed: {what}: {trial.reason}", file=sys.stderr)


def listing(request: TuneRequest) -> str:
    """The searches with what they vary, their state and cost, for ``--dry-run``."""
    lines: list[str] = []
    total = 0.0
    studies = request.studies()
    for study in studies:
        study.load()
    plans = [plan for study in studies for plan in study.plans(0, study.ask(0))]
    before.check(request.grid, plans)
    here = grid.check_runs(request.grid, plans)
    kind = before.device_kind(request.grid) if request.grid.elsewhere else here
    for study in studies:
        left = max(0, study.search.wanted - len(study.search.trials))
        seconds = left * sum(estimate(plan, kind) for plan in study.plans(0, study.ask(0)))
        total += seconds
        searched = ", ".join(f"{name} {_range(values)}" for name, values in study.space.items())
        lines.append(
            f"  {study.title:30} {len(study.search.trials)} of {study.search.wanted} trials, about "
            f"{duration(seconds)} left; searched: {searched}"
        )
    where = "one GPU" if kind == "cuda" else "a CPU like this one" if request.grid.elsewhere else "this CPU"
    return "\n".join([*lines, f"about {duration(total)} of training one after another on {where}."])


def _range(values: art.Range | art.Choice) -> str:
    if isinstance(values, art.Choice):
        return " or ".join(map(str, values.options))
    return f"{values.low:g} to {values.high:g}"
