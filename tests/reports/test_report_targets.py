"""Time to target: how soon validation reaches the level at which mix of the same seed ended."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_store import TASKS, write_run

from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.curves import curves
from reports.numbers.targets import targets
from results import find_runs
from results.schema import CURVE_COLUMNS


def rising(rate=1.0, steps=600, pace=0.1, lift=0.0, points=20):
    """A curve that rises by ``rate`` times 10 dB in 600 steps of ``pace`` seconds, derain's ``lift`` dB higher and
    dehaze's lower."""
    rows = [
        (
            step,
            task,
            2 * step,
            pace * step,
            18 + rate * 10 * step / 600 + lift * ((task == "derain") - (task == "dehaze")),
        )
        for step in (steps * place // points for place in range(1, points + 1))
        for task in TASKS
    ]
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def found(folder):
    cohort = gather(find_runs(folder, "three_task"))[0]
    return {curve.strategy: targets(curve) for curve in curves(cohort, "transweather")}


@pytest.fixture
def store(tmp_path):
    def add(strategy, seed, curve, **more):
        return write_run(tmp_path, strategy=strategy, seed=seed, psnr=3.0, curve=curve, **more)

    add.folder = tmp_path
    for seed, rate in enumerate((0.9, 1.0, 1.2)):
        add("mix", seed, rising(rate))
    return add


def test_the_first_reach_is_read_off_between_the_points(store):
    for seed, rate in enumerate((0.9, 1.0, 1.2)):  # twice as fast as mix of its seed, at 1.5 times the time a step
        store("art", seed, rising(2.1 * rate, pace=0.15))
    art, mix = (found(store.folder)[name]["average"] for name in ("art", "mix"))
    assert (mix.steps.share, mix.cost.share) == pytest.approx((1, 1)) and mix.steps.words == "1.00"
    assert [art.steps.share, art.steps.least, art.steps.most] == pytest.approx([1 / 2.1] * 3)
    assert art.cost.share == pytest.approx(1.5 / 2.1) and (art.steps.reached, art.steps.n) == (3, 3)
    assert art.cost.end == pytest.approx(1.5) and art.cost.words == "0.71"


def test_fewer_steps_are_shares_of_mix_s_and_what_is_not_reached_says_how_far_it_went(store):
    for seed in range(3):  # art rises by 10.5 dB, mix of the seeds by 9, 10 and 12
        store("art", seed, rising(1.5, steps=420, points=14))
        store("equal", seed, rising(1.5 if seed == 0 else 0.9, steps=420, lift=20))
    reach = found(store.folder)
    steps = reach["art"]["average"].steps
    assert (steps.reached, steps.n, steps.most) == (2, 3, math.inf) and steps.share == pytest.approx(10 / 15)
    lost = reach["equal"]["average"].steps
    assert lost.share == math.inf and lost.words == ">0.7" and lost.end == pytest.approx(0.7) and lost.reached == 1
    assert reach["equal"]["derain"].steps.share == pytest.approx(0.035)  # its first point has the level already
    text = build("three_task", store.folder, formats=["csv", "html"]).text
    assert "to mix" in text and ">0.7" in text and "at cost" in text
    table = pd.read_csv(store.folder / "reports/three_task/targets.csv").set_index(["strategy", "task"])
    assert table.loc[("art", "average"), "steps_share"] == pytest.approx(10 / 15, abs=1e-6)
    assert math.isnan(table.loc[("equal", "average"), "steps_share"])
    assert (
        "Steps until validation has mix&#39;s last level"
        in (store.folder / "reports/three_task/report.html").read_text()
    )


def test_noise_alone_reaches_the_level_early_and_mix_says_so(store):
    noisy = rising()
    noisy.loc[noisy["step"] == 300, "psnr"] = 40.0
    noisy.loc[noisy["step"] == 150, "psnr"] = np.nan
    for seed in range(3, 6):
        store("mix", seed, noisy)
    mix = found(store.folder)["mix"]["average"].steps
    assert mix.least < 0.5 and mix.n == 6


def test_seconds_of_another_machine_do_not_compare(store):
    for seed in range(3):
        run = store("art", seed, rising(2))
        environment = run.environment.content() | {"device": "another"}
        run.write_environment(type(run.environment).model_validate(environment))
    art = found(store.folder)["art"]["average"]
    assert art.steps.n == 3 and art.cost.n == 0 and art.cost.words == ""
    (curve,) = [
        c for c in curves(gather(find_runs(store.folder, "three_task"))[0], "transweather") if c.strategy == "art"
    ]
    assert curve.gain and not curve.gain_of_time


def test_gains_are_taken_at_equal_places_of_each_axis(store):
    store("art", 1, rising(1.0, pace=0.2, steps=420, points=7))  # as mix of its seed, at twice the time a step
    (curve,) = [
        c for c in curves(gather(find_runs(store.folder, "three_task"))[0], "transweather") if c.strategy == "art"
    ]
    assert list(curve.gain["derain"]) == [60, 120, 180, 240, 300, 360, 420]
    assert [point.value.mean for point in curve.gain["derain"].values()] == pytest.approx([0] * 7, abs=1e-9)
    late = curve.gain_of_time["derain"]
    assert list(late) == [60, 120, 180, 240, 300]  # mix had ended after 60 s
    assert late[240].value.mean == pytest.approx(-4.0) and late[240].seconds == pytest.approx(48)


def test_without_curves_there_is_no_such_column(tmp_path):
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=3.0)
    assert "to mix" not in build("three_task", tmp_path, formats=["csv"]).text
    assert not list((tmp_path / "reports/three_task").glob("targets*"))
