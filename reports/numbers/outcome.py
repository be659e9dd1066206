"""One run and what it counts for, with its scores image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.numbers.naming import named
from results import DataRecord, Run, RunRecord, schema
from results.records import Environment, RunConfig, labelled, varied

LEAK_FREE = " leak-free"
"""Stands behind a test set's name where the images that are in the training data are left out."""


class Standing(StrEnum):
    """What a run counts for: only :attr:`COUNTED` ones enter averages and gains, every other one is named."""

    COUNTED = "counted"
    COLLAPSED = "collapsed"
    NOT_FINITE = "not finite"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    UNSCORED = "unscored"
    SUPERSEDED = "superseded"
    DAMAGED = "damaged"


class Images(NamedTuple):
    """Scores of the images of one test set with one metric: names (images,), values of the restored and of the degraded
    ones (images,) float64, NaN where missing, and digests of their pixels (images,), empty where none was recorded.
    Runs scored on the same images share the object of their names."""

    task: str
    names: pd.Index[str]
    values: NDArray[np.float64]
    inputs: NDArray[np.float64]
    pixels: NDArray[np.object_]

    def only(self, names: pd.Index[str], places: NDArray[np.bool_ | np.intp]) -> Images:
        """The images at these places (mask or indices), which have these names."""
        return Images(self.task, names, self.values[places], self.inputs[places], self.pixels[places])


class Mean(NamedTuple):
    """Means over the images of a test set: of the restored and of the degraded ones' metric, and how many there are."""

    value: float
    input_value: float
    images: int


def last_change(run: Run) -> tuple[int, str]:
    """When the run last changed its state (nanoseconds; of a kept run its precedence), and its folder: to order runs
    by."""
    for name in (schema.STATUS, schema.CONFIG):
        path = run.folder / name
        if path.exists():
            return path.stat().st_mtime_ns, str(run.folder)
    return run.precedence, str(run.folder)


@dataclass
class Outcome:
    """One run and what it counts for.

    Attributes:
        run: its files.
        record: its configuration and identities.
        standing: whether it counts.
        reason: why it does not count, or a finished run's warning.
        protocol: scores of this protocol count.
        names: of the images by test set, shared by the runs of a cohort.
        apart: test sets whose scores do not compare, and why.
        labels: names for strategies, by spec (:mod:`reports.numbers.naming`).
        own: whether it is a run of the command that asks.
        common: departures from the recipe that all runs of the cohort have.
    """

    run: Run
    record: RunRecord
    standing: Standing = Standing.COUNTED
    reason: str = ""
    protocol: str = ""
    names: dict[str, list[pd.Index[str]]] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    own: bool = False
    common: frozenset[str] = frozenset()

    @property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return self.record.config

    @property
    def baseline(self) -> str:
        """Name of the network, with the departures from its recipe that are swept: ``nafnet lr=0.002``."""
        return " ".join([self.config.baseline, *self.varied])

    @property
    def network(self) -> str:
        """The network's name for people."""
        return self.record.display.baseline or self.config.baseline

    @property
    def display(self) -> str:
        """The baseline's name for people: ``NAFNet, lr=0.002``."""
        return ", ".join([self.network, *self.varied])

    @cached_property
    def varied(self) -> list[str]:
        """Departures from the recipe that are swept, where runs of the cohort differ in them."""
        return [text.removeprefix("train.") for text in varied(self.record.overrides) if text not in self.common]

    @property
    def strategy(self) -> str:
        """Name of the strategy with its parameters and terms: ``art:tau=1``, ``art (tuned)``."""
        return labelled(self.name, self.config.words)

    @property
    def at_equal_steps(self) -> str:
        """:attr:`strategy` of the same run with mix's steps."""
        return labelled(self.name, ["tuned"] * bool(self.config.terms.tuned))

    @property
    def name(self) -> str:
        """The strategy without its terms, under its label where it has one."""
        return named(self.config.asked, self.labels)

    @property
    def seed(self) -> int:
        """Of the whole run."""
        return self.config.seed

    @property
    def pair(self) -> str:
        """Equal for runs whose difference is the strategy's."""
        return self.record.pair

    @property
    def counts(self) -> bool:
        """Whether the run enters averages and gains."""
        return self.standing == Standing.COUNTED

    @property
    def title(self) -> str:
        """The strategy, with the run's standing where it does not count."""
        return self.strategy if self.counts else f"{self.strategy} ({self.standing})"

    @cached_property
    def environment(self) -> Environment:
        """What the run was computed with, and what it took."""
        return self.run.environment

    @cached_property
    def data(self) -> list[DataRecord]:
        """The sets it used."""
        return self.run.data

    def rhythm(self) -> pd.DataFrame:
        """Its task losses and weights, step by step."""
        return self.run.rhythm()

    def curve(self) -> pd.DataFrame:
        """Its validation curve."""
        return self.run.curve()

    @cached_property
    def ended(self) -> tuple[int, str]:
        """:func:`last_change` of the run."""
        return last_change(self.run)

    @property
    def leaked(self) -> dict[str, list[str]]:
        """Names of the leaked images of each test set that has some."""
        return {record.dataset: record.leaked for record in self.data if record.leaked}

    def leave_out(self, standing: Standing, reason: str) -> None:
        """Let the run not count."""
        self.standing, self.reason = standing, reason

    @cached_property
    def images(self) -> dict[tuple[str, str], Images]:
        """Per-image scores under the cohort's protocol by ``(dataset, metric)``, in the order of the file.

        A test set with images whose clean version was trained on stands there once more without them, as ``<dataset>
        leak-free``.
        """
        table = self.run.scores()
        table = table[table["protocol"] == self.protocol]
        tasks: pd.Series[str] = table["task"]
        names: pd.Series[str] = table["image"]
        values, inputs = (table[column].to_numpy(dtype=float) for column in ("value", "input_value"))
        pixels = table["pixels"].to_numpy(dtype=object)
        found: dict[tuple[str, str], Images] = {}
        leaked = self.leaked
        groups = cast(
            "dict[tuple[str, str], NDArray[np.intp]]", table.groupby(["dataset", "metric"], sort=False).indices
        )
        for (dataset, metric), rows in groups.items():
            parts = {dataset: rows}
            if dataset in leaked:
                parts[dataset + LEAK_FREE] = rows[~np.isin(names.iloc[rows].to_numpy(), leaked[dataset])]
            for name, places in parts.items():
                if len(places):
                    shared = self.shared(name, pd.Index(names.iloc[places]))
                    task = tasks.iloc[places[0]]
                    found[name, metric] = Images(task, shared, values[places], inputs[places], pixels[places])
        return found

    def shared(self, dataset: str, names: pd.Index[str]) -> pd.Index[str]:
        """These names of images, as the object that other runs have too."""
        known = self.names.setdefault(dataset, [])
        for other in known:
            if other.equals(names):
                return other
        known.append(names)
        return names

    @cached_property
    def means(self) -> dict[tuple[str, str], Mean]:
        """Mean over images of per-image values, by ``(dataset, metric)``."""
        return {
            key: Mean(_mean(images.values), _mean(images.inputs), len(images.values))
            for key, images in self.images.items()
        }

    @cached_property
    def datasets(self) -> dict[str, int]:
        """Test sets with scores, and how many images of each."""
        found: dict[str, int] = {}
        for (dataset, _), mean in self.means.items():
            found[dataset] = max(found.get(dataset, 0), mean.images)
        return found

    def mean(self, dataset: str, metric: str, degraded: bool = False) -> float:
        """Mean score of the restored or the ``degraded`` images of a test set; NaN where the run has none."""
        mean = self.means.get((dataset, metric))
        return math.nan if mean is None else mean.input_value if degraded else mean.value

    def average(self, datasets: Sequence[str], metric: str, degraded: bool = False) -> float:
        """Mean over ``datasets`` of the means over images; NaN unless the run has them all."""
        values = [self.mean(dataset, metric, degraded) for dataset in datasets]
        return sum(values) / len(values) if values else math.nan


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
