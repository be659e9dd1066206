"""No table is silently wrong: damaged runs, scores of other images, infinite and missing scores, leaks, small sets."""

import json
import math

import pytest
from synthetic_store import INPUTS, SETS, records, simulate, write_run

from reports.build import build, main
from reports.numbers.cohorts import gather
from results import Run, State, Status, find_runs
from results.records import Fault

DONE = Status(State.DONE)


def text(store):
    return build("three_task", store, formats=[]).text.replace("\n  ", " ")


def gain(store, strategy, dataset="average"):
    from reports.numbers.tables import gain_table

    (row,) = [row for row in gain_table(gather(find_runs(store, "three_task"))[0]).rows if row.strategy == strategy]
    return row.cells[dataset, "psnr"].gain.mean


def rewrite(run, change):
    """Scores as the run itself would have written them."""
    run.write_scores(change(run.scores()))


@pytest.fixture
def store(tmp_path):
    for strategy, level in (("mix", 3.0), ("art", 3.5), ("uw", 3.2)):
        write_run(tmp_path, strategy=strategy, psnr=level, rhythm=simulate(strategy, 60))
    return tmp_path


def run_of(store, strategy):
    return Run(next((store / f"runs/three_task/transweather/{strategy}").iterdir()))


@pytest.mark.parametrize("name", ["scores.csv", "rhythm.parquet", "data.json", "environment.json", "status"])
def test_a_damaged_run_is_left_out_and_the_rest_is_built(store, name):
    path = run_of(store, "art").folder / name
    path.write_bytes(path.read_bytes()[:-3])
    told = text(store)
    assert f"Left out: TransWeather, art, seed 0: damaged: {name} is damaged" in told
    assert gain(store, "uw") == pytest.approx(0.2)


def test_a_lost_configuration_is_named(store):
    (run_of(store, "art").folder / "config.json").unlink()
    assert "Left out: transweather, art, seed 0: config.json is missing" in text(store)


def test_damaged_kept_runs_are_a_sentence(store, tmp_path, capsys):
    from results.archive import pack

    pack(store, "three_task", tmp_path / "kept")
    content = json.loads((tmp_path / "kept/runs.json").read_text())
    content["runs"][0]["status"] = ["done", "trust me"]
    (tmp_path / "kept/runs.json").write_text(json.dumps(content))
    assert main(["--from", str(tmp_path / "kept"), "--format", "md"]) == 2
    assert "runs.json is damaged: it is not as it was written" in capsys.readouterr().err


@pytest.mark.parametrize("column, value", [("pixels", "other"), ("input_value", 11.0)])
def test_scores_of_other_images_are_not_compared(store, column, value):
    def change(table):
        first = (table["dataset"] == "Rain100L") & table["image"].isin(["0001", "0003"])
        return table.assign(**{column: table[column].mask(first & (table["metric"] == "psnr"), value)})

    for strategy in ("uw", "art"):
        rewrite(run_of(store, strategy), lambda table: table.assign(pixels="ones"))
    rewrite(run_of(store, "mix"), lambda table: change(table.assign(pixels="ones")))
    run_of(store, "uw").write_status(DONE)  # the newest
    told = text(store)
    assert "Not compared: TransWeather, mix, seed 0, on Rain100L: other images than in the newest run" in told
    assert "2 of 5 images differ: 0001, 0003" in told
    assert math.isnan(gain(store, "art", "Rain100L")) and gain(store, "art", SETS[0]) == pytest.approx(0.5)


def test_runs_that_were_trained_on_other_images_are_superseded(store):
    for strategy, digest in (("mix", "p1"), ("art", "p2"), ("uw", "p2")):
        run = run_of(store, strategy)
        run.write_data([record.model_copy(update={"digest": digest}) for record in run.data])
        run.write_status(DONE)
    assert "superseded: trained on other images of RainTrainL" in text(store)


def test_infinite_and_missing_scores_have_a_name_and_leave_the_others_comparable(store):
    def with_value(image, value):
        def change(table):
            rows = (table["dataset"] == "Rain100L") & (table["image"] == image) & (table["metric"] == "psnr")
            return table.assign(value=table["value"].mask(rows, value))

        return change

    for strategy in ("mix", "art"):
        rewrite(run_of(store, strategy), with_value("0001", math.inf))
    rewrite(run_of(store, "uw"), with_value("0002", math.nan))
    told = text(store)
    assert "Infinite psnr (restored without any error) in at least one run: Rain100L: 0001;" in told
    assert "Missing psnr (not a finite number) in at least one run: Rain100L: 0002;" in told
    assert gain(store, "art") == pytest.approx(0.5) and gain(store, "uw", "Rain100L") == pytest.approx(0.2)


def test_collapsed_and_not_finite_are_two_things(store):
    output = "NaN or infinite output on Rain100L (1 of 5 images: 0002)"
    run_of(store, "art").write_status(Status(State.DONE, output, Fault.NOT_FINITE))
    run_of(store, "uw").write_status(Status(State.DONE, "constant output on Rain100L", Fault.COLLAPSED))
    told = text(store)
    assert "art, seed 0: not finite: NaN or infinite output on Rain100L (1 of 5 images: 0002)" in told
    assert "uw, seed 0: collapsed: constant output" in told


def test_a_set_that_is_wholly_leaked_is_told_and_so_are_few_images_and_mix_below_its_input(tmp_path):
    data = [
        record | ({"leaked": [f"{i:04d}" for i in range(5)], "found": 5} if record["dataset"] == "Rain100L" else {})
        for record in records("real")
    ]
    levels = {name: level + (1 if name != "SOTS-outdoor" else -1) for name, level in INPUTS.items()}
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=levels, data=data)
    told = text(tmp_path)
    assert "the clean versions of all images of Rain100L are in the training data" in told
    assert "Fewer than 10 images: CBSD68-s15 (5)" in told
    assert "5 of 100, all leaked" in told
    assert "SOTS-outdoor (input 15.40 dB): TransWeather, all 2 strategies (14.40)" in told
