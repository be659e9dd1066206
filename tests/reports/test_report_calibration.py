"""Runs that differ only by their seed get a verdict as rarely as promised."""

import pytest
from scipy.stats import binom

from reports.calibration import image_rates, main, verdict_rates

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


def test_the_command_prints_a_table(capsys):
    assert main(["--trials", "4"]) == 0
    text = capsys.readouterr().out
    assert text.count("\nnormal ") == 3 and max(map(len, text.splitlines())) <= 118
