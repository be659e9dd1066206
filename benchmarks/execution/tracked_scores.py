"""The scores of a run as MLflow shows them: means of test sets, the average over them, and the gain over mix."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from results import Run
from results.records import Role, RunRecord

if TYPE_CHECKING:
    import pandas as pd

AVERAGE = "average"
REFERENCE = "mix"


def means(run: Run, record: RunRecord) -> dict[str, float]:
    """Means by ``METRIC/TEST SET``, ``METRIC_input/TEST SET`` and ``METRIC/average``, over test sets as tables have it.

    Scores are those by the protocol that the run was evaluated with last; sets scored besides are in no average.
    """
    scores = run.scores()
    scores = scores[scores["protocol"] == record.config.evaluate.protocol]
    tested = _tested(run, scores)
    found: dict[str, float] = {}
    for metric, rows in scores.groupby("metric", sort=False):
        for column, kind in (("value", ""), ("input_value", "_input")):
            by_set = rows.groupby("dataset", sort=False)[column].mean()
            found |= {f"{metric}{kind}/{dataset}": float(value) for dataset, value in by_set.items()}
            average = [float(by_set[dataset]) for dataset in tested if dataset in by_set]
            if len(average) == len(tested) > 0:
                found[f"{metric}{kind}/{AVERAGE}"] = math.fsum(average) / len(average)
    return found


def _tested(run: Run, scores: pd.DataFrame) -> list[str]:
    """The test sets of the run's setting; without a record of its data all that were scored."""
    listed = [used.dataset for used in run.data if used.role == Role.TEST]
    return list(dict.fromkeys(listed or scores["dataset"]))


def gains(runs: Iterable[Run]) -> list[tuple[Run, dict[str, float]]]:
    """Of every finished run that has a mix beside it, PSNR minus mix's in dB: ``gain/average``, ``gain/TEST SET``.

    Mix is the run that differs in the strategy alone; tuned strategies are compared with mix tuned alike.
    """
    known = [(run, record, means(run, record)) for run in runs if (record := run.record)]
    mixes = {_pair(record): scores for _, record, scores in known if record.config.strategy == REFERENCE}
    found: list[tuple[Run, dict[str, float]]] = []
    for run, record, scores in known:
        reference = mixes.get(_pair(record), {})
        if record.config.strategy == REFERENCE:
            continue
        both = [key for key in scores if key.startswith("psnr/") and key in reference]
        if both:
            found.append((run, {f"gain/{key.partition('/')[2]}": scores[key] - reference[key] for key in both}))
    return found


def _pair(record: RunRecord) -> tuple[str, bool]:
    return record.pair, bool(record.config.terms.tuned)
