"""Columns of tables, each said once for every format: text, Markdown, LaTeX, the page and CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reports.numbers.conflicts import Conflict, pair_name
from reports.numbers.model import AVERAGE, Cohort, Row
from reports.numbers.outcome import Outcome
from reports.numbers.pooled import Pooled
from reports.numbers.power import EFFECTS, seeds_needed
from reports.numbers.statistics import LEVEL, Reach, Target
from reports.numbers.tuning import found
from reports.numbers.words import EMPTY, interval, number, with_spread
from results.tuning import Search, Trial

T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table whose rows are of ``T``.

    Attributes:
        heading: above it; empty for a column that CSV files alone have.
        text: of a row's cell.
        value: number by which the page sorts rows (NaN last); ``None`` sorts by the text.
        fields: columns of a CSV file, by name; empty for what the file has elsewhere.
        about: what it means, for the legend below the table; empty where nothing need be said.
    """

    heading: str
    text: Callable[[T], str]
    value: Callable[[T], float] | None = None
    fields: Mapping[str, Callable[[T], str | float | None]] = field(default_factory=dict)
    about: str = ""

    def shown(self, rows: Iterable[T]) -> bool:
        """Whether a table of these rows has the column: some cell of it says something."""
        return any(self.text(row) not in ("", EMPTY) for row in rows)


def shown(columns: Iterable[Column[T]], rows: Sequence[T]) -> list[Column[T]]:
    """The columns that a table of these rows has; a CSV file always has all."""
    return [column for column in columns if column.shown(rows)]


def meanings(columns: Iterable[Column[T]], rows: Sequence[T]) -> str:
    """What the columns that are shown mean, for a legend."""
    return "; ".join(f"{column.heading}: {column.about}" for column in shown(columns, rows) if column.about)


def csv_fields(columns: Sequence[Column[T]], row: T) -> dict[str, str | float | None]:
    """A row's entries in a CSV file; fractions with six digits: beyond what any table shows, below what the order of
    a sum changes."""
    values = {name: value(row) for column in columns for name, value in column.fields.items()}
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}


def _verdict(row: Row) -> str:
    return row.remark if not row.n else "reference" if row.is_reference else row.average.verdict


def _difference(row: Row) -> float:
    """Test sets won less those lost."""
    won, lost = row.measures.won, row.measures.lost
    return math.nan if won is None or lost is None else float(won - lost)


def _measure(
    heading: str, name: str, digits: int, about: str, signed: bool = False, unit: str = "", scale: int = 1
) -> Column[Row]:
    """A column of one of :class:`reports.numbers.model.Measures`, in tables times a ``scale``."""

    def value(row: Row) -> float:
        return getattr(row.measures, name)

    def text(row: Row) -> str:
        return EMPTY if math.isnan(value(row)) else number(scale * value(row), digits, signed) + unit

    return Column(heading, text, value, {name: value}, about)


def _with_plan(cost: float, planned: float) -> str:
    if math.isnan(planned):
        return number(cost, 2)
    return f"{'' if math.isnan(cost) else f'{number(cost, 2)} '}({number(planned, 2)})"


def _target(heading: str, which: str, about: str) -> Column[Row]:
    """Where the average validation reached mix's last level, of :class:`reports.numbers.statistics.Target`."""

    def reach(row: Row) -> Reach:
        return getattr(row.targets.get(AVERAGE, Target()), which)

    def value(row: Row) -> float:
        return reach(row).share if math.isfinite(reach(row).share) else math.nan  # what is not reached stands last

    return Column(heading, lambda row: reach(row).words or EMPTY, value, about=about)  # in numbers: targets.csv


SEEDS = Column[Row](
    "n", lambda row: row.count if row.is_reference else str(row.pairs), lambda row: float(row.n)
)  # fmt: skip
GAIN = Column[Row](
    "average gain",
    lambda row: with_spread(row.average.gain, 2, signed=True),
    lambda row: 0.0 if row.is_reference and row.n else row.average.gain.mean,
)
INTERVAL = Column[Row](
    f"{LEVEL:.0%} interval",
    lambda row: interval(row.average.gain.low, row.average.gain.high, EMPTY),
    lambda row: row.average.gain.low,
)
VERDICT = Column[Row]("verdict", _verdict)
P_VALUE = Column[Row](
    "p (Holm)",
    lambda row: EMPTY if math.isnan(row.average.p_holm) else f"{row.average.p_holm:.3g}",
    lambda row: row.average.p_holm,
)
MEASURES: list[Column[Row]] = [
    GAIN,
    INTERVAL,
    Column(
        "sets",
        lambda row: EMPTY if row.measures.won is None else f"{row.measures.won}-{row.measures.lost}",
        _difference,
        {"won": lambda row: row.measures.won, "lost": lambda row: row.measures.lost},
        "test sets won-lost against mix",
    ),
    _measure("delta-m", "delta_m", 2, "mean relative change of PSNR", signed=True, unit=" %"),
    _measure("over single", "delta_single", 2, "delta-m against one network a task", signed=True, unit=" %"),
    _measure("rank", "mean_rank", 2, "mean over the test sets among this baseline's strategies (1 is best)"),
    _measure("pace spread", "pace_spread", 3, "how unevenly the tasks learn (0: all at one pace)"),
    _target(
        "to mix",
        "steps",
        "share of mix's steps after which the average validation first has mix's last level, median over seeds (>1: "
        "not reached; mix's own row: how early its noise alone reaches it)",
    ),
    _target("at cost", "cost", "the same as a share of mix's training seconds, which vary on a shared machine"),
    VERDICT,
]
"""The comparison with mix, a row a baseline and strategy (:mod:`reports.numbers.summary`); a table has those that say
something of its rows (:func:`shown`)."""


def _seeds_for(effect: float) -> Callable[[Row], float | None]:
    """Seeds to see this gain with, by the scatter of the row's own gains."""
    return lambda row: seeds_needed(row.average.gain.std, effect)


COSTS: list[Column[Row]] = [
    Column(
        "step cost",
        lambda row: _with_plan(row.measures.step_cost, row.measures.planned_cost),
        lambda row: row.measures.step_cost,
        {"step_cost": lambda row: row.measures.step_cost, "planned_cost": lambda row: row.measures.planned_cost},
        "time of a training step over mix's, median over paired seeds on one device (in brackets: as planned)",
    ),
    _measure(
        "memory",
        "memory_cost",
        2,
        "peak of the training over mix's, on a GPU of its tensors, else of the whole process, where a tenth is noise",
    ),
    _measure("weights", "weight_sum", 2, "what a step's weights sum to on average"),
    _measure("largest", "largest_share", 2, "largest share of a task in a step's weights, on average"),
    _measure("clipped", "clipped", 0, "share of the steps whose gradient was clipped", unit=" %", scale=100),
    Column("", lambda row: "", fields={f"seeds_for_{effect:g}_db": _seeds_for(effect) for effect in EFFECTS}),
]
"""What a strategy takes and does, a row a baseline and strategy (:mod:`reports.numbers.costs`); shown as
:data:`MEASURES` are, in a table of its own where there is no room for both."""

POOLED: list[Column[Pooled]] = [
    Column(
        "ahead",
        lambda one: f"{one.ahead} of {len(one.baselines)}",
        lambda one: float(one.ahead),
        {
            "baselines": lambda one: "; ".join(one.baselines),
            "ahead": lambda one: one.ahead,
            "baseline_gains": lambda one: " ".join(f"{gain.mean:.6f}" for gain in one.gains),
        },
        "on how many baselines the mean gain is above 0",
    ),
    Column(
        "n",
        lambda one: str(one.gain.n),
        lambda one: float(one.gain.n),
        {"seeds": lambda one: one.gain.n},
        "paired seeds of all of them",
    ),
    Column(
        "mean gain",
        lambda one: number(one.gain.mean, 2, signed=True),
        lambda one: one.gain.mean,
        {"gain": lambda one: one.gain.mean},
    ),
    Column(
        f"{LEVEL:.0%} interval",
        lambda one: interval(one.gain.low, one.gain.high, EMPTY),
        lambda one: one.gain.low,
        {"gain_low": lambda one: one.gain.low, "gain_high": lambda one: one.gain.high, "p": lambda one: one.gain.p},
    ),
    Column("verdict", lambda one: one.verdict, fields={"verdict": lambda one: one.verdict}),
    Column(
        "p (Holm)",
        lambda one: f"{one.p_holm:.3g}",
        lambda one: one.p_holm,
        {"p_holm": lambda one: one.p_holm},
    ),
]
"""Verdicts over baselines, a row a strategy (:mod:`reports.numbers.pooled`)."""

CONFLICTS: list[Column[Conflict]] = [
    Column("n", lambda conflict: str(len(conflict.seeds))),
    Column("mean cosine", lambda conflict: number(conflict.mean, 2, signed=True)),
    Column("below 0", lambda conflict: EMPTY if math.isnan(conflict.negative) else f"{conflict.negative:.0%}"),
    Column("most conflicting pair", lambda conflict: _worst_pair(conflict)),
]
"""Probed task gradients, a row a strategy."""

TUNING: list[Column[Search]] = [
    Column("baseline", lambda search: search.display),
    Column("strategy", lambda search: search.strategy),
    Column("default, dB", lambda search: _score(search.default), lambda search: _value(search.default)),
    Column("best, dB", lambda search: _score(search.best), lambda search: _value(search.best)),
    Column(
        "gain by tuning",
        lambda search: EMPTY if math.isnan(search.gain) else number(search.gain, 2, signed=True),
        lambda search: search.gain,
    ),
    Column(
        "trials",
        lambda search: f"{len(search.trials)}{f', {len(search.failures)} failed' if search.failures else ''}",
        lambda search: float(len(search.trials)),
    ),
    Column("found", found),
]
"""Searches for parameters, a row each."""

TUNING_LEGEND = (
    "Validation PSNR at the end of the training, on the seeds of the search and images that training does not see: the "
    "best of so many trials is too good by chance. What was found is compared on other seeds, by --tuned."
)


def _value(trial: Trial | None) -> float:
    return math.nan if trial is None or trial.score is None else trial.score


def _score(trial: Trial | None) -> str:
    return EMPTY if math.isnan(_value(trial)) else number(_value(trial), 2)


def _worst_pair(conflict: Conflict) -> str:
    pair = conflict.worst
    return f"{pair_name(pair)} ({number(conflict.pairs[pair].mean(), 2, signed=True)})" if pair else EMPTY


def run_columns(cohort: Cohort) -> list[Column[Outcome]]:
    """The runs of a cohort, a row a run."""

    def average(outcome: Outcome) -> float:
        return outcome.average(cohort.tested, "psnr")

    return [
        Column("seed", lambda o: str(o.seed), lambda o: float(o.seed), {"seed": lambda o: o.seed}),
        Column("state", lambda o: o.standing, fields={"state": lambda o: o.standing}),
        Column("PSNR, dB", lambda o: number(average(o), 2), average, {"average_psnr": average}),
        Column(
            "training",
            lambda o: _duration(o.environment.train_seconds),
            lambda o: math.nan if o.environment.train_seconds is None else o.environment.train_seconds,
            {"train_seconds": lambda o: o.environment.train_seconds},
        ),
        Column("device", lambda o: o.environment.device or "", fields={"device": lambda o: o.environment.device}),
        Column(
            "commit", lambda o: (o.environment.commit or "")[:12], fields={"commit": lambda o: o.environment.commit}
        ),
        Column("hash", lambda o: o.record.hash[:8], fields={"hash": lambda o: o.record.hash[:8]}),
        Column("", lambda o: o.pair[:8], fields={"pair": lambda o: o.pair[:8]}),
        Column("reason", lambda o: o.reason, fields={"reason": lambda o: o.reason}),
    ]


def _duration(seconds: float | None) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``12 s``; empty for ``None``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
