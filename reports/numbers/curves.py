"""Validation curves of a baseline's strategies: PSNR and gain over mix through the training, over seeds.

A curve lies over steps, over images of the task seen so far, or over seconds of training; gains are taken at equal
places of the same axis. Where a run was scored at other places than mix's of its seed, mix is read off its curve
between the two points around; outside of it there is no gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.numbers.model import AVERAGE, REFERENCE, Cohort
from reports.numbers.outcome import Outcome
from reports.numbers.statistics import PairedGain, paired_gain

Axis = Literal["step", "images", "seconds"]
Places = NDArray[np.float64]
"""Numbers along a curve, (points,)."""


class Point(NamedTuple):
    """A place of a strategy's curve: after how many steps, and there, mean over the seeds, images of the task and
    seconds; the mean of the seeds' values with its t-interval."""

    step: int
    images: float
    seconds: float
    value: PairedGain


Course = dict[str, dict[int, Point]]
"""By task (the average under :data:`reports.numbers.model.AVERAGE`, last) and step."""


@dataclass(frozen=True)
class SeedCurve:
    """The curve of one run, tables of step x task with the average last; that of ``images`` and ``seconds`` are what
    the whole training saw and took.

    Attributes:
        psnr: in dB; NaN for outputs that are not finite, and of the average where a task's is.
        images, seconds: see :data:`results.schema.CURVE_COLUMNS`.
        machine: what it was trained with; seconds of others do not compare.
        apart: of single-task networks, which have no common course.
    """

    psnr: pd.DataFrame
    images: pd.DataFrame
    seconds: pd.DataFrame
    machine: tuple[object, ...]
    apart: bool = False

    def along(self, axis: Axis, task: str) -> Places:
        """Its places."""
        if axis == "step":
            return self.psnr.index.to_numpy(dtype=float)
        return (self.images if axis == "images" else self.seconds)[task].to_numpy(dtype=float)

    def at(self, places: Places, axis: Axis, task: str) -> Places:
        """Its PSNR at these places, linear between its points; NaN outside of them."""
        own = self.along(axis, task)
        return np.interp(places, own, self.psnr[task].to_numpy(dtype=float), np.nan, np.nan)


@dataclass(frozen=True)
class Curve:
    """A strategy's curves.

    Attributes:
        strategy: its label.
        seeds: by the run's pair; their steps may differ where a run was begun without validation.
        reference: those of mix.
        compared: whether it is measured against mix, which mix itself is not.
    """

    strategy: str
    seeds: Mapping[str, SeedCurve]
    reference: Mapping[str, SeedCurve]
    compared: bool

    @cached_property
    def level(self) -> Course:
        """PSNR in dB, at the steps that all seeds have."""
        return _course(self.seeds, {task: [c.psnr[task] for c in self.seeds.values()] for task in self.tasks})

    @cached_property
    def gain(self) -> Course:
        """Gain over mix in dB after equal steps, of the seeds that both have; of mix itself nothing."""
        return self._gain("step")

    @cached_property
    def gain_of_images(self) -> Course:
        """The same after equal numbers of images of the task."""
        return self._gain("images")

    @cached_property
    def gain_of_time(self) -> Course:
        """The same after equal seconds of training, of pairs that were trained with the same machine."""
        return self._gain("seconds")

    @property
    def tasks(self) -> list[str]:
        """The tasks, and the average."""
        return _shared(self.seeds.values())

    @property
    def pairs(self) -> dict[str, tuple[SeedCurve, SeedCurve]]:
        """Its own curve and mix's of the seeds that both have."""
        both = [pair for pair in self.seeds if pair in self.reference and self.compared]
        return {pair: (self.seeds[pair], self.reference[pair]) for pair in both}

    def _gain(self, axis: Axis) -> Course:
        pairs = {
            name: (own, mix)
            for name, (own, mix) in self.pairs.items()
            if axis != "seconds" or own.machine == mix.machine
        }
        differences = {
            task: [
                (own.psnr[task] - mix.at(own.along(axis, task), axis, task))[_inside(own, mix, axis, task)]
                for own, mix in pairs.values()
            ]
            for task in _shared([curve for pair in pairs.values() for curve in pair])
        }
        return _course({name: own for name, (own, _) in pairs.items()}, differences)


def _shared(several: Iterable[SeedCurve]) -> list[str]:
    """Tasks that all of them have, and the average where it is over the same tasks."""
    found = [[str(task) for task in curve.psnr] for curve in several]
    tasks = [task for task in (found[0] if found else []) if all(task in other for other in found)]
    return tasks if all(len(other) == len(tasks) for other in found) else [task for task in tasks if task != AVERAGE]


def _inside(own: SeedCurve, mix: SeedCurve, axis: Axis, task: str) -> NDArray[np.bool_]:
    places, known = own.along(axis, task), mix.along(axis, task)
    return (places >= known.min()) & (places <= known.max())


def curves(cohort: Cohort, baseline: str) -> list[Curve]:
    """Curves of the counted runs of all strategies, in the table's order; those whose runs left none are left out."""
    of_run = {id(outcome): _seed_curve(outcome) for outcome in cohort.counted(baseline)}

    def of_seeds(outcomes: Sequence[Outcome]) -> dict[str, SeedCurve]:
        return {outcome.pair: curve for outcome in outcomes if (curve := of_run[id(outcome)])}

    found: list[Curve] = []
    for name in cohort.strategies(baseline):
        own, reference = cohort.counted(baseline, name), cohort.reference(baseline, name)
        if seeds := of_seeds(own):
            found.append(Curve(name, seeds, of_seeds(reference), compared=name != REFERENCE))
    return found


def _seed_curve(outcome: Outcome) -> SeedCurve | None:
    table = outcome.curve()
    if table.empty:
        return None
    tasks = list(dict.fromkeys(table["task"]))
    psnr, images, seconds = (
        table.pivot(index="step", columns="task", values=name)[tasks] for name in ("psnr", "images", "seconds")
    )
    # single-task networks took each their own time; those of one training share it
    apart = bool(outcome.config.terms.task)
    whole = seconds.sum(axis=1) if apart else seconds.max(axis=1)
    environment = outcome.environment
    return SeedCurve(
        psnr.assign(**{AVERAGE: psnr.mean(axis=1, skipna=False)}),
        images.assign(**{AVERAGE: images.sum(axis=1)}),
        seconds.assign(**{AVERAGE: whole}),
        (environment.device, environment.threads, environment.processes),
        apart,
    )


def _course(seeds: Mapping[str, SeedCurve], values: Mapping[str, Sequence[pd.Series[float]]]) -> Course:
    """Over the seeds, at the steps that all of them have a value at."""
    if not seeds:
        return {}
    found: Course = {}
    for task, several in values.items():
        steps = reduce(lambda known, index: known.intersection(index), (series.index for series in several))
        images, seconds = (
            np.mean([table[task].loc[steps] for table in tables], axis=0).tolist()
            for tables in ([curve.images for curve in seeds.values()], [curve.seconds for curve in seeds.values()])
        )
        by_step = zip(*(series.loc[steps].tolist() for series in several), strict=True)
        places = zip(steps.tolist(), images, seconds, by_step, strict=True)
        found[task] = {
            int(step): Point(int(step), float(seen), float(took), _over_seeds(each))
            for step, seen, took, each in places
        }
    return found


def _over_seeds(values: Sequence[float]) -> PairedGain:
    own = {str(seed): value for seed, value in enumerate(values)}
    return paired_gain(own, dict.fromkeys(own, 0.0))


def curve_table(found: Mapping[str, Sequence[Curve]]) -> pd.DataFrame:
    """Curves by baseline as one row a strategy, task and point.

    Columns: ``baseline, strategy, task, step``; ``images, seconds``, means over the seeds; ``psnr`` in dB over ``n``
    seeds with its interval ``psnr_low, psnr_high``; over the ``gain_n`` seeds that mix has too, strategy minus mix
    after equal steps ``gain, gain_low, gain_high`` and after equal seconds ``time_gain, time_gain_n, ...``.
    """
    rows: list[dict[str, object]] = []
    for baseline, several in found.items():
        for curve in several:
            for task, course in curve.level.items():
                for step, point in course.items():
                    rows.append(
                        {"baseline": baseline, "strategy": curve.strategy, "task": task, "step": step,
                         "images": round(point.images, 1), "seconds": round(point.seconds, 3),
                         **_fields("psnr", point), **_fields("gain", curve.gain.get(task, {}).get(step)),
                         **_fields("time_gain", curve.gain_of_time.get(task, {}).get(step))}
                    )  # fmt: skip
    return pd.DataFrame(rows)


def _fields(name: str, point: Point | None) -> Mapping[str, object]:
    count = "n" if name == "psnr" else f"{name}_n"
    if point is None:
        return dict.fromkeys((count, name, f"{name}_low", f"{name}_high"))
    value = point.value
    numbers = {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
    return {count: value.n, **{key: round(number, 6) for key, number in numbers.items()}}
