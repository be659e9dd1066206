"""Validation curves: levels and gains over mix through the training, over the seeds that both have."""

import json

import numpy as np
import pytest
from browser import browser, executable
from synthetic_store import TASKS, learn, write_run

from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.curves import curves
from results import Run, find_runs
from results.archive import pack
from results.kept import kept_runs

GAINS = {"mix": 0.0, "art": 0.4, "equal": -0.2}


@pytest.fixture
def store(tmp_path):
    for strategy, gain in GAINS.items():
        for seed in range(3):
            extra = 0.1 * seed if strategy == "art" else 0.0
            write_run(tmp_path, strategy=strategy, seed=seed, psnr=3.0, curve=learn(gain + extra, seed))
    return tmp_path


def shown(runs):
    return {curve.strategy: curve for curve in curves(gather(runs)[0], "transweather")}


def test_gains_through_the_training_are_paired_by_seed(store):
    found = shown(find_runs(store, "three_task"))
    assert set(found) == {*GAINS} and found["mix"].gain == {}
    gain = found["art"].gain
    assert list(gain) == [*TASKS, "average"] and list(gain["derain"]) == list(range(30, 601, 30))
    for task in ("derain", "average"):
        last, half = gain[task][600].value, gain[task][300].value
        assert last.n == 3 and (last.mean, half.mean) == pytest.approx((0.5, 0.25))
        assert (last.low, last.high) == pytest.approx((0.5 - 0.2484, 0.5 + 0.2484), abs=1e-3)  # of 0.4, 0.5, 0.6
    equal = found["equal"]
    assert (
        equal.gain["average"][600].value.std < 1e-9 < 0.01 < equal.level["average"][600].value.std
    )  # what seeds share is gone


def test_what_a_run_lacks_is_left_out(store):
    runs = find_runs(store, "three_task")
    (first, *_, last) = [run for run in runs if run.record.config.strategy == "art"]
    first.write_curve(learn(0.4).query("step > 300"))  # begun before there were curves
    (last.folder / "curve.parquet").unlink()
    last.set_aside("curve.parquet")
    gain = shown(runs)["art"].gain["average"]
    assert min(gain) == 330 and gain[600].value.n == 2
    for run in runs:
        if run.record.config.strategy == "mix":
            run.set_aside("curve.parquet")
    alone = shown(runs)
    assert set(alone) == {"art", "equal"} and alone["art"].gain == {} and alone["art"].level["derain"][600].value.n == 2


def test_a_value_that_is_not_finite_breaks_nothing(store):
    run = next(run for run in find_runs(store, "three_task") if run.record.config.strategy == "art")
    table = run.curve()
    table.loc[table["step"] == 600, "psnr"] = np.nan
    run.write_curve(table)
    assert shown([Run(one.folder) for one in find_runs(store, "three_task")])["art"].gain["derain"][600].value.n == 2
    assert "curve-transweather.png" in {path.name for path in build("three_task", store, formats=["png"]).files}


def test_the_figure_is_drawn_from_runs_and_from_an_archive_and_goes_with_the_curves(store):
    pack(store, "three_task", store / "kept")
    names = {path.name for path in build("three_task", store).files}
    assert {"curve-transweather.png", "curve-transweather.svg"} <= names
    kept = shown(kept_runs(store / "kept"))["art"].gain["average"][600].value
    assert kept.mean == pytest.approx(0.5, abs=1e-3)
    for run in find_runs(store, "three_task"):
        run.set_aside("curve.parquet")
    build("three_task", store)
    assert not list((store / "reports/three_task").glob("curve*"))


def choose(tab, name, value):
    tab.run(f"var s = document.getElementById('{name}'); s.value = '{value}'")
    tab.run("s.dispatchEvent(new Event('change'))")
    assert tab.trouble == []


def test_the_page_shows_every_task_and_the_average(store, tmp_path_factory):
    build("three_task", store, formats=["html"])
    page = store / "reports/three_task/report.html"
    data = json.loads(page.read_text("utf-8").partition('id="data">')[2].partition("</script>")[0])
    (_, art, _) = sorted(
        data["baselines"][0]["curves"], key=lambda curve: ["mix", "art", "equal"].index(curve["strategy"])
    )
    for axis, last in (("step", 600), ("images", 5 * 1200), ("seconds", 60)):
        assert [line["name"] for line in art["gain"][axis]] == ["average", *TASKS]
        assert art["gain"][axis][0]["values"][-1] == pytest.approx(0.5) and art["gain"][axis][0]["x"][-1] == last
        assert art["gain"][axis][0]["low"][-1] == pytest.approx(0.2516, abs=1e-3)
    if executable() is None:
        pytest.skip("no Chromium here; apt-get install chromium gives one")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.open(page, width=360)
        for kind, lines in (("gain", 2), ("level", 3)):
            for axis in ("images", "seconds", "step"):
                choose(tab, "course-along", axis)
                choose(tab, "course-of", kind)
                assert tab.run("document.querySelectorAll('#validation path.band').length") == 6 * lines
            assert tab.run("document.querySelectorAll('#validation .chart').length") == 6
            assert tab.run("document.querySelector('#validation svg').querySelectorAll('path.data').length") == lines
        assert "NaN" not in tab.run("document.getElementById('validation').innerHTML")
        assert tab.run("document.documentElement.scrollWidth") <= 360 and tab.trouble == []
