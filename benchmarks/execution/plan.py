"""One run to be done: its setting, its configuration, its folder, and what is left to do."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import baselines
from benchmarks.config.configuration import Config
from benchmarks.config.settings import Setting
from benchmarks.training.checkpoint import resumable
from results import Damaged, Run, Status
from results.records import Role, State, labelled
from results.schema import CONFIG
from results.visible import visible

_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names that its folders cannot have


class Todo(StrEnum):
    """What is left to do for a run."""

    NOTHING = "done"
    SCORE = "to score"  # trained, but other scores are asked for
    MEND = "to mend"  # some of its files are damaged or gone
    RESUME = "resume"  # it has a checkpoint
    RETRY = "failed"
    START = "new"


@dataclass(frozen=True)
class Plan:
    """One run to be done; a ``trial`` of a search is judged by its validation and never sees the test images."""

    setting: Setting = field(compare=False)
    config: Config
    folder: Path
    trial: bool = False

    @classmethod
    def of(cls, setting: Setting, config: Config, output: Path, trial: bool = False) -> Plan:
        """The plan of the run with that configuration below the folder ``output``."""
        parent = output / "runs" / config.setting / folder_name(config.baseline) / folder_name(config.strategy)
        return cls(setting, config, parent / f"{config.seed}-{config.hash}", trial)

    @property
    def output(self) -> Path:
        """The output folder."""
        return self.folder.parents[4]

    @property
    def run(self) -> Run:
        """The run's files."""
        return Run(self.folder)

    @property
    def title(self) -> str:
        """``TransWeather art:tau=1 seed 0``."""
        name = baselines.describe(self.config.baseline).name
        terms = self.config.terms
        words = [
            *["tuned"] * bool(terms.tuned),
            *["equal cost"] * (terms.budget == "cost"),
            *filter(None, [terms.task]),
            *[f"from step {self.config.origin.step}"] * bool(self.config.origin.run),
            *[f"trial, lr {self.config.train.lr:.3g}"] * self.trial,
        ]
        return visible(f"{name} {labelled(terms.tuned or self.config.strategy, words)} seed {self.config.seed}")

    @property
    def status(self) -> Status:
        """Of the run; :attr:`State.DAMAGED` where it cannot be read."""
        try:
            return self.run.status
        except Damaged as damaged:
            return Status(State.DAMAGED, str(damaged))

    @property
    def todo(self) -> Todo:
        """What is left to do, from the files in the run's folder."""
        if self.run.damage():
            return Todo.MEND
        state = self.run.status.state
        if state == State.DONE:
            if self.run.record is None:
                return Todo.MEND
            return Todo.NOTHING if self.is_scored and self._has_metric_facts else Todo.SCORE
        if state == State.FAILED:
            return Todo.RETRY
        return Todo.RESUME if resumable(self.folder) else Todo.START

    @property
    def is_scored(self) -> bool:
        """Whether every test set has scores by the protocol and the metrics that are asked for; a trial needs none."""
        if self.trial:
            return True
        scored = self.scored_sets()
        expected = {record.dataset for record in self.run.data if record.role == Role.TEST}
        return bool(scored) and expected | set(self.config.evaluate.extra) <= scored

    def scored_sets(self) -> set[str]:
        """Test sets that have every metric that is asked for, by the protocol that is asked for."""
        scores = self.run.scores()
        scores = scores[scores["protocol"] == self.config.evaluate.protocol]
        expected = {"psnr", "ssim", *self.config.evaluate.metrics}
        return {str(dataset) for dataset, rows in scores.groupby("dataset") if expected <= set(rows["metric"])}

    @property
    def _has_metric_facts(self) -> bool:
        """Whether the run records which way each metric is better; runs of older versions do not."""
        record = self.run.record
        return record is not None and set(self.config.evaluate.metrics) <= set(record.metrics or ())

    def replaces_another(self) -> bool:
        """Whether there is the same run with training images of other names or sizes."""
        place = {"data": {"root", "fingerprint"}, "data_sets": True, "train": {"init"}, "origin": {"folder"}}
        config = self.config.model_dump(mode="json", exclude=place)
        for path in self.folder.parent.glob(f"{self.config.seed}-*/{CONFIG}"):
            record = Run(path.parent).legible().record
            if record is None or path.parent == self.folder:
                continue
            if {"definition": 1} | record.config.model_dump(mode="json", exclude_unset=True, exclude=place) == config:
                return True
        return False


def folder_name(text: str) -> str:
    """A name for a folder that every system accepts, at most 120 bytes long.

    It has no separators and is no name that Windows keeps for itself or would cut. Of a long text it has the start and
    a digest.
    """
    name = re.sub(r"[^\w.=+-]+", ",", text)
    name = f"_{name}" if _OF_WINDOWS.fullmatch(name) else name
    name += "," * name.endswith(".")
    if len(name.encode()) <= 120:
        return name
    return f"{name.encode()[:100].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
