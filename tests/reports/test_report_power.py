"""How many seeds it takes to see a gain: against known values, simulation and scipy's noncentral t where it has one."""

import math

import numpy as np
import pytest
from scipy.stats import nct, ttest_1samp
from scipy.stats import t as student
from synthetic_store import INPUTS, SETS, write_run

from benchmarks.config.configuration import Config
from benchmarks.run import main
from reports.build import build
from reports.numbers.power import MOST, pooled_deviation, power, seeds_needed
from reports.numbers.statistics import PairedGain
from results import find_runs


def test_seeds_needed_are_those_of_the_textbook():
    """Of G*Power 3.1 and statsmodels' TTestPower: paired t-test, two-sided 5 %, power 80 %, by the effect size."""
    known = {0.2: 199, 0.5: 34, 0.8: 15, 1.0: 10, 2.0: 5}
    assert {effect: seeds_needed(1.0, effect) for effect in known} == known
    assert seeds_needed(0.0, 0.1) == seeds_needed(1e-6, 0.5, 9) == 2
    assert seeds_needed(math.nan, 0.1) is None and seeds_needed(10.0, 0.1) is None
    assert seeds_needed(0.3, 0.1, 6) > seeds_needed(0.3, 0.1) and MOST >= 1000


@pytest.mark.parametrize("comparisons", [1, 4])
@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 3), (1.0, 5), (2.0, 3), (0.3, 40)])
def test_power_is_that_of_the_noncentral_t_and_of_simulated_seeds(effect, seeds, comparisons):
    level = 0.05 / comparisons
    limit = student.isf(level / 2, seeds - 1)
    shift = effect * math.sqrt(seeds)
    known = nct.sf(limit, seeds - 1, shift) + nct.cdf(-limit, seeds - 1, shift)
    assert power(effect, seeds, comparisons) == pytest.approx(known, abs=2e-4)
    gains = effect + np.random.default_rng(0).standard_normal((4000, seeds))
    share = (ttest_1samp(gains, 0, axis=1).pvalue < level).mean()
    assert power(effect, seeds, comparisons) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


def test_scatter_is_pooled_by_its_degrees_of_freedom():
    gains = [PairedGain(0.1, 0.3, 3), PairedGain(0.2, 0.6, 5), PairedGain(0.2, math.nan, 1)]
    assert pooled_deviation(gains) == pytest.approx(math.sqrt((2 * 0.09 + 4 * 0.36) / 6))
    assert math.isnan(pooled_deviation(gains[2:]))


def store(output, seeds):
    for seed in range(seeds):
        for strategy, gain in (("mix", 3.0), ("art", 3.1 + 0.2 * seed), ("pcgrad", 3.1 - 0.2 * seed)):
            write_run(output, strategy=strategy, seed=seed, psnr={name: INPUTS[name] + gain for name in SETS})


def test_the_report_says_the_seeds_needed_where_two_are_paired(tmp_path, monkeypatch):
    monkeypatch.setattr("reports.formats.files._figures", lambda *arguments: [])
    store(tmp_path, 1)
    assert "Seeds needed" not in build("three_task", tmp_path).text
    store(tmp_path, 3)
    report = build("three_task", tmp_path)
    alone, together = ([seeds_needed(0.2, gain, count) for gain in (0.1, 0.2, 0.5)] for count in (1, 2))
    counts = " / ".join(f"{one} ({two})" for one, two in zip(alone, together, strict=True))
    files = {path.name: path.read_text() for path in report.files}
    for text in (report.text, files["report.html"], files["gains.md"]):
        text = " ".join(text.replace("&#39;", "'").split())
        assert f"TransWeather {counts}, as a seed's gain scatters by 0.20 dB" in text
    head, *rows = files["gains.csv"].splitlines()
    place = head.split(",").index("seeds_for_0.1_db")
    assert {row.split(",")[place].partition(".")[0] for row in rows} == {"", str(alone[0])}


def test_a_dry_run_says_them_of_earlier_runs(tmp_path, capsys, monkeypatch):
    """Of the runs that one table holds with the planned ones, whatever their strategies."""
    arguments = ["--setting", "three_task", "--output", str(tmp_path), "--dry-run", "--baselines", "transweather"]
    assert main(arguments) == 0 and "Seeds needed" not in capsys.readouterr().out
    store(tmp_path, 3)
    assert main(arguments) == 0 and "Seeds needed" not in capsys.readouterr().out  # runs of another cohort
    cohort = find_runs(tmp_path, "three_task")[0].record.cohort
    identity = Config.identity
    monkeypatch.setattr(Config, "identity", lambda self, setting: identity(self, setting) | {"cohort": cohort})
    assert main(arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"TransWeather {seeds_needed(0.2, 0.1)} ({seeds_needed(0.2, 0.1, 2)}) / " in printed
