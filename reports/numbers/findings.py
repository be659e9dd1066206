"""All that a report says of a cohort, computed once for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reports.numbers.conflicts import Conflict, conflicts
from reports.numbers.contest import Contest, contest
from reports.numbers.curves import Curve, curves
from reports.numbers.lengths import Lengths, lengths
from reports.numbers.model import Cohort, GainTable
from reports.numbers.pooled import Pooled, pooled
from reports.numbers.score_noise import ScoreNoise, score_noise
from reports.numbers.sweeps import Sweep, sweeps
from reports.numbers.tables import gain_table
from reports.numbers.tuning import Tunings, of_cohort
from results.tuning import Search


@dataclass(frozen=True)
class Findings:
    """What was computed of a cohort.

    Attributes:
        table: of gains over mix.
        swept: how strategies depend on a parameter.
        probed: conflicts of task gradients, by baseline.
        curves: of validation, by baseline.
        tunings: searches for parameters, by baseline.
        held: strategies against the fixed weightings of their baseline.
        across: verdicts over baselines; ``None`` where they are not asked for.
        noises: what Art's weights follow.
        lengths: gains against the length of the training, of the first cohort of a family.
    """

    table: GainTable
    swept: Sequence[Sweep] = ()
    probed: Mapping[str, Sequence[Conflict]] = field(default_factory=dict[str, Sequence[Conflict]])
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict[str, Sequence[Curve]])
    tunings: Tunings = field(default_factory=dict)
    held: Contest = field(default_factory=lambda: Contest([], []))
    across: Sequence[Pooled] | None = None
    noises: Sequence[ScoreNoise] = ()
    lengths: Lengths = field(default_factory=Lengths)

    @property
    def cohort(self) -> Cohort:
        """The runs."""
        return self.table.cohort


def find(cohort: Cohort, searched: Sequence[Search] = (), pool: bool = False) -> Findings:
    """Compute them.

    Args:
        cohort: the runs.
        searched: searches of the setting, for whatever cohort.
        pool: with verdicts over baselines.
    """
    validated = {baseline: curves(cohort, baseline) for baseline in cohort.baselines}
    table = gain_table(cohort, validated=validated)
    return Findings(
        table,
        sweeps(table),
        conflicts(cohort),
        validated,
        of_cohort(cohort, searched),
        contest(cohort),
        pooled(table.rows) if pool else None,
        score_noise(cohort),
    )


def beside(findings: Findings, family: Sequence[Cohort]) -> Findings:
    """With the other lengths of these trainings (:func:`reports.numbers.lengths.families`) beside it."""
    return replace(findings, lengths=lengths(findings.table, family)) if family else findings
