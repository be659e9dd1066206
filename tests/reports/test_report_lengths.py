"""The gain against the length of the training: which cohorts are one family, and what is said of a trend."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_store import write_run

from reports.build import build, main
from reports.figures.lengths import length_figures
from reports.formats.lengths import lengths_table, sentence, zero
from reports.numbers.cohorts import gather
from reports.numbers.lengths import (
    BENDS,
    GROWS,
    LEVELS,
    NO_BEND,
    NO_TREND,
    SHRINKS,
    TOO_SHORT,
    TURNS,
    families,
    lengths,
)
from reports.numbers.tables import gain_table
from reports.numbers.trend import Fit, fieller, trend
from results import find_runs
from results.archive import main as keep

BASE = 600
OWN = np.array([0.02, -0.03, 0.01, 0.03, -0.03])
"""What a seed's gains have over the others."""


def of(steps, **config):
    """Configuration and departures of a training of so many steps."""
    departures = [f"train.steps={steps}"] * (steps != BASE) + [f"{key}={value}" for key, value in config.items()]
    return {"config": {"train.steps": steps, **config}, "overrides": tuple(departures)}


def write(output, gains, seeds=3, baseline="transweather", mixes=True, **more):
    """Runs of mix and of strategies: ``gains`` in dB by strategy and steps."""
    trained = [(n, seed) for n in sorted({n for several in gains.values() for n in several}) for seed in range(seeds)]
    for steps, seed in trained:
        told = of(steps, **more)
        if mixes:
            write_run(output, baseline, "mix", seed, 3.0 + seed, **told)
        for strategy, several in gains.items():
            if steps in several:
                shift = OWN[seed] + 0.01 * math.sin(steps + seed)
                write_run(output, baseline, strategy, seed, 3.0 + seed + several[steps] + shift, **told)


def along(slope, start=-0.5, steps=(600, 2000, 6000), square=0.0):
    """Gains on a line over log10(steps)."""
    places = {n: math.log10(n / BASE) for n in steps}
    return {n: start + slope * x + square * x**2 for n, x in places.items()}


def found(output, setting="three_task"):
    cohorts = gather(find_runs(output, setting))
    return [lengths(gain_table(several[0], images=False), several) for several in families(cohorts).values()]


def points(counts, slope=0.3, noise=0.05, own=0.0, seed=0):
    """Gains by steps and seed about a line that is 0 at 10,000 steps, whose slope differs from seed to seed by ``own``
    (standard deviation)."""
    chance = np.random.default_rng(seed)
    tilts = slope + own * chance.standard_normal(max(counts.values()))
    return {
        steps: {k: tilts[k] * (math.log10(steps) - 4) + noise * chance.standard_normal() for k in range(count)}
        for steps, count in counts.items()
    }


def test_with_all_seeds_at_all_lengths_it_is_students_t_over_the_seeds_own_slopes():
    made = points(dict.fromkeys((600, 2000, 6000, 18000), 5), own=0.1)
    line = trend(made)
    x = np.log10(sorted(made))
    own = np.array([np.polyfit(x, [made[steps][seed] for steps in sorted(made)], 1) for seed in range(5)])
    told = stats.ttest_1samp(own[:, 0], 0.0)
    ends = told.confidence_interval()
    assert line.clustered and line.count == 5
    assert (line.slope.value, line.slope.low, line.slope.high) == pytest.approx((own[:, 0].mean(), *ends))
    assert line.slope.p == pytest.approx(told.pvalue)
    square = [np.polyfit(x, [made[steps][seed] for steps in sorted(made)], 2)[0] for seed in range(5)]
    assert line.bend.p == pytest.approx(stats.ttest_1samp(square, 0.0).pvalue)
    assert line.at(600) == pytest.approx(own.mean(axis=0) @ (math.log10(600), 1))


def test_without_seeds_of_all_lengths_it_is_least_squares_over_the_points():
    made = points({600: 4, 2000: 4, 6000: 4})
    apart = {steps: {seed + 10 * place: g for seed, g in made[steps].items()} for place, steps in enumerate(made)}
    line = trend(apart)
    x, y = zip(*[(math.log10(steps), gain) for steps, gains in apart.items() for gain in gains.values()], strict=True)
    told = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * told.stderr
    assert not line.clustered and line.count == 12
    assert (line.slope.value, line.slope.p) == pytest.approx((told.slope, told.pvalue))
    assert (line.slope.low, line.slope.high) == pytest.approx((told.slope - half, told.slope + half))


@pytest.mark.parametrize("own", [0.0, 0.06])
def test_intervals_hold_the_truth_as_often_as_they_say(own):
    """Fewer seeds at the longest training; seeds with slopes of their own or without."""
    counts = {600: 5, 2000: 5, 6000: 5, 18000: 3}
    lines = [trend(points(counts, own=own, seed=seed)) for seed in range(400)]
    held = np.mean([line.slope.low <= 0.3 <= line.slope.high for line in lines])
    known = [line.zero for line in lines if not math.isnan(line.zero.low)]
    zeros = np.mean([one.low <= 4 <= one.high for one in known])
    straight = np.mean([line.bend.low <= 0 <= line.bend.high for line in lines])
    assert len(known) > 390
    assert all(0.91 < share < 0.985 for share in (held, zeros, straight)), (held, zeros, straight)


def test_fieller_ends_are_where_the_line_is_just_apart_from_zero():
    x, y = np.array([0.0, 1, 2, 3, 4]), np.array([-2.1, -0.8, 0.1, 0.7, 2.2])
    fit = Fit.of(x, y, 1)
    quantile = stats.t.ppf(0.975, fit.free)
    grid = np.linspace(-20, 20, 400_001)
    powers = np.stack([np.ones_like(grid), grid])
    errors = np.sqrt(np.einsum("ip,ij,jp->p", powers, fit.covariance, powers))
    inside = grid[np.abs(fit.coefficients @ powers) <= quantile * errors]
    ends = fieller(*fit.coefficients, fit.covariance, quantile)
    assert ends == pytest.approx((inside.min(), inside.max()), abs=2e-4)
    flat = Fit.of(x, np.array([0.3, -0.2, 0.1, 0.4, -0.1]), 1)
    assert all(map(math.isnan, fieller(*flat.coefficients, flat.covariance, quantile)))


def test_a_known_slope_is_found_with_the_words_for_it(tmp_path):
    steps = (600, 2000, 6000, 18000)
    write(tmp_path, {
        "art": along(0.3, steps=steps), "art:tau=1": along(0.6, steps=steps), "equal": along(0, 0.0, steps),
        "dwa": along(-0.3, -0.1, steps), "famo": along(0.6, -0.8, steps, -0.25), "uw": along(0.74, -0.5, steps, -0.5),
    }, seeds=4)  # fmt: skip
    (every,) = found(tmp_path)
    rows = {row.strategy: row for row in every.rows}
    assert list(rows) == ["equal", "art", "art:tau=1", "dwa", "famo", "uw"] and every.steps == list(steps)
    for name, slope in (("art", 0.3), ("art:tau=1", 0.6), ("dwa", -0.3), ("equal", 0.0)):
        estimate = rows[name].trend.slope
        assert estimate.low <= slope <= estimate.high and estimate.high - estimate.low < 0.05
    assert {name: (row.word, row.bend) for name, row in rows.items()} == {
        "equal": (NO_TREND, NO_BEND), "art": (SHRINKS, NO_BEND), "art:tau=1": (TURNS, NO_BEND), "dwa": (GROWS, NO_BEND),
        "famo": (SHRINKS, LEVELS), "uw": (NO_TREND, BENDS),
    }  # fmt: skip
    assert "a loss turns into a gain" in sentence(rows["art:tau=1"]) and sentence(rows["art:tau=1"]).endswith("gain.")
    assert "the loss shrinks" in sentence(rows["art"]) and "longer than what was trained" in sentence(rows["art"])
    assert "levels off" in sentence(rows["famo"]) and "meets 0" not in sentence(rows["famo"])
    exact = 10 ** (math.log10(BASE) + 0.5 / 0.6)
    low, high = (10 ** getattr(rows["art:tau=1"].trend.zero, end) for end in ("low", "high"))
    assert low < exact < high and high / low < 1.5
    assert zero(rows["equal"]) == "not within reach"


def test_gains_are_those_of_the_gains_table_and_corrected_together(tmp_path):
    write(tmp_path, {"art": along(0.3), "dwa": along(-0.2)}, seeds=3)
    cohorts = gather(find_runs(tmp_path, "three_task"))
    (every,) = found(tmp_path)
    for row in every.rows:
        for point in row.points:
            (cohort,) = (cohort for cohort in cohorts if cohort.key == point.cohort)
            (other,) = (o for o in gain_table(cohort, images=False).rows if o.strategy == row.strategy)
            assert point.gain == other.average.gain and len(point.seeds) == 3
            assert np.mean(list(point.seeds.values())) == pytest.approx(point.gain.mean)
    p = sorted(row.trend.slope.p for row in every.rows)
    assert sorted(row.slope_p for row in every.rows)[0] == pytest.approx(min(2 * p[0], 1))


@pytest.mark.parametrize(
    "other",
    [{"train.batch": 20}, {"train.patch": 32}, {"size": "paper"}, {"data.fingerprint": "f01"},
     {"train.precision": "bf16"}, {"origin": {"run": "abc", "step": 600}}],
)  # fmt: skip
def test_cohorts_that_differ_in_more_than_the_length_are_no_family(other, tmp_path):
    write(tmp_path, {"art": {600: -0.3}})
    write(tmp_path, {"art": {2000: -0.2}}, **other)
    assert found(tmp_path) == []
    assert "Gain against length" not in build("three_task", tmp_path, formats=["csv"]).text
    assert not list((tmp_path / "reports/three_task").glob("lengths*"))
    write(tmp_path, {"art": {2000: -0.2}})
    assert len(found(tmp_path)) == 1


def test_runs_on_other_terms_are_no_length(tmp_path):
    write(tmp_path, {"art": {600: -0.3}})
    for terms in ({"budget": "cost", "steps": 2000}, {"tuned": "art", "trials": 5}):
        write(tmp_path, {"art": {2000: -0.2}}, mixes=False, terms=terms)
        assert found(tmp_path) == []


def test_the_weight_average_may_follow_the_length(tmp_path):
    """Runs of a cohort share it apart from what is swept; the synthetic store takes every departure for another."""
    write(tmp_path, {"art": {600: -0.3}}, **{"train.ema": 0.9})
    for decay in (0.9, 0.97):
        write(tmp_path, {"art": {2000: -0.2 + decay}}, **{"train.ema": decay})
    (every,) = found(tmp_path)
    ((short, long),) = (row.points for row in every.rows)
    assert (short.ema, long.ema) == (0.9, 0.97)  # over 1/60 of the training, as nearly as there is one
    notes = " ".join(every.notes)
    assert "weight average compares better" in notes and "0.9 (600 steps), 0.97 (2,000 steps)" in notes
    assert every.rows[0].word == TOO_SHORT and "no trend from two lengths" in sentence(every.rows[0])


def test_another_recipe_or_other_test_sets_are_left_out_and_named(tmp_path):
    write(tmp_path, {"art": {600: -0.3, 2000: -0.2, 6000: -0.1, 18000: -0.1, 60000: 0.0}}, seeds=2)
    for run in find_runs(tmp_path, "three_task"):
        config = run.record.config
        if config.train.steps == 6000:  # a recipe that has changed with the code is no departure
            train = config.train.model_copy(update={"lr": 0.01})
            run.write_record(run.record.model_copy(update={"config": config.model_copy(update={"train": train})}))
        if config.train.steps == 18000:
            run.write_scores(run.scores()[lambda table: table["dataset"] != "Rain100L"])
    (every,) = found(tmp_path)
    assert every.steps == [600, 2000, 60000]
    notes = " ".join(every.notes)
    assert "recipe is another: TransWeather, art at 6,000 steps" in notes and "lr 0.01, now 0.001" in notes
    assert "scored on CBSD68-s15, CBSD68-s25, CBSD68-s50, SOTS-outdoor, not on CBSD68-s15" in notes


def test_the_command_writes_table_figure_and_section_with_the_same_bytes(tmp_path, capsys):
    store = tmp_path / "a store"
    write(store, {"art": along(0.3), "dwa": along(-0.2), "once": {600: 0.1}})
    assert main(["--setting", "three_task", "--output", str(store), "--format", "md", "csv", "html", "svg"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    folder = store / "reports/three_task"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"lengths.csv", "length-transweather.svg"} <= set(files)
    assert "the loss shrinks with the length of the training" in text and "At one length only" in text
    page = (folder / "gains.md").read_text()
    assert "## Gain against length" in page and "![length-transweather](length-transweather.svg)" in page
    assert sum("Gain against length" in content.decode() for name, content in files.items() if name[-3:] == ".md") == 1
    assert 'id="lengths"' in (folder / "report.html").read_text()
    table = pd.read_csv(folder / "lengths.csv")
    assert list(table["steps"]) == [600, 2000, 6000] * 2 and set(table["n"]) == {3}
    assert {"slope", "slope_p_holm", "zero_low", "bend_high", "seed_gains", "longest_verdict"} <= set(table)
    kept = tmp_path / "kept"
    assert keep([str(store), str(kept), "--setting", "three_task"]) == 0
    assert main(["--from", str(kept), "--format", "csv", "svg"]) == 0
    for name in ("lengths.csv", "length-transweather.svg"):
        assert (kept / "reports/three_task" / name).read_bytes() == files[name]
    chosen = ["--strategies", "dwa", "--label", "dwa=Ours", "--format", "csv"]
    assert main(["--from", str(kept), "--output", str(tmp_path / "here"), *chosen]) == 0
    assert set(pd.read_csv(tmp_path / "here/reports/three_task/lengths.csv")["strategy"]) == {"Ours"}


def test_several_archives_make_one_family(tmp_path, capsys):
    for name, steps in (("a", (600, 2000)), ("b", (6000,))):
        write(tmp_path / name, {"art": along(0.3, steps=steps)})
        assert keep([str(tmp_path / name), str(tmp_path / f"kept {name}"), "--setting", "three_task"]) == 0
    several = ["--from", str(tmp_path / "kept a"), str(tmp_path / "kept b")]
    assert main([*several, "--output", str(tmp_path / "both"), "--format", "csv"]) == 0
    table = pd.read_csv(tmp_path / "both/reports/three_task/lengths.csv")
    assert list(table["steps"]) == [600, 2000, 6000] and set(table["trend"]) == {SHRINKS}
    capsys.readouterr()


def test_the_section_stands_in_one_report_and_moves_with_a_command(tmp_path):
    write(tmp_path, {"art": along(0.3)})
    runs = find_runs(tmp_path, "three_task")
    folder = tmp_path / "reports/three_task"
    for steps in (600, 6000, 2000):
        own = [run for run in runs if run.record.config.train.steps == steps]
        report = build("three_task", tmp_path, own=own, formats=["md", "csv"])
        assert "Gain against length" in report.text
        assert [path.name for path in folder.glob("lengths*")] == ["lengths.csv"]
        assert [path.name for path in folder.glob("*.md") if "Gain against length" in path.read_text()] == ["gains.md"]
    alone = write_run(tmp_path, "airnet", "mix", 0, 3.0, overrides=("train.batch=20",))
    for _ in range(2):
        build("three_task", tmp_path, own=[alone], formats=["md", "csv"])
        assert len(list(folder.glob("lengths*"))) == len(list(folder.glob("lengths-*.csv"))) == 1


@pytest.mark.parametrize("strategies", [1, 3, 9])
def test_figures_hold_every_strategy(strategies, tmp_path):
    write(tmp_path, {f"s{place}": along(0.1 * place) for place in range(strategies)}, seeds=2)
    cohorts = gather(find_runs(tmp_path, "three_task"))
    (every,) = found(tmp_path)
    paths = length_figures(cohorts[0], every.rows, tmp_path / "length", ["svg"])
    assert len(paths) == (2 if strategies > 8 else 1)
    drawn = "".join(path.read_text() for path in paths)
    assert all(f">s{place}: " in drawn for place in range(strategies)) and "18,000" not in drawn
    assert len(lengths_table(cohorts[0], every)) == 3 * strategies


def test_no_line_is_drawn_through_points_that_bend(tmp_path):
    write(tmp_path, {"uw": along(0.74, -0.5, (600, 2000, 6000, 18000), -0.5)}, seeds=4)
    (every,) = found(tmp_path)
    (path,) = length_figures(gather(find_runs(tmp_path, "three_task"))[0], every.rows, tmp_path / "length", ["svg"])
    assert ">uw: bends<" in path.read_text() and "dashed" not in path.read_text()
