"""Kept runs give the same report as the run folders they were made from."""

import shutil

import pandas as pd
import pytest
from synthetic_store import write_run

from reports.build import main
from results import find_runs, tuning
from results.archive import main as keep
from results.records import State
from results.tuning import Search, Trial

TRIAL = Trial(number=0, strategy="famo", values={}, factor=1.0, lr=1e-3, state=State.DONE, score=20.0)
SEARCH = Search(
    setting="three_task", baseline="transweather", size="tiny", profile="demo", display="TransWeather", strategy="famo",
    recipe="r", cohort="c", key="k", seeds=[100], validation=8, lr=1e-3, wanted=1, trials=[TRIAL],
)  # fmt: skip
KINDS = ["--format", "md", "csv", "tex"]


@pytest.fixture
def store(tmp_path):
    for seed in (0, 1):
        for strategy, gain in (("mix", 3.0), ("art", 3.4)):
            write_run(tmp_path / "store", strategy=strategy, seed=seed, psnr=gain)
    write_run(tmp_path / "store", strategy="uw", status=("failed", "the loss of derain is not finite at step 7"))
    return tmp_path / "store"


def test_the_same_tables_from_kept_runs(store, tmp_path, capsys):
    assert keep([str(store), str(tmp_path / "kept"), "--setting", "three_task"]) == 0
    shutil.move(store / "runs", tmp_path / "elsewhere")  # nothing of the folders is needed
    assert main(["--from", str(tmp_path / "kept"), *KINDS]) == 0
    shutil.move(tmp_path / "elsewhere", store / "runs")
    assert main(["--setting", "three_task", "--output", str(store), *KINDS]) == 0
    ours, theirs = (
        {path.name: path.read_bytes() for path in (folder / "reports" / "three_task").iterdir()}
        for folder in (tmp_path / "kept", store)
    )
    assert ours == theirs and "gains.md" in ours
    assert "is not finite at step 7" in capsys.readouterr().out


def test_long_rhythms_are_thinned_and_numbers_kept_to_three_digits(store, tmp_path, monkeypatch):
    monkeypatch.setattr("results.archive.STEPS", 10)
    keep([str(store), str(tmp_path / "kept"), "--setting", "three_task"])
    kept = {run.folder.name: run.rhythm() for run in find_runs(tmp_path / "kept", "three_task")}
    for run in find_runs(store, "three_task"):
        full, thin = run.rhythm(), kept[run.folder.name]
        if len(full):
            assert thin["step"].nunique() <= 10 and set(thin["step"]) <= set(full["step"])
            same = full[full["step"].isin(thin["step"])].reset_index(drop=True)
            pd.testing.assert_frame_equal(same, thin, rtol=1e-3, check_dtype=False)


def test_runs_and_searches_are_added_to_those_kept(store, tmp_path):
    kept, later = tmp_path / "kept", tmp_path / "later"
    keep([str(store), str(kept), "--setting", "three_task"])
    before = {run.folder.name: run.scores() for run in find_runs(kept, "three_task")}
    write_run(later, strategy="mix", seed=0, psnr=9.0)  # of a place that is taken
    write_run(later, strategy="famo", seed=0, psnr=3.2)
    tuning.write(tuning.place(later, "three_task") / tuning.SEARCHES / "transweather-famo.json", SEARCH)
    assert keep([str(later), str(kept), "--setting", "three_task", "--add"]) == 0
    after = {run.folder.name: run for run in find_runs(kept, "three_task")}
    assert len(after) == len(before) + 1
    for name, scores in before.items():
        pd.testing.assert_frame_equal(after[name].scores(), scores)
    (read,) = tuning.searches(kept, "three_task")
    assert read.strategy == "famo" and read.trials[0].score == 20.0


def test_nothing_to_keep_or_to_read_is_said(tmp_path, capsys):
    assert keep([str(tmp_path), str(tmp_path / "kept"), "--setting", "three_task"]) == 2
    assert main(["--from", str(tmp_path)]) == 2
    assert "no finished run" in (told := capsys.readouterr().err) and "No runs are kept" in told


def test_a_report_elsewhere_shows_the_searches_kept_with_the_runs(store, tmp_path):
    (cohort,) = {run.record.cohort for run in find_runs(store, "three_task")}
    place = tuning.place(store, "three_task") / tuning.SEARCHES / "transweather-famo.json"
    tuning.write(place, SEARCH.model_copy(update={"cohort": cohort}))
    keep([str(store), str(tmp_path / "kept"), "--setting", "three_task"])
    assert main(["--from", str(tmp_path / "kept"), "--output", str(tmp_path / "page"), "--format", "csv"]) == 0
    assert (tmp_path / "page" / "reports" / "three_task" / "tuning.csv").exists()
