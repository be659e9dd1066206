"""Strategies against fixed task weights: distances, margins, verdicts, and what the tables do with the controls."""

import json
import math

import moocore
import numpy as np
import pandas as pd
import pytest
from browser import browser, executable
from front_tables import draw, invent, rate
from scipy.stats import binom
from synthetic_store import SETS, TASKS, write_fixed, write_run

from reports.build import build
from reports.numbers import front
from reports.numbers.cohorts import gather
from reports.numbers.contest import contest, control_rows
from reports.numbers.controls import Plane, controls, fronts
from results import State, Status, find_runs

CHANCE = np.random.default_rng(0)


def test_the_distance_is_the_additive_epsilon_of_the_fixed_set():
    for _ in range(20):
        point, fixed = CHANCE.normal(size=(3, 2)), CHANCE.normal(size=(7, 3, 2))
        for seed, distance in enumerate(front.distance(point, fixed)):
            epsilon = moocore.epsilon_additive(fixed[:, seed], point[seed : seed + 1], maximise=True)
            assert distance == pytest.approx(epsilon)
    stairs = np.array([[[0.0, 2.0]], [[2.0, 0.0]]])  # two weightings, one seed
    assert front.distance(np.array([[1.0, 1.0]]), stairs) == [1.0]  # a step between them seems beyond
    assert front.distance(np.array([[3.0, 3.0]]), stairs) == [3.0]
    assert front.distance(np.array([[-1.0, 1.5]]), stairs) == [-0.5]


def test_the_best_weighting_is_chosen_by_the_other_seeds():
    level = np.array([[9.0, 0.0, 0.0], [1.0, 2.0, 4.0]])  # the first has one lucky seed
    assert front.chosen(level).tolist() == [1, 0, 0]
    assert front.chosen(level[:, :1]).tolist() == [0]
    gains = front.over_the_best(np.zeros(3), level, level)
    assert gains.tolist() == [-1, 0, 0]
    own = CHANCE.normal(size=(4000, 3))
    lucky = CHANCE.normal(size=(4000, 16, 3))  # weightings that are all the same
    held_out = np.mean([front.over_the_best(one, many, many).mean() for one, many in zip(own, lucky, strict=True)])
    assert abs(held_out) < 0.03 < (lucky.max(axis=1).mean() - own.mean())  # no winner's curse


def test_the_held_out_distance_calls_nothing_behind_that_stands_on_the_front():
    """The minimum over noisy points is below the true distance 0 of a copy of a front's point, this one is not."""
    true = np.stack([np.linspace(0, 1, 12), np.linspace(1, 0, 12)], axis=1)
    near, held = [], []
    for _ in range(400):
        noise = 0.5 * CHANCE.normal(size=(13, 3, 2))
        fixed, point = true[:, None] + noise[:12], true[5] + noise[12]
        near.append(front.distance(point, fixed).mean())
        held.append(front.held_out_distance(point, fixed).mean())
    assert np.mean(near) < 0 < np.mean(held)


def test_margin_and_p_values():
    fixed = np.zeros((3, 2, 2))
    fixed[0] += 0.4  # farthest beyond the others, by 0.4 in both
    assert front.front_margin(fixed) == pytest.approx(front.ROOM * 0.4)
    averages = np.array([[1.0, 1.0], [0.7, 0.7], [0.2, 0.2]])
    assert front.best_margin(averages, averages) == pytest.approx(front.ROOM * 0.3)
    assert front.p_beyond(np.array([0.1, 0.2, 0.25]), 0.2) == 1.0  # within the margin
    far = np.array([1.0, 1.1, 1.2])
    assert front.p_beyond(far, 0.2) == pytest.approx(front.of_seeds(far - 0.2).p)
    assert front.p_beyond(-far, 0.2) == pytest.approx(front.of_seeds(far).p)
    assert front.p_beyond(-far, 0.2, behind=far) == 1.0
    assert math.isnan(front.p_beyond(far[:1], 0.2))


def test_planes_are_all_splits_and_the_main_one_is_traded_off_most():
    assert len(front.splits("abcd")) == 7 and front.splits("a") == []
    assert {left for left, _ in front.splits("abc")} == {("a",), ("a", "b"), ("a", "c")}
    (one,) = invent(np.random.default_rng(1), baselines=1)
    planes = [Plane(*sides) for sides in front.splits(list(one.groups))]
    assert one.main == min(planes, key=lambda plane: np.corrcoef(one.means(plane).T)[0, 1])
    noise = one.points(Plane(("denoise",), ("derain",)), np.array([1.0, 2.0, 6.0, 7.0, 8.0]))
    assert noise.tolist() == [3.0, 7.0]  # a group is the mean over its levels


@pytest.mark.parametrize(("kind", "noise"), [("three kinds", 0.02), ("five kinds", 0.1)])
def test_a_useless_strategy_is_seldom_called_anything_and_a_planted_gain_mostly(kind, noise):
    """One more random weighting: at most 5 % of tables of two baselines, for each of the views."""
    tables = 100
    most = binom.ppf(1 - 1e-3, tables, 0.05) / tables
    useless = rate(tables, kind=kind, noise=noise)
    assert useless["gain"] <= most and useless["beyond"] <= most
    planted = rate(40, kind=kind, noise=noise, gain=0.5, each=True)
    assert planted["gain"] > 0.6 and planted["beyond"] > 0.6


def test_without_a_margin_a_useless_strategy_is_called_beyond(monkeypatch):
    monkeypatch.setattr(front, "ROOM", 0.0)
    assert rate(60, noise=0.02)["beyond"] > 0.15


def test_few_weightings_one_seed_and_one_kind_get_no_verdict():
    (row,) = control_rows(invent(np.random.default_rng(0), count=9, baselines=1, gain=3.0))
    assert row.verdict == "fewer than 10 fixed weightings: no verdict" and row.best_verdict == "gain"
    (row,) = control_rows(invent(np.random.default_rng(0), seeds=1, baselines=1, gain=3.0))
    assert row.verdict == row.best_verdict == "one seed: no verdict" and row.distance.mean > 1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    output = tmp_path_factory.mktemp("fixed")
    write_fixed(output, count=12)
    return output


@pytest.fixture(scope="module")
def built(store):
    return build("three_task", store, formats=["md", "csv", "tex", "html", "png"])


def cohort_of(store):
    return gather(find_runs(store, "three_task"))[0]


def test_verdicts_of_a_store(store):
    held = contest(cohort_of(store))
    (one,), rows = held.fronts, {row.strategy: row for row in held.rows}
    assert set(rows) == {"art", "art:tau=1", "pcgrad", "cagrad", "famo", "dwa"} and len(one.fixed) == 14
    assert one.groups == {"denoise": TASKS[:3], "derain": ["derain"], "dehaze": ["dehaze"]} and one.validated
    assert rows["art"].verdict == "beyond" and rows["art"].best_verdict == "gain"
    assert rows["famo"].verdict == "behind" and rows["famo"].best_verdict == "loss"
    assert rows["pcgrad"].best_verdict != "gain" and rows["pcgrad"].verdict != "beyond"
    grown = moocore.hypervolume(
        [*one.means(one.main), one.points(one.main, one.strategies["art"].tasks).mean(axis=0)],
        one.points(one.main, one.inputs), maximise=True,
    )  # fmt: skip
    assert rows["art"].volume == pytest.approx(100 * (grown / one.volume - 1)) and rows["famo"].volume == 0
    best = max(trained.average.mean() for trained in one.fixed.values())
    assert rows["art"].best.mean >= one.strategies["art"].average.mean() - best - 1e-9  # who was chosen is no better


def test_controls_stand_in_their_own_table_and_nothing_is_left_out(store, built):
    folder = store / "reports/three_task"
    gains, runs = pd.read_csv(folder / "gains.csv"), pd.read_csv(folder / "runs.csv")
    assert gains["strategy"].str.startswith("fixed:").sum() == 12 * 6 * 2 and len(runs) == 20 * 3
    fixed = gains[gains["strategy"].str.startswith("fixed:")]
    assert fixed["p_holm"].isna().all() and fixed["verdict"].isna().all() and fixed["gain"].notna().all()
    assert "Holm-corrected over 7 comparisons" in built.text  # six strategies and equal
    tables = built.text.partition("Beyond fixed weights?")[0]
    assert "fixed:" not in tables
    assert "TransWeather: 12 fixed weightings are compared in 'Fixed weights'" in " ".join(built.text.split())
    table = pd.read_csv(folder / "front.csv").set_index("strategy")
    assert table.loc["art", "distance_verdict"] == "beyond" and table.loc["art", "weightings"] == 13
    assert table.loc["art", "axis_1"] and table["over_best_margin"].nunique() == 1
    for name in ("gains.md", "gains.tex", "report.html"):
        text = (folder / name).read_text()
        assert "over the best" in text and "beyond" in text
    assert (folder / "gains.md").read_text().count("| fixed:") == 12
    assert {"front-transweather.png", "front.csv"} <= {path.name for path in built.files}


def test_a_weighting_that_lacks_a_seed_is_named_and_left_out_of_the_front(tmp_path):
    write_fixed(tmp_path, count=6, seeds=2)
    lost = next(run for run in find_runs(tmp_path, "three_task") if run.record.config.strategy.startswith("fixed"))
    lost.write_status(Status(State.FAILED, "out of memory"))
    name = lost.record.config.strategy
    cohort = cohort_of(tmp_path)
    (one,) = fronts(cohort)
    assert name not in one.fixed and len(one.fixed) == 7 and name in controls(cohort, "transweather")
    assert name in " ".join(build("three_task", tmp_path, formats=[]).text.split("lack seeds")[1].split())


def test_fewer_than_five_weightings_are_ordinary_rows(tmp_path):
    for strategy in ("mix", "equal", "art", "fixed:derain=2", "fixed:derain=3", "fixed:derain=4"):
        write_run(tmp_path, strategy=strategy, psnr=3.0)
    report = build("three_task", tmp_path, formats=["csv", "html"])
    assert "Beyond fixed" not in report.text and "fixed:derain=2" in report.text
    assert not [path for path in report.files if path.name.startswith("front")]
    assert 'id="fixed"' not in (tmp_path / "reports/three_task/report.html").read_text()
    write_run(tmp_path, strategy="fixed:derain=5", psnr=3.0)  # mix and equal are one weighting, this is the fifth
    report = build("three_task", tmp_path, formats=["csv"])
    assert "Beyond fixed" in report.text and "fewer than 10" in report.text


def test_the_page_draws_any_plane(store, built, tmp_path_factory):
    page = store / "reports/three_task/report.html"
    data = json.loads(page.read_text("utf-8").partition('id="data">')[2].partition("</script>")[0])
    (shown,) = data["fronts"]
    assert {"denoise", "denoise_15", "derain", "average"} <= set(shown["axes"]) and len(shown["main"]) == 2
    assert [sum(point["fixed"] for point in shown["points"]), len(shown["points"])] == [14, 20]
    assert not any(name.startswith("fixed") for name in data["baselines"][0]["strategies"])
    if executable() is None:
        pytest.skip("no Chromium here; apt-get install chromium gives one")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        for width in (360, 1280):
            tab.open(page, width=width)
            tab.run("var s = document.getElementById('plane-x'); s.value = 'derain'")
            tab.run("s.dispatchEvent(new Event('change'))")
            assert tab.run("document.querySelectorAll('#fixed svg circle').length") >= 20 * 4
            assert tab.run("document.documentElement.scrollWidth") <= width and tab.trouble == []
            assert "NaN" not in tab.run("document.getElementById('fixed').innerHTML")
            tab.run("document.querySelector('#fixed svg').focus()")
            tab.press("Home")
            assert "dB" in tab.run("document.querySelector('#fixed .tip').innerText")


def test_designs_are_on_the_simplex():
    weights = draw(50, CHANCE)
    assert np.allclose(weights.sum(axis=1), 1) and weights.min() >= 0.1 / len(SETS) - 1e-12
