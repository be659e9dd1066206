"""One verdict on a strategy over several baselines."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import combine_pvalues, ttest_1samp
from synthetic_store import INPUTS, SETS, write_run

from reports.build import build, main
from reports.numbers.pooled import over_baselines
from reports.numbers.statistics import paired_gain


def gains_of(*several):
    return [paired_gain(dict(enumerate(gains)), dict.fromkeys(range(len(gains)), 0.0)) for gains in several]


def test_the_p_value_is_scipys_stouffer():
    samples = [[0.2, 0.3, 0.5], [-0.1, 0.4], [0.1, 0.0, 0.3, 0.2]]
    found = over_baselines(gains_of(*samples))
    above = [ttest_1samp(sample, 0, alternative="greater").pvalue for sample in samples]
    one_sided = combine_pvalues(above, "stouffer", [math.sqrt(len(sample) - 1) for sample in samples]).pvalue
    assert found.p == pytest.approx(2 * min(one_sided, 1 - one_sided))
    assert found.mean == pytest.approx(np.mean([np.mean(sample) for sample in samples])) and found.n == 9
    turned = over_baselines(gains_of(*[[-value for value in sample] for sample in samples]))
    assert turned.p == pytest.approx(found.p) and turned.low == pytest.approx(-found.high)


def test_of_equal_baselines_the_interval_is_students():
    one = [0.1, 0.2, 0.6]
    found, alone = over_baselines(gains_of(one, one)), gains_of(one)[0]
    whole = ttest_1samp(one, 0).confidence_interval()
    assert (alone.low, alone.high) == pytest.approx(whole)
    from scipy.stats import t

    half = t.ppf(0.975, 4) * alone.std / math.sqrt(6)
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half))


def test_gains_that_are_all_equal_break_nothing():
    same = over_baselines(gains_of([0.5, 0.5], [0.5, 0.5]))
    assert same.p == pytest.approx(0) and same.low == same.high == 0.5
    assert over_baselines(gains_of([0.5, 0.5], [-0.5, -0.5])).p == 1
    assert over_baselines(gains_of([0.0, 0.0], [0.0, 0.0])).p == 1


@pytest.fixture
def store(tmp_path):
    """Art gains a little on three baselines, more with equal cost on two; pcgrad has seeds on one only."""
    chance = np.random.default_rng(0)
    equal = {"terms": {"steps": 600, "budget": "cost", "ratio": 1.2}}
    for baseline in ("transweather", "airnet", "promptir"):
        for seed in range(3):
            shift = 0.2 * chance.standard_normal()
            rows = [("mix", 0.0, {}), ("art", 0.3, {})]
            rows += [("art", 0.5, equal)] if baseline != "airnet" else []
            rows += [("pcgrad", 0.3, {})] if baseline == "airnet" or seed == 0 else []
            for strategy, gain, config in rows:
                level = 3 + shift + gain + 0.05 * chance.standard_normal()
                scores = {name: INPUTS[name] + level for name in SETS}
                write_run(tmp_path, baseline, strategy, seed, scores, config=config)
    return tmp_path


def test_the_report_pools_where_it_is_asked(store, monkeypatch):
    monkeypatch.setattr("reports.formats.files._figures", lambda *arguments: [])
    plain = build("three_task", store)
    assert "ver baselines" not in plain.text and "pooled.csv" not in {path.name for path in plain.files}
    report = build("three_task", store, pool=True)
    files = {path.name: path.read_text() for path in report.files}
    table = pd.read_csv(store / "reports/three_task/pooled.csv").set_index("strategy")
    assert table.index.tolist() == ["art", "art (equal cost)"]  # pcgrad has two seeds on one baseline only
    assert table.loc["art", "baselines"] == "AirNet; PromptIR; TransWeather" and table["seeds"].tolist() == [9, 6]
    assert table.loc["art", "verdict"] == "gain" and table.loc["art", "gain"] == pytest.approx(0.3, abs=0.08)
    assert (table["p_holm"] >= table["p"]).all()
    for name in ("text", "gains.md", "gains.tex", "report.html"):
        text = report.text if name == "text" else files[name]
        assert "ver baselines" in text and "3 of 3" in text and "2 of 2" in text and "Stouffer" in text, name
    lines = report.text.partition("Over baselines")[2].splitlines()[:4]
    assert len("Over baselines" + lines[0]) <= 80 and max(map(len, lines)) <= 80
    build("three_task", store)
    assert not (store / "reports/three_task/pooled.csv").exists()  # would be of other runs


def test_nothing_to_pool_is_said(tmp_path, capsys):
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=3.0)
    assert main(["--setting", "three_task", "--output", str(tmp_path), "--pool", "--format", "md", "html"]) == 0
    sentence = "No verdict over baselines: no strategy has two paired seeds or more on two baselines or more."
    assert sentence in capsys.readouterr().out
    for name in ("gains.md", "report.html"):
        assert sentence in (tmp_path / "reports/three_task" / name).read_text()
