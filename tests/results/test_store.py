"""The run store: plain files, written atomically, readable half-written."""

import os

import pandas as pd
import pytest

from results import Run, State, Status, find_runs, published, write_atomically
from results.records import Environment, Fault, RunConfig, RunRecord
from results.schema import CURVE_COLUMNS, RHYTHM_COLUMNS, SCORE_COLUMNS


def test_an_empty_folder_reads_as_nothing(tmp_path):
    run = Run(tmp_path / "nothing")
    assert run.status == Status(State.ABSENT) and run.record is None
    assert run.environment == Environment() and run.data == []
    assert list(run.scores().columns) == list(SCORE_COLUMNS) and list(run.rhythm().columns) == list(RHYTHM_COLUMNS)


def test_what_is_written_is_read(tmp_path):
    run = Run(tmp_path / "run")
    for status in (
        Status(State.DONE, "constant output on Rain100L", Fault.COLLAPSED),
        Status(State.DONE, "collapse: a word of its own"),
        Status(State.FAILED, "collapsed: only a finished run has a fault"),
    ):
        run.write_status(status)
        assert run.status == status
    assert (run.folder / "status").read_text() == "failed\ncollapsed: only a finished run has a fault\n"
    row = ["Rain100L", "derain", "007", "airnet_rgb", "psnr", 30.125, 26.5, "5e"]
    scores = pd.DataFrame([row], columns=SCORE_COLUMNS)
    run.write_scores(scores)
    assert run.scores().equals(scores)  # the image's name stays text
    rhythm = pd.DataFrame([[1, "derain", 0.1, 0.1, 1.0, float("nan")]], columns=RHYTHM_COLUMNS)
    run.write_rhythm(rhythm)
    assert run.rhythm().equals(rhythm)
    curve = pd.DataFrame([[30, "derain", 60, 1.5, 28.25]], columns=CURVE_COLUMNS)
    run.write_curve(curve)
    assert run.curve().equals(curve) and not run.damage()


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, lambda place: place.write_text("old"))

    def fail(place):
        place.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


def test_runs_are_found_by_setting_and_filtered(tmp_path):
    for baseline in ("airnet", "transweather"):
        run = Run(tmp_path / f"runs/three_task/{baseline}/mix/0-abc")
        config = RunConfig(setting="three_task", baseline=baseline, strategy="mix")
        run.write_record(RunRecord(hash="abc", config=config))
    assert len(find_runs(tmp_path, "three_task")) == 2 and not find_runs(tmp_path, "five_task")
    (only,) = find_runs(tmp_path, "three_task", {"baseline": ["airnet"]})
    assert only.record.hash == "abc"


def test_published_figures_carry_their_source():
    table = published()
    assert len(table) == 472 and table[["source", "confidence", "protocol"]].notna().all(axis=None)
    assert not table.duplicated(["setting", "baseline", "strategy", "dataset", "metric", "source"]).any()
    promptir = published("three_task").query("baseline == 'PromptIR' and strategy == 'mix' and metric == 'psnr'")
    assert promptir.set_index("dataset")["value"]["Rain100L"] == 36.37
