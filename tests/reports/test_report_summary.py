"""The measures of the multi-task field, on cases worked by hand."""

import math

import pandas as pd
import pytest

from reports.numbers.summary import delta_m, mean_rank, pace_spread, weight_sum, won_and_lost

MIX = {"noise": 20.0, "rain": 30.0, "haze": 25.0}
ART = {"noise": 21.0, "rain": 29.7, "haze": 25.004}


def test_delta_m():
    assert delta_m(ART, MIX) == pytest.approx(100 * (1 / 20 - 0.3 / 30 + 0.004 / 25) / 3)


def test_won_and_lost_leave_out_what_is_even():
    assert won_and_lost(ART, MIX) == (1, 1)


def test_mean_rank_shares_ties():
    ranks = mean_rank({"mix": MIX, "art": ART, "equal": {"noise": 21.0, "rain": 31.0, "haze": 20.0}})
    assert ranks == pytest.approx({"mix": (3 + 2 + 2) / 3, "art": (1.5 + 3 + 1) / 3, "equal": (1.5 + 1 + 3) / 3})


@pytest.mark.parametrize("measure", [delta_m, won_and_lost])
def test_different_test_sets_are_refused(measure):
    with pytest.raises(ValueError, match="not the same test sets"):
        measure(ART, {"noise": 20.0})


def rhythm(paces: dict[str, float], steps: int = 100) -> pd.DataFrame:
    return pd.DataFrame(
        [(step, task, pace) for step in range(1, steps + 1) for task, pace in paces.items()],
        columns=["step", "task", "pace"],
    )


def test_pace_spread_is_zero_at_one_pace_and_the_deviation_otherwise():
    assert pace_spread(rhythm({"a": 0.9, "b": 0.9})) == 0
    assert pace_spread(rhythm({"a": 0.8, "b": 1.0, "c": 1.2})) == pytest.approx(0.2)


def test_pace_spread_ignores_the_beginning_and_batch_noise():
    table = rhythm({"a": 1.0, "b": 1.0}, steps=400)
    table.loc[table["step"] <= 200, "pace"] *= 5
    table.loc[(table["step"] > 200) & (table["step"] % 2 == 0), "pace"] += 0.4  # the same for every task on average
    assert pace_spread(table) == pytest.approx(0, abs=1e-12)


def test_pace_spread_with_absent_tasks_and_too_few():
    table = rhythm({"a": 0.8, "b": 1.0})
    table.loc[(table["task"] == "a") & (table["step"] % 3 == 0), "pace"] = math.nan
    assert pace_spread(table) == pytest.approx(math.sqrt(0.02))
    assert math.isnan(pace_spread(rhythm({"a": 1.0})))
    assert math.isnan(pace_spread(pd.DataFrame(columns=["step", "task", "pace"])))


def test_weight_sum_is_over_tasks_and_averaged_over_steps():
    table = pd.DataFrame({"step": [1, 1, 2, 2, 3], "task": list("ababa"), "weight": [1, 2, 3, 4, math.nan]})
    assert weight_sum(table) == 5 and math.isnan(weight_sum(table.tail(1))) and math.isnan(weight_sum(table.head(0)))
