"""Rows on several terms in one table, and mix against single-task networks."""

import pytest
from synthetic_store import INPUTS, SETS, TASKS, records, write_run

from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.race import race, together
from reports.numbers.tables import gain_table

TUNED = {"train.lr": 0.0005, "terms": {"tuned": "art", "trials": 12, "lr": 0.001}}
COST = {"train.steps": 300, "terms": {"budget": "cost", "ratio": 2.0, "steps": 600}}
APART = {"CBSD68-s15": -1.0, "CBSD68-s25": 0.0, "CBSD68-s50": 0.5, "Rain100L": 1.0, "SOTS-outdoor": 2.0}
"""Of single-task networks over mix, dB."""
STEPS = {task: 100 + 10 * i for i, task in enumerate(TASKS)}


@pytest.fixture
def store(tmp_path):
    for seed in range(3):
        jitter = 0.01 * seed
        write_run(tmp_path, strategy="mix", seed=seed, psnr=5.0)
        write_run(
            tmp_path,
            strategy="mix",
            seed=seed,
            psnr=5.4 + jitter,
            config=TUNED | {"terms": TUNED["terms"] | {"tuned": "mix"}},
        )
        write_run(tmp_path, strategy="art", seed=seed, psnr=5.2 + jitter)
        write_run(tmp_path, strategy="art:tau=3", seed=seed, psnr=5.3 - jitter, config=TUNED)
        write_run(tmp_path, strategy="art", seed=seed, psnr=4.9 - jitter, config=COST)
        for task, dataset in reversed(list(zip(TASKS, SETS, strict=True))):
            own = [record for record in records() if record["dataset"] in (dataset, "RainTrainL")]
            psnr = {dataset: INPUTS[dataset] + 5.0 + APART[dataset] + jitter}
            config = {"train.steps": STEPS[task], "terms": {"task": task, "steps": 600}}
            write_run(tmp_path, strategy="single", seed=seed, psnr=psnr, data=own, config=config)
    return tmp_path


def table_of(store):
    from results import find_runs

    (cohort,) = gather(find_runs(store, "three_task"))
    return gain_table(cohort)


def test_each_row_is_measured_against_mix_on_its_terms(store):
    (art, mix) = sorted(race(table_of(store)), key=lambda racer: racer.strategy)
    gains = {terms: row.average.gain.mean for terms, row in art.rows.items()}
    assert gains == pytest.approx({(): 0.21, ("equal cost",): -0.11, ("tuned",): -0.12})
    assert [row.average.verdict for row in art.rows.values()] == ["gain", "loss", "loss"]
    assert mix.rows[()].is_reference and mix.rows["tuned",].average.gain.mean == pytest.approx(0.41)


def test_mix_against_single_task_networks(store):
    (found,) = together(table_of(store))
    gains = {name: cell.gain.mean for name, cell in found.cells.items()}
    assert gains == pytest.approx({name: gain + 0.01 for name, gain in APART.items()} | {"average": 0.51})
    reference = {name: INPUTS[name] + 5.0 + APART[name] + 0.01 for name in SETS}
    changes = [(INPUTS[name] + 5.0 - reference[name]) / reference[name] for name in SETS]
    assert found.delta == pytest.approx(100 * sum(changes) / len(changes))


def test_networks_of_one_task_each_keep_the_order_of_the_sets_and_say_their_steps(store):
    assert table_of(store).cohort.tested == list(SETS)
    said = " ".join(build("three_task", store, formats=["md"]).text.split())
    steps = ", ".join(f"{task} {STEPS[task]}" for task in sorted(TASKS))
    assert f"single: one network for each task, steps: {steps}" in said


def test_every_format_says_so(store):
    report = build("three_task", store, formats=["md", "html", "csv"])
    folder = store / "reports/three_task"
    page, markdown = ((folder / name).read_text("utf-8") for name in ("report.html", "gains.md"))
    for text in (report.text, page, markdown):
        for words in ("On which terms does it gain?", "trained together?", "equal cost", "tuned"):
            assert words in text
    told = "TransWeather, strategies with the verdict gain: at defaults art; equal cost none; tuned none."
    assert told in page and told in markdown
    assert "art:tau=3, learning rate 0.0005, best of 12 trials" in report.text
    assert "art (tuned)" in (folder / "gains.csv").read_text("utf-8")
    assert "-1.00 ± 0.01, loss" not in report.text and "+0.99 ± 0.01, gain" in report.text  # s15 gains by mix


def test_without_other_terms_there_is_no_race(tmp_path):
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=5.0)
    assert race(table_of(tmp_path)) == together(table_of(tmp_path)) == []
    assert "  terms  " not in build("three_task", tmp_path, formats=["md"]).text


def test_a_row_that_repeats_trainings_is_no_further_comparison(tmp_path):
    """At a cost of 1, equal cost means equal steps: the same runs once more are no second piece of evidence."""
    for seed in range(3):
        jitter = 0.01 * seed
        write_run(tmp_path, strategy="mix", seed=seed, psnr=5.0)
        write_run(tmp_path, strategy="art", seed=seed, psnr=5.2 + jitter)
        write_run(tmp_path, strategy="uw", seed=seed, psnr=5.1 - jitter)
    alone = {row.strategy: row.average for row in table_of(tmp_path).rows}
    for seed in range(3):
        same = {"terms": {"budget": "cost", "ratio": 1.0}}
        write_run(tmp_path, strategy="art", seed=seed, psnr=5.2 + 0.01 * seed, config=same)
    table = table_of(tmp_path)
    rows = {row.strategy: row for row in table.rows}
    assert rows["art (equal cost)"].repeats == "art" and table.comparisons == 2
    assert {name: row.average.p_holm for name, row in rows.items() if name in alone} == pytest.approx(
        {name: cell.p_holm for name, cell in alone.items()}, nan_ok=True
    )
    assert rows["art (equal cost)"].average.p_holm == rows["art"].average.p_holm
    assert rows["art (equal cost)"].average.verdict == rows["art"].average.verdict == "gain"
