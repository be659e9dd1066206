"""Runs that differ only by their seed get a verdict as rarely as promised."""

import pytest
from scipy.stats import binom

from reports.calibration import TERMS, image_rates, main, pooled_rates, term_rates, verdict_rates

TRIALS = 500


def bounds(rate: float) -> tuple[float, float]:
    """Shares between which all but one in ten thousand repetitions of TRIALS fall."""
    return binom.ppf(5e-5, TRIALS, rate) / TRIALS, binom.ppf(1 - 5e-5, TRIALS, rate) / TRIALS


@pytest.mark.parametrize("seeds", [3, 10])
def test_normal_seeds_are_called_a_difference_at_the_promised_rate(seeds):
    low, high = bounds(0.05)
    rates = verdict_rates("normal", seeds, TRIALS)
    assert low <= rates.single <= high
    assert rates.gain <= bounds(0.025)[1] and rates.loss <= bounds(0.025)[1]
    assert rates.family <= high < rates.uncorrected  # correcting for several strategies is what keeps the promise


def test_skewed_seeds_are_judged_carefully_and_one_sided_gains_are_not():
    assert verdict_rates("skewed", 5, TRIALS).family <= bounds(0.05)[1]
    assert verdict_rates("one-sided", 3, TRIALS).single > bounds(0.05)[1]  # known, told by the command


def test_the_image_level_view_overstates():
    rates = image_rates(200)
    assert min(rates.interval, rates.wilcoxon) > 0.3


def test_a_useless_strategy_gains_in_no_row_with_terms_and_a_useful_one_in_each():
    """Whole tables: x, x (tuned), x (equal cost), of which the second is measured against mix tuned alike."""
    tables = 40
    useless = term_rates(5, tables)
    assert useless["any"] <= binom.ppf(1 - 5e-5, tables, 0.05) / tables
    assert useless["any"] >= max(useless[label] for label in TERMS)
    useful = term_rates(5, 12, gain=9.0)
    assert min(useful[label] for label in TERMS) > 0.9


@pytest.mark.parametrize("baselines", [2, 3, 4])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_verdicts_over_baselines_are_false_as_rarely_as_promised(seeds, baselines):
    trials = 200
    limit = binom.ppf(1 - 5e-5, trials, 0.05) / trials
    rates = pooled_rates([seeds] * baselines, trials, strategies=3)
    assert rates.family <= limit and rates.covered >= 1 - limit


def test_verdicts_over_baselines_find_more_than_each_of_them():
    for seeds in ([3, 3, 3], [2, 3, 4, 5]):
        rates = pooled_rates(seeds, 200, gain=2.0, strategies=3)
        assert rates.found > 3 * rates.single and rates.found > 0.5
        assert rates.family <= bounds(0.05)[1] and rates.covered > 0.88


def test_the_command_prints_a_table(capsys):
    assert main(["--trials", "4"]) == 0
    text = capsys.readouterr().out
    assert text.count("\nnormal ") == 3 + 3 + 6 and max(map(len, text.splitlines())) <= 118
