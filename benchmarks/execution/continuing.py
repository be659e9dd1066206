"""Finished runs trained on to more steps: ``--continue RUN ... --set train.steps=N``.

Each goes on from its end with its own configuration. Its schedule is that of N steps from there on: places in a
training are fractions of all steps, so the learning rate goes to what it would have at that step of N, and ends where
it would end. Unless the rate is constant, a run of N steps from the start is another one: its first steps had other
rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

import art
from benchmarks.config.configuration import Config, setting_of
from benchmarks.config.errors import UserError, mistakes
from benchmarks.config.overrides import apply
from benchmarks.config.sections import Ancestor, EvaluateConfig, TrainConfig
from benchmarks.config.settings import Setting
from benchmarks.data import locating
from benchmarks.execution.options import USUAL
from benchmarks.execution.plan import Plan
from benchmarks.scoring.unpacking import load_checkpoint
from benchmarks.scoring.weights import configured
from benchmarks.training import starts
from benchmarks.training.checkpoint import problem, resumable
from benchmarks.training.schedules import learning_rate
from results import Damaged, Run
from results.integrity import differing
from results.records import OBSERVING, DataRecord, Role
from results.schema import CHECKPOINT

ALSO = tuple(f"train.{key}" for key in OBSERVING)
"""Keys that may be set beside ``train.steps`` and those of ``evaluate``: training is the same with other values."""


class _Options(Protocol):
    """The options of a command, as far as continuing runs needs them."""

    @property
    def setting(self) -> str | None: ...
    @property
    def tasks(self) -> Sequence[str] | None: ...
    @property
    def baselines(self) -> Sequence[str]: ...
    @property
    def strategies(self) -> Sequence[str]: ...
    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def profile(self) -> str: ...
    @property
    def size(self) -> str | None: ...
    @property
    def data_root(self) -> Path | None: ...
    @property
    def overrides(self) -> Sequence[str]: ...
    @property
    def all_overrides(self) -> Sequence[str]: ...
    @property
    def by_cost(self) -> bool: ...
    @property
    def cost_ratios(self) -> Sequence[str]: ...
    @property
    def tuned(self) -> bool: ...
    @property
    def continued(self) -> Sequence[Path]: ...


def setting(request: _Options) -> Setting:
    """The setting of the runs that a request continues, after its options were checked.

    Raises:
        UserError: where they are of several, or it is no longer as it was; for options that cannot stand beside.
    """
    _check_options(request)
    found = {config.setting_place or config.setting: config for config in map(_config, request.continued)}
    if len(found) > 1:
        raise UserError(f"--continue: runs of one setting at a time, not of {', '.join(sorted(found))}.")
    return setting_of(next(iter(found.values())))


def configs(request: _Options, setting: Setting) -> list[Config]:
    """The continued runs of a request.

    Raises:
        UserError: with everything that is wrong with them.
    """
    found: list[Config] = []
    problems: list[str] = []
    for folder in request.continued:
        try:
            found.append(_continued(request, setting, folder.resolve()))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(problems[0]) if len(problems) == 1 else UserError("these runs cannot be continued:", problems)
    sources = {(config.data.source, config.data.root, config.data.missing) for config in found}
    if len(sources) > 1 or len({(config.evaluate, config.data.validation) for config in found}) > 1:
        raise UserError("--continue: these runs have other data or other scores than each other; continue them apart.")
    return found


def _config(folder: Path) -> Config:
    try:
        return configured(Run(folder))[0]
    except Damaged as error:
        raise UserError(f"{folder}: {error}; take another run, or do this one anew.") from error


def _check_options(request: _Options) -> None:
    """Refuse what cannot stand beside ``--continue``."""
    terms = ["--budget"] * request.by_cost + ["--tuned"] * request.tuned + ["--cost-ratio"] * bool(request.cost_ratios)
    if terms:
        raise UserError(f"--continue trains runs on as they are; leave out {', '.join(terms)}.")
    keys = [text.partition("=")[0] for text in request.overrides]
    strange = [key for key in keys if key != "train.steps" and key not in ALSO and not key.startswith("evaluate.")]
    if strange:
        raise UserError(
            f"--continue: a run goes on as it was configured, and {', '.join(strange)} would make another training of "
            "it; a new run can start from its weights: --set train.init=RUN."
        )
    if "train.steps" not in keys:
        raise UserError("--continue needs to know to how many steps: --set train.steps=N.")


def _continued(request: _Options, setting: Setting, folder: Path) -> Config:
    """A run's configuration, to be continued.

    Raises:
        UserError: if it cannot be.
    """
    run, config = Run(folder), _config(folder)
    starts.check_finished(run)
    _check_agreement(request, config, folder)
    if config.terms.task or config.terms.budget == "cost":
        raise UserError(
            f"{folder} is one of several runs of a comparison with planned steps; such runs are not continued."
        )
    if art.definition(config.strategy) != config.definition:
        raise UserError(f"{folder}: {config.strategy} has another definition since; do the run anew.")
    content = load_checkpoint(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else {}
    if content.get("hash") != config.hash or not isinstance(content.get("step"), int):
        raise UserError(f"{folder} has no {CHECKPOINT} of its own; it cannot be continued.")
    done, wanted = int(content["step"]), _with_overrides(request, config)
    if wanted.train.steps <= config.train.steps:
        raise UserError(
            f"{folder} has done {config.train.steps} steps; train.steps={wanted.train.steps} is no more than that."
        )
    if (wrong := problem(content, wanted, len(setting.tasks))) or done != config.train.steps:
        raise UserError(f"{folder / CHECKPOINT} cannot be used: {wrong or f'it is after step {done}'}.")
    identity = config.identity(setting)
    origin = Ancestor(
        folder=str(folder), run=config.hash, step=done, weights=starts.digest(content["network"]),
        pair=identity["pair"], cohort=identity["cohort"],
    )  # fmt: skip
    return _with_images(request, setting, wanted.model_copy(update={"origin": origin}), folder)


def _check_agreement(request: _Options, config: Config, folder: Path) -> None:
    """Whether the options that name runs, where they are given, name this one."""
    given = {
        "--setting": (request.setting, [config.setting, config.setting_place]),
        "--baselines": (request.baselines, [config.baseline]),
        "--strategies": (request.strategies, [config.strategy, config.terms.tuned]),
        "--seeds": (request.seeds, [config.seed]),
        "--profile": (request.profile, [config.profile]),
        "--size": (request.size, [config.size]),
        "--tasks": (request.tasks, [list(config.tasks)]),
    }
    for option, (value, own) in given.items():
        if value in (None, USUAL.get(option)):
            continue
        values = [value] if isinstance(value, str) else list(value)
        if not (any(one in own for one in values) or values in own):
            what = " ".join(map(str, values))
            raise UserError(f"{folder} is a run of {own[0]}, not of {option} {what}; leave that option out.")


def _with_overrides(request: _Options, config: Config) -> Config:
    content = config.model_dump(mode="json")
    for override in request.all_overrides:
        apply(content, override, {"train": TrainConfig, "evaluate": EvaluateConfig})
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise UserError("the configuration is not valid:", mistakes(error, Config)) from error


def _with_images(request: _Options, setting: Setting, config: Config, folder: Path) -> Config:
    """The run on its images, wherever they are now."""
    if request.data_root and config.data.source == "embedded":
        raise UserError(f"{folder} is a run on embedded data; leave out --data-root.")
    if request.data_root:
        update = {"root": str(request.data_root.resolve())}
        config = config.model_copy(update={"data": config.data.model_copy(update=update)})
    if locating.fingerprint(setting, config.data) != config.data.fingerprint:
        raise UserError(
            f"the training images below {config.data.root} are others than those of {folder}; put those back."
        )
    return config


def check_images(plans: Sequence[Plan], records: Sequence[DataRecord]) -> None:
    """Whether runs would go on with the images that they were trained on.

    Raises:
        UserError: if not.
    """
    for plan in plans:
        origin = plan.config.origin
        if not origin.run or resumable(plan.folder):
            continue
        if changed := differing(Run(Path(origin.folder)).data, records, Role.TRAIN):
            raise UserError(
                f"the training images of {', '.join(changed)} are others than those of {origin.folder}, under the same "
                "names and with the same sizes; put those back."
            )


def told(plans: Sequence[Plan]) -> list[str]:
    """What a reader must know of where these runs start, and of what the schedule does there."""
    lines: dict[str, None] = {}
    for config in (plan.config for plan in plans):
        train, origin = config.train, config.origin
        if origin.run:
            now = learning_rate(train, origin.step)
            before = learning_rate(train.model_copy(update={"steps": origin.step}), origin.step - 1)
            lines[
                f"Continued after step {origin.step}, up to {train.steps}: the schedule ({train.schedule}) is that of "
                f"{train.steps} steps from there on, so the learning rate goes from {before:.3g} to {now:.3g}. This is "
                f"not a run of {train.steps} steps from the start, and has a table of its own."
            ] = None
        elif train.init:
            lines[
                f"Started from the weights in {train.init} ({train.weights}), with a new optimizer and the whole "
                "schedule; compared only with runs that started from the same ones."
            ] = None
    return list(lines)
