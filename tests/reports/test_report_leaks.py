"""Scores with and without the test images whose clean version is in the training data."""

import pytest
from synthetic_store import records, write_run

from reports.build import build
from reports.numbers.cohorts import gather
from results import find_runs


def test_leaked_images_are_left_out_in_a_column_beside(tmp_path):
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=25.0, data=records("real"))
    for run in find_runs(tmp_path, "three_task"):
        names = run.scores().query("dataset == 'Rain100L'")["image"].unique()
        leak = {"leaked": list(names[:2]), "found": len(names)}
        run.write_data([r.model_copy(update=leak) if r.dataset == "Rain100L" else r for r in run.data])
    (cohort,) = gather(find_runs(tmp_path, "three_task"))
    (column,) = [column for column in cohort.columns if column.dataset == "Rain100L leak-free"]
    assert column.role == "extra" and "Rain100L leak-free" not in cohort.tested
    for outcome in cohort.outcomes:
        rows = outcome.run.scores().query("dataset == 'Rain100L' and metric == 'psnr'").sort_values("image")
        kept = rows[~rows["image"].isin(outcome.leaked["Rain100L"])]["value"]
        assert 0 < len(kept) == len(rows) - 2
        assert outcome.mean("Rain100L leak-free", "psnr") == pytest.approx(kept.mean())
        assert outcome.mean("Rain100L", "psnr") == pytest.approx(rows["value"].mean())
    text = build("three_task", tmp_path, formats=[]).text.replace("\n  ", " ")
    assert "Leak: the clean versions of 2 images of Rain100L are in the training data" in text
