"""The statistics, each against scipy or a case worked by hand."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from reports.numbers.statistics import holm, image_gain, image_gains, needed, paired_gain, spread, verdict


def test_spread_is_the_sample_standard_deviation():
    result = spread([1.0, 2.0, 4.0])
    assert result.mean == pytest.approx(7 / 3)
    assert result.std == pytest.approx(math.sqrt((16 / 9 + 1 / 9 + 25 / 9) / 2))
    assert result.n == 3


def test_spread_of_one_value_has_no_deviation():
    assert math.isnan(spread([3.0]).std)
    assert math.isnan(spread([]).mean)


def test_spread_refuses_missing_values():
    with pytest.raises(ValueError, match="missing value"):
        spread([1.0, math.nan])


def test_paired_gain_is_scipys_paired_t_test():
    generator = np.random.default_rng(3)
    mix, art = generator.normal(25, 1, 7), generator.normal(25.4, 1, 7)
    ours = paired_gain(dict(enumerate(art)), dict(enumerate(mix)))
    theirs = stats.ttest_rel(art, mix)
    interval = theirs.confidence_interval(0.95)
    assert (ours.mean, ours.n) == (pytest.approx((art - mix).mean()), 7)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_only_common_pairs_count():
    gain = paired_gain({"a": 2.0, "b": 5.0, "c": 9.0}, {"a": 1.0, "c": 7.0, "d": 100.0})
    assert (gain.mean, gain.n) == (1.5, 2)


def test_one_pair_has_neither_interval_nor_p():
    gain = paired_gain({"a": 2.0}, {"a": 1.0})
    assert gain.mean == 1.0
    assert all(math.isnan(value) for value in (gain.std, gain.low, gain.high, gain.p))


def test_identical_differences_do_not_divide_by_zero():
    assert paired_gain({"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 2.0}).p == 0
    assert paired_gain({"a": 2.0, "b": 3.0}, {"a": 2.0, "b": 3.0}).p == 1


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04, then never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_holm_does_not_count_what_was_not_tested():
    corrected = holm([0.02, math.nan, 0.5])
    assert corrected[0] == pytest.approx(0.04)
    assert math.isnan(corrected[1])


@pytest.mark.parametrize(("seeds", "comparisons"), [(3, 1), (3, 19), (5, 4)])
def test_a_gain_gets_its_verdict_from_the_needed_size_on(seeds, comparisons):
    scatter = np.arange(seeds) / np.arange(seeds).std(ddof=1)
    for factor, word in ((0.99, "no difference seen"), (1.01, "gain")):
        values = scatter - scatter.mean() + factor * needed(seeds, comparisons)
        gain = paired_gain({str(i): value for i, value in enumerate(values)}, dict.fromkeys(map(str, range(seeds)), 0))
        assert verdict(gain, holm([gain.p, *[1.0] * (comparisons - 1)])[0]) == word


def test_image_interval_agrees_with_scipys_bootstrap():
    differences = np.random.default_rng(0).normal(0.3, 1.0, 100)
    ours = image_gain(differences)
    theirs = stats.bootstrap((differences,), np.mean, n_resamples=20000, method="percentile", random_state=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.03)
    assert ours.p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert image_gain(differences) == ours


def test_test_sets_judged_together_are_judged_as_alone():
    generator = np.random.default_rng(1)
    several = [generator.normal(0.1, 1, size) for size in (40, 60, 40, 1, 0)]
    several[0][3] = math.nan
    for ours, alone in zip(image_gains(several), map(image_gain, several), strict=True):
        assert astuple(ours) == pytest.approx(astuple(alone), nan_ok=True)


def test_image_gain_leaves_out_what_is_not_finite():
    assert image_gain([1.0, math.inf, 3.0, math.nan]).n == 2
    assert image_gain([0.0, 0.0, 0.0]).p == 1
    assert math.isnan(image_gain([0.4]).low)
    assert image_gain([]).n == 0


@pytest.mark.parametrize(
    ("strategy", "mix", "p", "word"),
    [
        ([2.0, 2.1, 2.05], [1.0, 1.1, 1.0], None, "gain"),
        ([1.0, 1.1, 1.0], [2.0, 2.1, 2.05], None, "loss"),
        ([2.0, 2.1, 2.05], [1.0, 1.1, 1.0], 0.2, "no difference seen"),
        ([1.0, 3.0, 2.0], [2.0, 1.0, 2.1], None, "no difference seen"),
        ([2.0], [1.0], None, "one seed: no verdict"),
        ([], [1.0], None, "no pair: no verdict"),
    ],
)
def test_verdicts(strategy, mix, p, word):
    assert verdict(paired_gain(dict(enumerate(strategy)), dict(enumerate(mix))), p) == word
