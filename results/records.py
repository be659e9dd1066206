"""What a run says of itself, typed: benchmarks writes these records, reports reads them.

Records are read leniently: of older versions fields are missing (``None`` or empty), of newer ones some are not known
here; both are kept as they are when a record is written again. A meaning never travels as a sentence: states, faults,
origins are enumerations, and words come beside them for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, JsonValue


class State(StrEnum):
    """Where a run is. Only :data:`WRITTEN` ones stand in its ``status``; the others are seen from outside."""

    ABSENT = "absent"  # nothing there yet
    RUNNING = "running"  # started, perhaps interrupted
    DONE = "done"
    FAILED = "failed"
    BUSY = "busy"  # another command works on it
    KILLED = "killed"  # its process has died
    CROWDED = "crowded"  # memory did not suffice for it beside other runs
    DAMAGED = "damaged"  # its status cannot be read


SINGLE = "single"
"""Name of the strategy of one network for each task."""

SWEPT = frozenset(
    f"train.{key}"
    for key in (
        "loss", "optimizer", "lr", "betas", "weight_decay", "schedule", "plateaus", "warmup", "cycle", "min_lr",
        "encoder_warmup", "encoder_lr", "encoder_decay", "encoder_every", "decay", "every", "ema", "clip_norm",
        "clip_percentile",
    )
)  # fmt: skip
"""Departures from a recipe that one table may hold beside each other, mix with each: how the optimizer goes, not how
much work is done or on what."""

OBSERVING = ("checkpoint_every", "probe_every", "nonfinite", "emulate", "compile", "graphs", "deterministic")
"""Keys of ``train`` with which training is the same at other values, up to rounding; with ``nonfinite=skip`` it goes on
where it would have failed, and says so."""

LENGTH = "train.steps"
"""The departure in which trainings of several lengths differ; a weight average, which is scaled to the length, is swept
(:data:`SWEPT`)."""

WRITTEN = (State.RUNNING, State.DONE, State.FAILED)


class Fault(StrEnum):
    """What is wrong with a finished run's outputs, so that its scores do not count."""

    NONE = ""
    COLLAPSED = "collapsed"  # most outputs of a test set are constant
    NOT_FINITE = "not finite"  # outputs hold NaN or infinite values


@dataclass(frozen=True)
class Status:
    """State of a run.

    Attributes:
        state: where it is.
        reason: why it failed; of a finished run a warning that tables must show.
        fault: why a finished run does not count.
    """

    state: State
    reason: str = ""
    fault: Fault = Fault.NONE

    @property
    def words(self) -> str:
        """Fault and reason as ``status`` holds them: ``collapsed: constant output on Rain100L``."""
        return ": ".join(filter(None, (self.fault, self.reason)))

    @classmethod
    def of(cls, state: str, words: str) -> Self:
        """The status of a state and its :attr:`words`.

        Raises:
            ValueError: for a state that is none.
        """
        head, _, rest = words.partition(":")
        if state == State.DONE and head.strip() in (Fault.COLLAPSED, Fault.NOT_FINITE):
            return cls(State.DONE, rest.strip(), Fault(head.strip()))
        return cls(State(state), words)


class Record(BaseModel):
    """A part of a JSON file; fields that are not declared are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    def content(self) -> dict[str, JsonValue]:
        """What is written: the fields that were given."""
        return self.model_dump(mode="json", exclude_unset=True)


class MetricFacts(Record):
    """What a metric's numbers mean.

    Attributes:
        title: as the field writes it.
        unit: empty for none.
        digits: to print after the point.
        lower_is_better: ``None`` where it is not known, or neither way is better.
    """

    lower_is_better: bool | None = None
    title: str
    unit: str = ""
    digits: int = 3

    @property
    def name(self) -> str:
        """``PSNR, dB``."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


PROTOCOL_METRICS = {
    "psnr": MetricFacts(lower_is_better=False, title="PSNR", unit="dB", digits=2),
    "ssim": MetricFacts(lower_is_better=False, title="SSIM", unit="", digits=3),
}
"""The metrics of every protocol."""


class DataConfig(Record):
    """``config.data``: where images came from."""

    source: Literal["embedded", "files"] | None = None
    root: str | None = None
    missing: str | None = None
    mixing: str | None = None
    fingerprint: str = ""


class TrainConfig(Record):
    """``config.train``: the recipe, as far as reports look at it."""

    steps: int | None = None
    batch: int | None = None
    patch: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    schedule: str | None = None
    precision: str | None = None
    clip_norm: float | None = None
    clip_percentile: float | None = None
    ema: float | None = None
    threads: int | None = None
    init: str = ""
    weights: str = ""


class EvaluateConfig(Record):
    """``config.evaluate``: how the network was scored."""

    protocol: str = ""
    extra: list[str] = []
    metrics: list[str] = []


class Terms(Record):
    """``config.terms``: what a run was given apart from the recipe (``benchmarks.config.sections.Terms``)."""

    steps: int = 0
    lr: float = 0.0
    budget: str = "steps"
    ratio: float = 1.0
    tuned: str = ""
    trials: int = 0
    task: str = ""


class Ancestor(Record):
    """``config.origin``: the finished run that this one went on from (``benchmarks.config.sections.Ancestor``)."""

    folder: str = ""
    run: str = ""
    step: int = 0


class RunConfig(Record):
    """The resolved configuration of a run (``benchmarks.config.configuration.Config``); ``data_sets``: those that its
    user brought along, by name; ``setting_place``: where a setting from outside came from."""

    setting: str
    setting_place: str = ""
    baseline: str
    strategy: str
    definition: int = 1
    seed: int = 0
    profile: str | None = None
    size: str | None = None
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tasks: list[str] = []
    terms: Terms = Terms()
    data_sets: dict[str, dict[str, JsonValue]] = {}
    origin: Ancestor = Ancestor()

    @property
    def label(self) -> str:
        """The strategy with its terms, as tables name it: ``art``, ``art (tuned)``, ``art (equal cost)``."""
        return labelled(self.asked, self.words)

    @property
    def asked(self) -> str:
        """The strategy as it was asked for, without what a search has found."""
        return self.terms.tuned or self.strategy

    @property
    def words(self) -> list[str]:
        """Its terms, where they are not those of an ordinary run."""
        return ["tuned"] * bool(self.terms.tuned) + ["equal cost"] * (self.terms.budget == "cost")

    @property
    def recipe(self) -> dict[str, JsonValue]:
        """``train`` with mix's steps and the recipe's learning rate, without the place of its weights, and the
        mixing."""
        usual = {"steps": self.terms.steps, "lr": self.terms.lr}
        train = {key: value for key, value in self.train.content().items() if key != "init"}
        return train | {key: value for key, value in usual.items() if value} | {"mixing": self.data.mixing}


def labelled(strategy: str, terms: Sequence[str]) -> str:
    """``art (tuned, equal cost)``."""
    return f"{strategy} ({', '.join(terms)})" if terms else strategy


class Display(Record):
    """Names for people."""

    setting: str = ""
    baseline: str = ""


class RunRecord(Record):
    """``config.json``.

    Attributes:
        hash: of everything that training depends on.
        pair: the same without the strategy: equal for runs whose difference is the strategy's.
        cohort: of what a table may not mix.
        overrides: departures from the recipe, as ``key=value``.
        parameters: of the strategy, with their defaults.
        display: names for people.
        metrics: what the numbers of every metric mean; ``None`` in runs of older versions.
        epochs: expected passes over each task's training samples: steps x batch x share of the mixing / distinct
            samples that were there (``found`` of its training sets); ``None`` in runs of older versions.
        config: the resolved configuration.
        store: version of the folder's layout (:data:`results.schema.STORE`).
    """

    hash: str = ""
    pair: str = ""
    cohort: str = ""
    overrides: list[str] = []
    parameters: dict[str, JsonValue] | None = None
    display: Display = Display()
    metrics: dict[str, MetricFacts] | None = None
    epochs: dict[str, float] | None = None
    config: RunConfig
    store: int = 1

    @property
    def kin(self) -> str:
        """Equal for runs that one table may hold but for the length of their trainings; empty for those that went on
        from a finished run, whose length is no free choice."""
        if self.config.origin.run:
            return ""
        departures = [text for text in self.overrides if text.partition("=")[0] != LENGTH]
        return json.dumps(shared(self.config.content(), departures), sort_keys=True)


def shared(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """What the runs of a table have in common, from their configuration and departures from the recipe: setting, tasks,
    size, profile, data, and the departures that are not :data:`SWEPT`.

    Where images lie is left out, and how they are mixed: that is the recipe's, or a departure.
    """
    keys = ("setting", "setting_digest", "tasks", "size", "profile")
    unshared = {"root", "mixing"} | ({"validation"} if config["data"].get("source") == "embedded" else set())
    data = {key: value for key, value in config["data"].items() if key not in unshared}
    return {key: config[key] for key in keys if key in config} | {"data": data, "departures": varied(overrides, False)}


def varied(overrides: Sequence[str], swept: bool = True) -> list[str]:
    """Those departures (``key=value``) that are :data:`SWEPT`, or the others."""
    return [text for text in overrides if (text.partition("=")[0] in SWEPT) == swept]


def passes(epochs: Mapping[str, float]) -> str:
    """:attr:`RunRecord.epochs` for people: ``derain 1,205, dehaze 12.3, denoise_15 <0.01``."""
    return ", ".join(f"{task} {_passes(count)}" for task, count in epochs.items())


def _passes(count: float) -> str:
    if count < 0.005:
        return "<0.01" if count else "0"
    return f"{count:,.{2 if count < 10 else 1 if count < 100 else 0}f}"


class Environment(Record):
    """``environment.json``: what a run was computed with, and what it took.

    Attributes:
        commit: of this project, with ``+changes`` where the work tree differed.
        versions: of the libraries, by name.
        train_seconds, evaluate_seconds: of the training and of scoring.
        step_seconds: of one update, on average.
        peak_memory_mib: main memory at most, MiB.
        peak_memory_of: what that was taken of: the ``training``, or the ``process`` since it began, which may have done
            other runs before (where the system does not tell more, and in older versions).
        peak_gpu_memory_mib: memory of tensors on the GPU at most during the training, MiB.
        clipped_share: of the steps, those whose gradient was clipped; ``None`` where none is, or it is not known.
        validation_seconds: of scoring on the way, which the training's leave out.
        compiled: whether the forward pass was compiled at the end of the training.
        recompilations: how often it was compiled beyond the first time, for other shapes or conditions.
        graphs: whether forward and backward passes were replayed as CUDA graphs at the end of the training.
        noise: whose random numbers made the degradations of the training: the ``cpu``'s or those of ``cuda``.
        skipped_updates: updates left out because they were not finite.
    """

    commit: str | None = None
    python: str | None = None
    versions: dict[str, str | None] = {}
    device: str | None = None
    device_type: str | None = None
    threads: int | None = None
    platform: str | None = None
    processes: int | None = None
    train_seconds: float | None = None
    step_seconds: float | None = None
    validation_seconds: float | None = None
    evaluate_seconds: float | None = None
    peak_memory_mib: int | None = None
    peak_memory_of: str = "process"
    peak_gpu_memory_mib: int | None = None
    clipped_share: float | None = None
    compiled: bool | None = None
    recompilations: int | None = None
    graphs: bool | None = None
    noise: str | None = None
    skipped_updates: int | None = None
    remark: str | None = None


class Origin(StrEnum):
    """Where the images of a set come from."""

    REAL = "real"
    EMBEDDED = "embedded"
    SYNTHESISED = "synthesised"  # degradation applied to real clean images
    ABSENT = "absent"
    UNKNOWN = "origin not recorded"


class Role(StrEnum):
    """What a set is for."""

    TRAIN = "train"
    VALIDATION = "validation"  # held out of the training, scored through it
    TEST = "test"
    EXTRA = "extra"  # a test set outside the average


class DataRecord(Record):
    """A set that was used, an entry of ``data.json``.

    Attributes:
        role: what it is for.
        task: the task it belongs to.
        dataset: the set, or the test set's column name.
        found: samples that were there.
        expected: samples that were published; ``None`` where no count is.
        origin: where its images come from.
        digest: stands for the pixels of all its images, in order; the first letter tells of what it was made, and only
            alike ones are compared.
        leaked: names (``image`` of the scores) of a test set's images whose clean version is known to be in the
            training data of the run, so that a score without them can be given.
        made_from: the sets whose clean images a synthesised one was made from.
        repeats: how often each sample of a further training set stands among those of its task, where more than once.
    """

    role: str
    task: str
    dataset: str
    found: int | None = None
    expected: int | None = None
    origin: str = Origin.UNKNOWN
    digest: str = ""
    leaked: list[str] = []
    made_from: list[str] = []
    repeats: int = 0

    @property
    def partial(self) -> bool:
        """Whether samples are missing."""
        return self.expected is not None and (self.found or 0) < self.expected

    @property
    def seen(self) -> bool:
        """Whether the clean versions of all images of a test set are in the training data."""
        return bool(self.found) and len(set(self.leaked)) >= (self.found or 0)

    @property
    def complete(self) -> bool:
        """Whether all its images are real and none is missing."""
        return self.origin == Origin.REAL and not self.partial

    @property
    def mark(self) -> str:
        """What a reader must know before comparing: ``2 of 100``, ``synthesised``, ...; empty if real and complete."""
        marks = [] if self.origin == Origin.REAL else [self.origin]
        if self.partial and self.origin != Origin.ABSENT:
            marks.append(f"{self.found} of {self.expected}")
        if self.role == Role.EXTRA:
            marks.append("extra")
        if self.seen:
            marks.append("all leaked")
        return ", ".join(marks)

    @property
    def title(self) -> str:
        """Name and mark: ``Rain100L (2 of 100)``."""
        return f"{self.dataset} ({self.mark})" if self.mark else self.dataset


class TaskProgress(Record):
    """The last recorded loss and weight of a task; NaN where there is none."""

    loss: float
    weight: float


class Progress(Record):
    """``progress.json``: what a run at work last said of itself."""

    phase: str = ""
    done: int = 0
    total: int = 0
    left: float = 0.0  # seconds
    tasks: dict[str, TaskProgress] = {}


@dataclass(frozen=True)
class Evaluated:
    """What ``python -m benchmarks.evaluate`` scored, and how.

    Attributes:
        setting, setting_title: whose test sets, by name and for people.
        network: the baseline's name for people.
        size: of the network.
        checkpoint: its file.
        contents: what was found in the file, for people.
        source, root: where the test images are from, as in :class:`DataConfig`.
        protocol: of the scores.
        metrics: what the numbers of every metric mean.
        sets: the test sets.
        run: the run that the weights are from; ``None`` for a published file.
        trained: the sets that run used.
        notes: what happened while scoring, for people.
    """

    setting: str
    setting_title: str
    network: str
    size: str
    checkpoint: Path
    contents: str
    source: str
    root: str | None
    protocol: str
    metrics: Mapping[str, MetricFacts]
    sets: Sequence[DataRecord]
    run: RunRecord | None = None
    trained: Sequence[DataRecord] = ()
    notes: Sequence[str] = ()


class Severity(StrEnum):
    """Where a note belongs."""

    WARNING = "warning"  # must be seen before the numbers are read
    NOTE = "note"  # beneath the table


@dataclass(frozen=True)
class Note:
    """What a reader must know of a table.

    Attributes:
        severity: where it belongs.
        code: what it is about, a short name that does not change with the words.
        text: for people.
    """

    severity: Severity
    code: str
    text: str

    def __str__(self) -> str:
        return self.text
