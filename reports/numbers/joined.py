"""Single-task networks as one outcome: of a baseline and seed, one network for each task, scored on its task's sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

import pandas as pd

from reports.numbers.outcome import Images, Outcome, Standing
from results import DataRecord
from results.records import Environment

_MERGED: dict[str, Callable[[list[float]], float]] = {
    "train_seconds": sum,
    "step_seconds": fmean,
    "clipped_share": fmean,
    "peak_memory_mib": max,
    "peak_gpu_memory_mib": max,
}


@dataclass
class SingleTask(Outcome):
    """Networks of one task each that stand in one row; it counts where all of them do.

    Attributes:
        parts: a run for each task.
    """

    parts: Sequence[Outcome] = field(default_factory=list[Outcome])

    def __post_init__(self) -> None:
        self.own = any(part.own for part in self.parts)
        for part in self.parts:
            if not part.counts and self.counts:
                self.leave_out(part.standing, ": ".join(filter(None, [part.config.terms.task, part.reason])))
            self.apart |= part.apart

    @cached_property
    def images(self) -> dict[tuple[str, str], Images]:
        """Scores of every network on its own task's sets."""
        return {key: images for part in self.parts for key, images in part.images.items()}

    @cached_property
    def data(self) -> list[DataRecord]:
        """The sets they used."""
        return [record for part in self.parts for record in part.data]

    @cached_property
    def environment(self) -> Environment:
        """Of one of them, with the training time of all, the mean of their steps' and the largest of their peaks."""
        several = [part.environment for part in self.parts]
        merged: dict[str, float | None] = {
            name: merge([value for value in values if value is not None]) if None not in values else None
            for name, merge in _MERGED.items()
            if (values := [getattr(environment, name) for environment in several])
        }
        return several[0].model_copy(update=merged)

    @cached_property
    def ended(self) -> tuple[int, str]:
        """Of the newest."""
        return max(part.ended for part in self.parts)

    def rhythm(self) -> pd.DataFrame:
        """Nothing: there is no common course."""
        return self.run.rhythm().iloc[:0]

    def curve(self) -> pd.DataFrame:
        """The validation curves of all, each over its own steps."""
        return pd.concat([part.curve() for part in self.parts], ignore_index=True)


def join(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, single-task networks of one baseline, seed and race as one; superseded ones stay by themselves."""
    found: list[Outcome] = []
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.config.terms.task and outcome.standing != Standing.SUPERSEDED:
            groups.setdefault((outcome.pair, outcome.strategy), []).append(outcome)
        else:
            found.append(outcome)
    for group in groups.values():
        parts = sorted(group, key=lambda part: part.config.terms.task or "")
        first = parts[0]
        found.append(
            SingleTask(
                first.run, first.record, protocol=first.protocol, names=first.names, labels=first.labels,
                common=first.common, parts=parts,
            )
        )  # fmt: skip
    return found


def parts_of(outcome: Outcome) -> Sequence[Outcome]:
    """The runs behind an outcome: itself, or a network for each task."""
    return outcome.parts if isinstance(outcome, SingleTask) else [outcome]
