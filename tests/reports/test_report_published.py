"""The published table with measured rows beside it."""

import sys

import pytest
from synthetic_store import SETS, records, write_run

from reports.numbers.comparability import figures
from reports.numbers.reproduction import claims, compare
from reports.published import TOLERANCE, main, report
from results import find_runs, published

PAPER = {"size": "paper", "profile": "paper", "data.source": "files"}
PROMPTIR = dict(zip(SETS, [33.98, 31.31, 28.06, 36.37, 30.58], strict=True))


def measured(output, change=0.0, strategy="mix", **options):
    psnr = {name: value + change for name, value in PROMPTIR.items()}
    options = {"config": PAPER, "data": records("real")} | options
    write_run(output, "promptir", strategy, 0, psnr, **options)


def comparison(output, strategy="mix", tolerance=TOLERANCE):
    return next(
        c
        for c in compare("three_task", find_runs(output, "three_task"), tolerance)
        if (c.baseline, c.strategy) == ("PromptIR", strategy)
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
    assert result.verdict == "not comparable" and reason in result.judgement
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
    assert result.measured("average", "psnr") is None and "other test sets, 23.00 dB on average" in result.judgement
    assert "1 not comparable, 20 no run" in " ".join(report("three_task", tmp_path).text.split())


def test_only_complete_test_sets_are_compared(tmp_path):
    measured(tmp_path, 0.1, data=records("real", {"Rain100L": 2}))
    result = comparison(tmp_path)
    assert result.verdict == "reproduced" and "test set Rain100L (2 of 100)" in result.judgement
    assert ("Rain100L", "psnr") not in result.differences and ("average", "psnr") not in result.differences


def test_a_comparable_cohort_is_preferred_to_a_newer_one(tmp_path):
    measured(tmp_path, 0.1, age=100)
    measured(tmp_path, 5.0, config=PAPER | {"size": "tiny", "profile": "demo"})
    assert comparison(tmp_path).verdict == "reproduced"


def test_gains_published_and_measured(tmp_path):
    measured(tmp_path)
    measured(tmp_path, 0.5, strategy="art")
    rows = compare("three_task", find_runs(tmp_path, "three_task"), TOLERANCE)
    art = next(
        c
        for c in claims(rows, find_runs(tmp_path, "three_task"), TOLERANCE)
        if (c.baseline, c.strategy) == ("PromptIR", "art")
    )
    assert art.gain == pytest.approx(32.49 - 32.06) and art.measured == pytest.approx(0.5)
    assert (art.pairs, art.verdict) == (1, "reproduced")


def test_headlines_are_listed_and_never_judged(tmp_path):
    for strategy, psnr in (("mix", 3.0), ("art", 4.24)):
        write_run(tmp_path, "transweather", strategy, 0, psnr)
    found = [c for c in claims([], find_runs(tmp_path, "three_task"), TOLERANCE) if c.what == "headline average"]
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


def test_second_printings_stand_beside_the_first_and_are_told():
    table = published()
    settings = set(table["setting"]) - {"headline"}
    found = {key: row for setting in settings for key, row in figures(setting).items()}
    every = [figure for setting in settings for row in figures(setting).values() for figure in row.values()]
    several = [figure for figure in every if figure.others]
    assert len(every) + len(several) == sum(table["setting"] != "headline") and len(several) == 12
    for figure in several:  # what most sources print counts
        assert all(figure.source.count(";") >= other.source.count(";") for other in figure.others)
    restormer = figures("three_task")["restormer", "mix"]["average", "psnr"]
    assert (restormer.value, [other.value for other in restormer.others]) == (30.75, [31.98])
    assert found["swinir", "sequential"]["MiO-rain", "psnr"].value == 36.69


@pytest.mark.parametrize(
    ("setting", "line", "row"),
    [
        ("three_task", "average PSNR 31.98 instead of 30.75 (+1.23 dB), PSNR of single test sets +0.12 to +2.77 dB",
         "also printed 30.43 / – 36.55 / – 33.84 / – 31.18 / – 27.90 / – 31.98 / –"),
        ("five_task", "average PSNR 28.11 instead of 29.15 (-1.04 dB), PSNR of single test sets -1.74 to -0.30 dB",
         "also printed 25.20 / – 35.94 / – 31.17 / – 27.32 / – 20.94 / – 28.11 / –"),
    ],
)  # fmt: skip
def test_the_spread_between_printings_is_reported(tmp_path, setting, line, row):
    made = report(setting, tmp_path)
    text = " ".join(made.text.split())
    assert line in text and row in text and line in made.files[0].read_text()
    csv = made.files[1].read_text()
    assert "31.98 (TxpHome/DFPIR fig/3D.jpg)" in csv or "28.11 (MILab-PKU/DCPT assets/5d.png)" in csv


def test_a_printed_average_is_the_mean_of_its_columns_or_says_so():
    table = published().query("setting != 'headline'")
    known, told = {setting: figures(setting) for setting in set(table["setting"])}, []
    for average in table[table["dataset"] == "average"].itertuples():
        row = known[average.setting][average.baseline.casefold(), average.strategy]
        if sets := row["average", average.metric].sets:
            columns = [row[name, average.metric].value for name in sets]
        else:
            own = ("setting", "baseline", "strategy", "metric", "source")
            same = (table[list(own)] == [getattr(average, name) for name in own]).all(axis=1)
            columns = list(table.loc[same & (table["dataset"] != "average"), "value"])
        if columns:
            digits = max({"psnr": 2, "ssim": 3}[average.metric], len(f"{average.value:g}".partition(".")[2]))
            mean = sum(columns) / len(columns)
            if abs(round(mean, digits) - average.value) > 1e-9:
                assert f"{mean:.{digits}f}" in average.note, average
                told.append((average.setting, average.baseline, average.metric))
    assert len(told) == 9 and {("three_task", "NAFNet", "ssim"), ("five_task", "NAFNet", "psnr")} <= set(told)


def test_an_average_of_some_test_sets_is_not_compared_with_one_of_all(tmp_path):
    values = {"Snow100K-S": 32.51, "Snow100K-L": 29.31, "Outdoor-Rain": 28.83, "RainDrop-A": 30.17}
    data = [
        {"role": "test", "task": "t", "dataset": name, "found": 5, "expected": 5, "origin": "real"} for name in values
    ]
    config = PAPER | {"evaluate.protocol": "weather_y"}
    write_run(tmp_path, "transweather", "mix", 0, values, data=data, config=config, setting="all_weather")
    result = next(
        c
        for c in compare("all_weather", find_runs(tmp_path, "all_weather"), TOLERANCE)
        if c.name == "TransWeather, mix"
    )
    assert result.verdict == "reproduced" and "the published average is of Outdoor-Rain, RainDrop-A" in result.judgement
    assert result.measured("average", "psnr") is None and ("average", "psnr") not in result.differences


def test_a_row_of_an_average_alone_is_compared_by_it(tmp_path, monkeypatch):
    head = "setting,baseline,strategy,dataset,metric,value,protocol,source,confidence,note\n"
    row = "three_task,PromptIR,mix,average,psnr,31.7,{},somebody,high,\n"
    for protocol, verdict in (("airnet_rgb", "not reproduced"), ("not stated", "not comparable"),
                              ("airnet_rgb assumed", "not comparable")):  # fmt: skip
        folder = tmp_path / protocol
        folder.mkdir()
        (folder / "published.csv").write_text(head + row.format(protocol))
        monkeypatch.setattr(sys.modules["results.published"], "FOLDER", folder)
        measured(folder)
        (result,) = compare("three_task", find_runs(folder, "three_task"), TOLERANCE)
        assert result.verdict == verdict
        assert ("the published protocol is not stated" in result.judgement) == (verdict == "not comparable")
