"""The published table with measured rows beside it."""

import pytest
from synthetic_store import SETS, records, write_run

from reports.published import claims, compare, main, report

PAPER = {"size": "paper", "profile": "paper", "data.source": "files"}
PROMPTIR = dict(zip(SETS, [33.98, 31.31, 28.06, 36.37, 30.58], strict=True))


def measured(output, change=0.0, strategy="mix", **options):
    psnr = {name: value + change for name, value in PROMPTIR.items()}
    options = {"config": PAPER, "data": records("real")} | options
    write_run(output, "promptir", strategy, 0, psnr, **options)


def comparison(output, strategy="mix", **options):
    return next(
        c for c in compare("three_task", output, **options) if (c.baseline, c.strategy) == ("PromptIR", strategy)
    )


@pytest.mark.parametrize(
    ("change", "tolerance", "word"),
    [(0.15, 0.2, "reproduced"), (-0.15, 0.2, "reproduced"), (0.25, 0.2, "not reproduced"), (0.25, 0.3, "reproduced")],
)
def test_reproduced_within_the_tolerance(tmp_path, change, tolerance, word):
    measured(tmp_path, change)
    result = comparison(tmp_path, tolerance=tolerance)
    assert result.verdict == word
    assert result.differences["Rain100L", "psnr"] == pytest.approx(change)
    assert result.differences["average", "psnr"] == pytest.approx(change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config": PAPER | {"size": "tiny"}}, "tiny networks"),
        ({"config": PAPER | {"data.source": "embedded"}}, "embedded data"),
        ({"config": PAPER | {"evaluate.protocol": "weather_rgb"}}, "protocol weather_rgb, published with airnet_rgb"),
        ({"overrides": ("train.steps=20",)}, "train.steps=20"),
    ],
)
def test_what_does_not_compare_gets_its_reason_and_no_difference(tmp_path, change, reason):
    measured(tmp_path, **change)
    result = comparison(tmp_path)
    assert result.verdict == "not comparable" and reason in result.told
    assert not result.differences and result.row is not None
    assert "difference" not in report("three_task", tmp_path).text.partition("PSNR, dB")[2]


def test_differences_of_both_signs_do_not_cancel(tmp_path):
    psnr = {name: value + (1 if place % 2 else -1) for place, (name, value) in enumerate(PROMPTIR.items())}
    write_run(tmp_path, "promptir", "mix", 0, psnr, config=PAPER, data=records("real"))
    assert comparison(tmp_path).verdict == "not reproduced"


def test_an_average_over_other_test_sets_is_told_apart(tmp_path):
    test = [{"role": "test", "task": "t", "dataset": "Photos", "found": 5, "expected": None, "origin": "embedded"}]
    write_run(tmp_path, "promptir", "mix", 0, 3.0, data=test)
    result = comparison(tmp_path)
    assert result.measured("average", "psnr") is None and "other test sets, 23.00 dB on average" in result.told
    assert "1 not comparable, 10 no run" in report("three_task", tmp_path).text


def test_only_complete_test_sets_are_compared(tmp_path):
    measured(tmp_path, 0.1, data=records("real", {"Rain100L": 2}))
    result = comparison(tmp_path)
    assert result.verdict == "reproduced" and "test set Rain100L (2 of 100)" in result.told
    assert ("Rain100L", "psnr") not in result.differences and ("average", "psnr") not in result.differences


def test_a_comparable_cohort_is_preferred_to_a_newer_one(tmp_path):
    measured(tmp_path, 0.1, age=100)
    measured(tmp_path, 5.0, config=PAPER | {"size": "tiny", "profile": "demo"})
    assert comparison(tmp_path).verdict == "reproduced"


def test_gains_published_and_measured(tmp_path):
    measured(tmp_path)
    measured(tmp_path, 0.5, strategy="art")
    rows = compare("three_task", tmp_path)
    art = next(c for c in claims("three_task", rows, tmp_path) if (c.baseline, c.strategy) == ("PromptIR", "art"))
    assert art.gain == pytest.approx(32.49 - 32.06) and art.measured == pytest.approx(0.5)
    assert (art.pairs, art.verdict) == (1, "reproduced")


def test_headlines_are_listed_and_never_judged(tmp_path):
    for strategy, psnr in (("mix", 3.0), ("art", 4.24)):
        write_run(tmp_path, "transweather", strategy, 0, psnr)
    found = [c for c in claims("three_task", [], tmp_path) if c.what == "headline average"]
    assert [(c.baseline, c.gain, c.pairs) for c in found] == [
        ("AirNet", 1.16, 0),
        ("TransWeather", 1.24, 1),
        ("TransWeather", 1.21, 1),
    ]
    assert found[0].verdict == "no run (setting of the average not stated)"
    assert found[1].measured == pytest.approx(1.24)
    assert found[1].verdict.startswith("not comparable (setting of the average not stated; embedded data")


def test_published_table_stands_without_any_run(tmp_path, capsys):
    assert main(["--setting", "all_weather", "--output", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Histoformer" in text and "32.08 / 0.939" in text and "mean of 3 test sets: published +1.22" in text
    assert max(map(len, text.splitlines())) <= 118
    assert (tmp_path / "reports/all_weather/published.csv").exists()


def test_rebuilding_gives_the_same_bytes(tmp_path):
    measured(tmp_path, 0.1)
    first = [path.read_bytes() for path in report("three_task", tmp_path).files]
    assert [path.read_bytes() for path in report("three_task", tmp_path).files] == first


def test_unknown_setting_gets_a_sentence_and_code_2(tmp_path, capsys):
    assert main(["--setting", "x", "--output", str(tmp_path)]) == 2
    assert "there are some for: three_task, five_task, all_weather" in capsys.readouterr().err
