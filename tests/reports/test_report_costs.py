"""What a strategy takes and does beside mix: cost of steps and memory, weights, clipped steps, starved tasks."""

import math

import pandas as pd
import pytest
from synthetic_store import write_run

from reports.build import build
from reports.numbers.cohorts import gather
from reports.numbers.summary import fair_shares, largest_share, shares
from reports.numbers.tables import gain_table
from results import find_runs

EQUAL_COST = {"terms": {"steps": 600, "budget": "cost", "ratio": 1.25}}


def rhythm(weights: dict[str, list[float]], absent: tuple[tuple[str, int], ...] = ()) -> pd.DataFrame:
    """Weights by task and step; of the tasks that are absent from a step there is no loss."""
    rows = [
        (step, task, math.nan if (task, step) in absent else 0.1, 0.1, 1.0, weight)
        for task, several in weights.items()
        for step, weight in enumerate(several, 1)
    ]
    return pd.DataFrame(rows, columns=["step", "task", "loss", "running", "pace", "weight"]).sort_values("step")


def test_shares_are_of_the_tasks_in_a_step():
    table = shares(rhythm({"a": [1.0, 4.0, 0.0], "b": [3.0, 0.0, 0.0], "c": [0.0, 4.0, 0.0]}, absent=(("b", 2),)))
    assert table["step"].tolist() == [1, 1, 1, 2, 2]  # the weights of the third sum to nothing
    assert largest_share(table) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert fair_shares(table) == pytest.approx({"a": (3 / 4 + 1) / 2, "b": 3 * 3 / 4, "c": (0 + 1) / 2})
    nothing = shares(rhythm({"a": [math.nan], "b": [math.nan]}))
    assert nothing.empty and math.isnan(largest_share(nothing)) and fair_shares(nothing) == {}


@pytest.fixture
def store(tmp_path):
    """Two tasks; Art leaves the second without weight, and its steps cost 1.2, 1.3 and 9 times mix's."""
    for seed, cost in enumerate((1.2, 1.3, 9.0)):
        for strategy, factor, config, weight in (
            ("mix", 1.0, {}, 0.5), ("art", cost, {}, 0.99), ("art", cost, EQUAL_COST, 0.9),
            ("pcgrad", 2.0, {}, math.nan),
        ):  # fmt: skip
            taken = {"step_seconds": 0.1 * factor, "peak_memory_mib": round(1000 * factor), "clipped_share": 0.25}
            taken |= {} if strategy == "pcgrad" else {"peak_memory_of": "training"}
            weights = rhythm({"derain": [weight] * 3, "dehaze": [1 - weight] * 3})
            write_run(tmp_path, strategy=strategy, seed=seed, psnr=3.0 + seed, config=config, rhythm=weights,
                      environment=taken)  # fmt: skip
    return tmp_path


def test_costs_are_over_mix_and_only_of_what_compares(store):
    (cohort,) = gather(find_runs(store, "three_task"))
    rows = {row.strategy: row.measures for row in gain_table(cohort).rows}
    art, equal, pcgrad = rows["art"], rows["art (equal cost)"], rows["pcgrad"]
    assert (art.step_cost, art.memory_cost) == pytest.approx((1.3, 1.3)) and math.isnan(art.planned_cost)
    assert (equal.step_cost, equal.planned_cost) == pytest.approx((1.3, 1.25))
    assert (art.largest_share, art.weight_sum, art.clipped) == pytest.approx((0.99, 1.0, 0.25))
    assert pcgrad.step_cost == pytest.approx(2) and math.isnan(pcgrad.memory_cost)  # a peak of the whole process
    assert math.isnan(pcgrad.largest_share) and math.isnan(rows["mix"].step_cost)
    for run in find_runs(store, "three_task", {"strategy": ["art"]}):
        run.write_environment(run.environment.model_copy(update={"device": "another"}))
    (cohort,) = gather(find_runs(store, "three_task"))
    assert all(math.isnan(row.measures.step_cost) for row in gain_table(cohort).rows if row.strategy != "pcgrad")


def test_the_report_shows_the_costs_and_warns_of_starved_tasks(store, monkeypatch):
    monkeypatch.setattr("reports.formats.files._figures", lambda *arguments: [])
    report = build("three_task", store)
    files = {path.name: path.read_text() for path in report.files}
    lines = {line.split()[0]: line for line in report.text.partition("Cost and weights")[2].splitlines() if line}
    assert lines["art"].split() == ["art", "(equal", "cost)", "3", "1.30", "(1.25)", "1.30", "1.00", "0.90", "25", "%"]
    assert max(map(len, list(lines.values())[:6])) <= 80
    for text in (report.text, files["gains.md"], files["gains.tex"], files["report.html"]):
        text = " ".join(text.split())
        assert "clipped: share of the steps" in text and "1.30 (1.25)" in text
        assert "TransWeather, art: dehaze 2.0" in text and "pcgrad: de" not in text and "equal cost): de" not in text
    for name in ("step_cost", "planned_cost", "memory_cost", "weight_sum", "largest_share", "clipped"):
        assert name in files["gains.csv"].splitlines()[0].split(",")
