"""The control that decides: every strategy of a baseline against the fixed task weights that were trained beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from reports.numbers import front
from reports.numbers.controls import Front, fronts
from reports.numbers.model import Cohort
from reports.numbers.statistics import (
    GAIN,
    LEVEL,
    LOSS,
    NO_DIFFERENCE,
    NO_GAIN,
    NO_PAIR,
    ONE_SEED,
    PairedGain,
    holm,
)

BEYOND, BEHIND, ON_FRONT, TOO_COARSE, NO_PLANE = (
    "beyond",
    "behind",
    "on the front",
    f"fewer than {front.ENOUGH} fixed weightings: no verdict",
    "tasks of one kind: no verdict",
)


@dataclass(frozen=True)
class Control:
    """A strategy against the fixed weightings of its baseline: gain over the best of ``weightings``, distance to their
    front in ``plane``, and by how many percent it makes their hypervolume larger. The p-values are Holm-corrected."""

    baseline: str
    display: str
    strategy: str
    weightings: int
    plane: tuple[str, str] | None
    best: PairedGain = NO_GAIN
    best_margin: float = math.nan
    best_p: float = math.nan
    best_verdict: str = NO_PAIR
    distance: PairedGain = NO_GAIN
    margin: float = math.nan
    p: float = math.nan
    verdict: str = NO_PAIR
    volume: float = math.nan


@dataclass(frozen=True)
class Contest:
    """The fronts of a cohort, one a baseline that has one, and the strategies against them: corrected together, within
    a baseline by falling gain over the best weighting."""

    fronts: list[Front]
    rows: list[Control]


def contest(cohort: Cohort) -> Contest:
    """Every strategy that is no fixed weighting against those that are."""
    found = fronts(cohort)
    return Contest(found, control_rows(found))


def control_rows(several: Sequence[Front]) -> list[Control]:
    """The rows of these fronts, corrected together."""
    rows = [_control(one, strategy) for one in several for strategy in one.strategies]
    best = holm([row.best_p for row in rows])
    far = holm([row.p for row in rows])
    rows = [_judged(row, p_best, p) for row, p_best, p in zip(rows, best, far, strict=True)]
    order = list(dict.fromkeys(row.baseline for row in rows))
    return sorted(rows, key=lambda row: (order.index(row.baseline), math.isnan(row.best.mean), -row.best.mean))


def _control(one: Front, strategy: str) -> Control:
    """A row before correction and verdicts."""
    own = one.strategies[strategy]
    chosen = front.chosen(one.level)[own.places]
    gains = own.average - one.averages[chosen, own.places]
    row = partial(
        Control, one.baseline, one.display, strategy, one.count, one.main.names if one.main else None,
        best=front.of_seeds(gains), best_margin=one.best_margin, best_p=front.p_beyond(gains, one.best_margin),
    )  # fmt: skip
    if not one.main:
        return row(verdict=NO_PLANE)
    point = one.points(one.main, own.tasks)
    fixed = one.points(one.main, one.scores)[:, own.places]
    far = front.distance(point, fixed)
    enough = one.count >= front.ENOUGH
    held_out = front.held_out_distance(point, fixed) if len(point) > 1 else None
    return row(
        distance=front.of_seeds(far),
        margin=one.front_margin,
        p=front.p_beyond(far, one.front_margin, held_out) if enough else math.nan,
        verdict="" if enough else TOO_COARSE,
        volume=one.grown(strategy),
    )


def _judged(row: Control, best_p: float, p: float) -> Control:
    best = _word(row.best, best_p, (GAIN, LOSS, NO_DIFFERENCE))
    far = row.verdict if row.verdict in (NO_PLANE, TOO_COARSE) else _word(row.distance, p, (BEYOND, BEHIND, ON_FRONT))
    return replace(row, best_p=best_p, best_verdict=best, p=p, verdict=far)


def _word(values: PairedGain, p: float, words: tuple[str, str, str]) -> str:
    """Above, below or neither; of one seed that there is no verdict."""
    if values.n < 2:
        return ONE_SEED if values.n else NO_PAIR
    above, below, neither = words
    return neither if p >= 1 - LEVEL else above if values.mean > 0 else below
