"""Searches in reports: the best of k trials against brute force, what belongs to a table, what is said."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from synthetic_store import write_run

from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.tuning import expected_best, found, scores
from results import State, find_runs, tuning
from results.tuning import Parameter, Search, Trial


def searched(cohort, strategy="art", results=(20.0, None, 23.0, 21.5), **more):
    space = {"mix": []}.get(
        strategy.partition(":")[0],
        [Parameter(name="tau", low=0.05, high=50, log=True), Parameter(name="way", options=[True, "so|<b>"])],
    )
    trials = [
        Trial(
            number=number,
            strategy=f"{strategy}:tau={number + 1}",
            values={"tau": number + 1.0, "way": "so|<b>" if number else True} if space else {},
            factor=2.0**number / 2,
            lr=0.001 * 2.0**number / 2,
            state=State.FAILED if score is None else State.DONE,
            reason="Diverged: step 3" if score is None else "",
            tasks={} if score is None else {"derain": score + 1, "dehaze": score - 1},
            score=score,
            seconds=1.5,
        )
        for number, score in enumerate(results)
    ]
    content = dict(setting="three_task", baseline="transweather", display="TransWeather", size="tiny", profile="demo",
                   recipe="r", key="k", seeds=[100], validation=8, lr=0.001, wanted=len(trials))  # fmt: skip
    return Search(**content | more, strategy=strategy, cohort=cohort, space=space, trials=trials)


def keep(output, *searches):
    for number, search in enumerate(searches):
        tuning.write(tuning.place(output, "three_task") / tuning.SEARCHES / f"{number}.json", search)


@pytest.mark.parametrize(
    "values", [[3.0], [1.0, 1.0], [2.0, -1.0, 5.5, 5.5, 0.25], list(np.random.default_rng(0).random(9))]
)
def test_expected_best_of_k_is_the_mean_over_all_choices(values):
    brute = [np.mean([max(chosen) for chosen in itertools.combinations(values, k)]) for k in range(1, len(values) + 1)]
    assert expected_best(values) == pytest.approx(brute)


def test_a_failed_trial_is_the_worst():
    assert scores(searched("c")) == [20.0, 20.0, 23.0, 21.5]
    assert scores(searched("c", results=(None, None))) == []


def test_what_a_search_found_survives_its_file(tmp_path):
    search = searched("c")
    keep(tmp_path, search)
    assert tuning.searches(tmp_path, "three_task") == [search]
    assert (search.best.number, search.gain, len(search.failures)) == (2, 3.0, 1)
    assert found(search) == "tau=3 way=so|<b>, learning rate 0.002 (x 2)"
    assert found(searched("c", results=(None,))) == "every trial failed"
    assert math.isnan(searched("c", results=(None, 3.0)).gain)


def test_a_report_has_the_searches_of_its_cohort(tmp_path):
    for strategy, gain in (("mix", 4.0), ("art", 5.0)):
        write_run(tmp_path, strategy=strategy, psnr=gain)
    (cohort,) = {run.record.cohort for run in find_runs(tmp_path, "three_task")}
    keep(tmp_path, searched(cohort), searched(cohort, "mix"), searched("another", "uw"))
    report = build("three_task", tmp_path)
    folder = tmp_path / "reports/three_task"
    assert folder / "tuning-transweather.png" in report.files and (folder / "tuning-transweather.svg").stat().st_size
    table = pd.read_csv(folder / "tuning.csv")
    assert list(table["strategy"].unique()) == ["mix", "art"] and len(table) == 8
    assert list(table["expected_best"][:4]) == pytest.approx(expected_best([20.0, 20.0, 23.0, 21.5]), abs=1e-6)
    text, page = (folder / "gains.md").read_text(), (folder / "report.html").read_text()
    assert "## Tuning" in text and "tau=3 way=so\\|" in text and "+3.00" in text and "4, 1 failed" in text
    assert "so|&lt;b&gt;" in page and "so|<b>" not in page.replace("\\u003c", "") and "<details open" not in page
    before = {path: path.read_bytes() for path in folder.iterdir()}
    build("three_task", tmp_path)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_without_searches_there_is_no_section_and_a_damaged_one_is_said(tmp_path):
    write_run(tmp_path, psnr=4.0)
    (cohort,) = {run.record.cohort for run in find_runs(tmp_path, "three_task")}
    keep(tmp_path, searched(cohort))
    build("three_task", tmp_path)
    (path,) = tuning.files(tmp_path, "three_task")
    path.write_text("{")
    report = build("three_task", tmp_path)
    assert "A search is left out" in report.text and "0.json" in report.text
    folder = tmp_path / "reports/three_task"
    assert not list(folder.glob("tuning*")) and "Tuning" not in (folder / "report.html").read_text()


def test_runs_with_what_an_earlier_search_found_do_not_stand_in_the_row_of_the_newest(tmp_path):
    def tuned(seed, tau, age):
        terms = {"tuned": "art", "trials": 16, "lr": 0.001}
        write_run(tmp_path, strategy=f"art:tau={tau}", seed=seed, psnr=5.0, age=age,
                  config={"terms": terms, "train.lr": 0.002})  # fmt: skip

    tuned(0, 3, age=0)
    tuned(1, 3, age=10)
    tuned(2, 7, age=99)
    (cohort,) = gather(find_runs(tmp_path, "three_task"))
    reasons = {outcome.seed: (outcome.strategy, outcome.counts, outcome.reason) for outcome in cohort.outcomes}
    assert reasons[0][:2] == reasons[1][:2] == ("art (tuned)", True)
    assert reasons[2] == ("art (tuned)", False, "other parameters than those found last")
