"""The gain table: numbers against hand computation, and what may not enter them."""

import math

import pandas as pd
import pytest
from synthetic_store import INPUTS, SETS, records, write_run

from reports.formats.latex import latex
from reports.formats.markdown import page
from reports.formats.sentences import sentences
from reports.formats.text import terminal
from reports.formats.tidy import tidy
from reports.numbers.cohorts import gather, strategy_order
from reports.numbers.findings import Findings
from reports.numbers.header import facts
from reports.numbers.model import AVERAGE
from reports.numbers.tables import gain_table
from results import find_runs


def table_of(output, **options):
    (cohort,) = gather(find_runs(output, "three_task"), **options)
    return gain_table(cohort)


def row_of(table, strategy, baseline="transweather"):
    return next(row for row in table.rows if (row.baseline, row.strategy) == (baseline, strategy))


def texts(table, code):
    return [note.text for note in table.notes if note.code == code]


def levels(*values):
    return dict(zip(SETS, values, strict=True))


MIX = (levels(28, 24, 18, 30, 20), levels(28.4, 24.2, 18, 30.2, 20.2))
ART = (levels(29, 24, 18, 29, 22), levels(29.6, 24.2, 18, 29.4, 21.8))


@pytest.fixture
def two_seeds(tmp_path):
    for seed in range(2):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=MIX[seed])
        write_run(tmp_path, strategy="art", seed=seed, psnr=ART[seed])
    return tmp_path


def test_means_spreads_and_gains_by_hand(two_seeds):
    table = table_of(two_seeds)
    mix, art = row_of(table, "mix"), row_of(table, "art")
    assert table.datasets == [*SETS, AVERAGE]
    assert mix.cells["CBSD68-s15", "psnr"].score.mean == pytest.approx(28.2)
    assert mix.cells["CBSD68-s15", "psnr"].score.std == pytest.approx(0.4 / math.sqrt(2))
    assert mix.cells[AVERAGE, "psnr"].score.mean == pytest.approx((24.0 + 24.2) / 2)
    assert mix.cells["CBSD68-s15", "psnr"].gain.n == 0
    gain = art.cells["CBSD68-s15", "psnr"].gain
    assert (gain.mean, gain.n) == (pytest.approx(1.1), 2)
    assert gain.std == pytest.approx(0.2 / math.sqrt(2))
    assert art.cells[AVERAGE, "psnr"].gain.mean == pytest.approx((0.4 + 0.4) / 2)
    assert art.cells["Rain100L", "ssim"].gain.mean == pytest.approx(-0.9 / 40)
    assert table.inputs["Rain100L", "psnr"] == pytest.approx(INPUTS["Rain100L"])
    assert table.inputs[AVERAGE, "psnr"] == pytest.approx(sum(INPUTS.values()) / 5)
    assert (art.measures.won, art.measures.lost) == (2, 1)
    assert art.measures.mean_rank == pytest.approx((1 + 1.5 + 1.5 + 2 + 1) / 5)


def test_mean_is_over_images_then_sets_never_pooled(tmp_path):
    run = write_run(tmp_path, psnr=levels(20, 20, 20, 20, 40))
    scores = run.scores()
    run.write_scores(scores[(scores["dataset"] != "SOTS-outdoor") | (scores["image"] == "0002")])  # one image, not five
    assert row_of(table_of(tmp_path), "mix").cells[AVERAGE, "psnr"].score.mean == pytest.approx(24)


def test_gains_are_paired_by_seed(tmp_path):
    for seed, psnr in ((0, 3.0), (1, 7.0)):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=psnr)
    for seed, psnr in ((1, 7.5), (2, 100.0)):
        write_run(tmp_path, strategy="art", seed=seed, psnr=psnr)
    art = row_of(table_of(tmp_path), "art")
    assert (art.n, art.pairs) == (2, 1)
    assert art.cells[AVERAGE, "psnr"].gain.mean == pytest.approx(0.5)
    assert art.cells[AVERAGE, "psnr"].verdict == "one seed: no verdict"


def test_verdicts_are_corrected_for_the_number_of_strategies(tmp_path):
    for seed in range(3):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=3.0)
        for place in range(4):
            write_run(tmp_path, strategy=f"s{place}", seed=seed, psnr=4.0 + 0.1 * seed * (1 + 2 * place))
    table = table_of(tmp_path)
    cells = [row_of(table, f"s{place}").cells[AVERAGE, "psnr"] for place in range(4)]
    raw = [cell.gain.p for cell in cells]
    assert raw == sorted(raw) and raw[1] < 0.05 < 3 * raw[1]
    assert cells[0].p_holm == pytest.approx(4 * raw[0]) and cells[1].p_holm == pytest.approx(3 * raw[1])
    assert [cell.verdict for cell in cells[:2]] == ["gain", "no difference seen"]
    assert texts(table, "too-few-seeds")[0].startswith("Not settled, add seeds: TransWeather, s1")


def test_one_seed_prints_no_plus_minus_and_its_n(tmp_path):
    write_run(tmp_path, strategy="mix", psnr=3.0)
    write_run(tmp_path, strategy="art", psnr=3.42)
    table = table_of(tmp_path)
    for text in (terminal(Findings(table)), page(Findings(table)), latex(Findings(table))):
        assert "±" not in text and r"$\pm$" not in text
    assert "(+0.42)" in page(Findings(table))
    assert "one seed: no verdict" in terminal(Findings(table))
    art = next(line for line in terminal(Findings(table)).splitlines() if line.startswith("  art"))
    assert art.split()[1] == "1"


def test_several_seeds_print_the_spread(two_seeds):
    table = table_of(two_seeds)
    assert "28.20 ±0.28" in terminal(Findings(table))
    assert "29.30 ±0.42 (+1.10)" in page(Findings(table))
    assert r"\textbf{29.30} & " in latex(Findings(table)) and r"{\scriptsize $\pm$0.42 ($+1.10$)}" in latex(
        Findings(table)
    )
    assert r"\underline{28.20}" in latex(Findings(table))


def test_terminal_text_fits_its_width(two_seeds):
    assert max(map(len, terminal(Findings(table_of(two_seeds))).splitlines())) <= 118


def test_many_strategies_are_ranked_and_stay_readable(tmp_path):
    long = "mypkg.optimizers:Mine:gamma=0.5:rate=0.01:more=1"
    for seed in range(2):
        for strategy, gain in {"mix": 0, "equal": -0.2, "art": 0.4, "uw": 0.1, "famo": 0.9, long: 0.2}.items():
            write_run(tmp_path, strategy=strategy, seed=seed, psnr=3.0 + gain * (1 + 0.1 * seed))
        write_run(tmp_path, strategy="cagrad", seed=seed, status=("failed", "no solver"))
    table = table_of(tmp_path)
    order = ["famo", "art", long, "uw", "mix", "equal", "cagrad"]
    assert [row.strategy for row in table.ranked] == order
    text = terminal(Findings(table))
    board = text[text.index("Best first") :]
    assert [line.split()[0] for line in board.splitlines()[3:11] if line[2:3].strip()] == order
    assert "+0.42 ±0.03" in board and "failed 2 of 2" in board and board.count("reference") == 1
    assert max(map(len, text.splitlines())) <= 118
    assert "cagrad, seeds 0, 1: failed: no solver." in text
    assert text.index("famo") < text.index("art ") and page(Findings(table)).index("famo") < page(
        Findings(table)
    ).index("uw")


def test_pictures_of_very_many_strategies_show_mix_art_and_the_best(tmp_path):
    for place in range(7):
        write_run(tmp_path, strategy=f"s{place}", psnr=4.0 + place)
    write_run(tmp_path, strategy="mix", psnr=3.0)
    assert table_of(tmp_path).drawn("transweather") == ["s6", "s5", "s4", "mix"]
    write_run(tmp_path, strategy="art", psnr=2.0)
    assert table_of(tmp_path).drawn("transweather") == ["s6", "s5", "mix", "art"]


def test_the_sentence_says_it_all(two_seeds):
    (sentence,) = sentences(Findings(table_of(two_seeds)))
    assert sentence == (
        "Art against mix, TransWeather, three_task, 2 seeds: +0.40 dB (n=2, +0.40 to +0.40) on average; "
        "better on 2 of 5 test sets. Verdict: gain."
    )


def test_cohorts_are_never_mixed(tmp_path):
    write_run(tmp_path, strategy="mix", psnr=3.0, age=100)
    write_run(tmp_path, strategy="art", psnr=4.0, age=100)
    write_run(tmp_path, strategy="art", psnr=9.0, config={"train.steps": 20}, overrides=("train.steps=20",))
    newest, older = map(gain_table, gather(find_runs(tmp_path, "three_task")))
    assert [row.strategy for row in newest.rows] == ["art"]
    assert newest.rows[0].pairs == 0  # mix of the other cohort is no reference
    assert texts(newest, "no-reference")
    assert row_of(older, "art").cells[AVERAGE, "psnr"].gain.mean == pytest.approx(1.0)
    assert "train.steps=20" in terminal(Findings(newest)) and "train.steps=20" not in terminal(Findings(older))


def test_collapsed_and_failed_runs_stay_out_and_are_named(tmp_path):
    for seed in range(2):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=3.0)
        write_run(tmp_path, strategy="art", seed=seed, psnr=4.0)
    collapsed = ("done", "collapsed: constant output on 5 of 5 test sets")
    write_run(tmp_path, strategy="mix", seed=2, psnr=-15.0, status=collapsed)
    write_run(tmp_path, strategy="art", seed=2, psnr=4.0)
    write_run(tmp_path, strategy="equal", status=("failed", "loss is NaN\nat step 212"))
    write_run(tmp_path, strategy="pcgrad", status=("running", ""))
    table = table_of(tmp_path)
    mix = row_of(table, "mix")
    assert (mix.n, mix.runs, mix.count) == (2, 3, "2 of 3")
    assert mix.cells[AVERAGE, "psnr"].score.mean == pytest.approx(sum(INPUTS.values()) / 5 + 3)
    assert row_of(table, "art").cells[AVERAGE, "psnr"].gain.n == 2
    for text in (terminal(Findings(table)), page(Findings(table))):
        assert "collapsed: constant output on 5 of 5 test sets" in text.replace("\n  ", " ")
        assert "TransWeather, equal, seed 0: failed: loss is NaN at step 212" in text.replace("\n  ", " ")
        assert "pcgrad, seed 0: unfinished" in text.replace("\n  ", " ")
    assert "its average: 5.28 dB" in terminal(Findings(table)).replace("\n  ", " ")
    assert row_of(table, "equal").remark == "failed"


def test_another_warning_is_shown_and_counts(tmp_path):
    write_run(tmp_path, psnr=3.0, status=("done", "3 steps without a finite gradient"))
    table = table_of(tmp_path)
    assert row_of(table, "mix").n == 1
    assert texts(table, "warning")[0].startswith("Warning of TransWeather, mix")


def test_marks_and_extra_sets(tmp_path):
    data = records("real", {"Rain100L": 2})
    data[-1]["origin"] = "synthesised"
    data.append(dict(role="extra", task="derain", dataset="Rain100H", found=60, expected=100, origin="real"))
    write_run(tmp_path, psnr=levels(28, 24, 18, 30, 20) | {"Rain100H": 90}, data=data, config={"data.source": "files"})
    table = table_of(tmp_path)
    assert table.datasets == [*SETS, AVERAGE, "Rain100H"]
    assert [table.heading(name) for name in table.datasets[3:]] == [
        "Rain100L (2 of 100)",
        "SOTS-outdoor (synthesised)",
        "average",
        "Rain100H (60 of 100, extra)",
    ]
    assert row_of(table, "mix").cells[AVERAGE, "psnr"].score.mean == pytest.approx(24)  # Rain100H is not in it


def test_a_run_without_all_sets_has_no_average(tmp_path):
    write_run(tmp_path, strategy="mix", psnr=3.0)
    write_run(tmp_path, strategy="art", psnr=dict(list(levels(28, 24, 18, 30, 20).items())[:4]))
    table = table_of(tmp_path)
    assert math.isnan(row_of(table, "art").cells[AVERAGE, "psnr"].score.mean)
    assert texts(table, "no-average") == ["No average of TransWeather, art, seed 0: not scored on SOTS-outdoor."]


def test_embedded_sets_are_told_by_the_header(two_seeds):
    table = table_of(two_seeds)
    assert [table.heading(name) for name in SETS] == SETS
    assert "embedded: procedural training images" in terminal(Findings(table))
    assert "Embedded data, tiny networks, demo profile" in latex(Findings(table))


def test_a_network_below_its_input_is_told(tmp_path):
    write_run(tmp_path, strategy="mix", psnr=0.5)
    write_run(tmp_path, strategy="art", psnr=-0.5)
    notes = texts(table_of(tmp_path), "below-input")
    assert notes[0].endswith("judge by: TransWeather, art.")
    assert notes[1].startswith("Below the degraded input on a test set: CBSD68-s15 (input 24.60 dB): TransWeather, art")
    assert len(notes) == 2 and notes[1].count("TransWeather, art (") == 5


def test_absent_sets_are_told_beside_the_average(tmp_path):
    data = records("real")
    data[-1] |= {"origin": "absent", "found": 0}
    write_run(tmp_path, psnr=dict(list(levels(28, 24, 18, 30, 20).items())[:4]), data=data)
    table = table_of(tmp_path)
    assert table.title(AVERAGE) == (AVERAGE, "4 of 5 sets")
    assert texts(table, "not-scored") == ["Test sets without scores: SOTS-outdoor (absent)."]


PAPER = {"size": "paper", "profile": "paper", "data.source": "files"}


def published_in(tmp_path, psnr=2.0, data=None, strategy="mix", **options):
    write_run(tmp_path, baseline="promptir", strategy=strategy, psnr=psnr, data=data or records("real"), **options)
    table = table_of(tmp_path)
    return row_of(table, strategy, "promptir").published, " ".join(texts(table, "published")), table


def test_published_figures_stand_beside_what_compares(tmp_path):
    shown, notes, table = published_in(tmp_path, config=PAPER)
    assert shown["Rain100L", "psnr"].value == 36.37
    assert shown[AVERAGE, "psnr"].value == 32.06
    assert "Published PromptIR, mix: PromptIR repository table" in notes
    for text in (terminal(Findings(table)), page(Findings(table)), latex(Findings(table))):
        assert "published" in text and "36.37" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config": PAPER | {"size": "tiny"}}, "tiny networks"),
        ({"config": PAPER | {"profile": "demo"}}, "demo profile"),
        ({"config": PAPER | {"data.source": "embedded"}}, "embedded data"),
        ({"config": PAPER | {"train.steps": 20}, "overrides": ("train.steps=20",)}, "train.steps=20"),
        ({"config": PAPER | {"evaluate.protocol": "weather_y"}}, "protocol weather_y, published with airnet_rgb"),
    ],
)
def test_published_figures_are_kept_away_from_what_does_not(tmp_path, change, reason):
    shown, notes, table = published_in(tmp_path, **change)
    assert not shown
    assert "not comparable" in notes and reason in notes
    assert "36.37" not in terminal(Findings(table))


def test_a_partial_test_set_hides_its_figure_and_the_average_only(tmp_path):
    shown, notes, _ = published_in(tmp_path, data=records("real", {"Rain100L": 2}), config=PAPER)
    assert ("CBSD68-s15", "psnr") in shown
    assert ("Rain100L", "psnr") not in shown and (AVERAGE, "psnr") not in shown
    assert "Some published figures are not shown" in notes and "Rain100L (2 of 100)" in notes


def test_partial_training_data_hides_every_figure(tmp_path):
    data = records("real")
    data[0]["found"] = 12
    shown, notes, _ = published_in(tmp_path, data=data, config=PAPER)
    assert not shown and "RainTrainL (12 of 200)" in notes


def test_variants_of_a_strategy_have_no_published_figure(tmp_path):
    shown, notes, _ = published_in(tmp_path, strategy="art:tau=1", config=PAPER)
    assert not shown and "No published figures are known" in notes


def test_tidy_table_carries_every_number(two_seeds):
    frame = tidy(table_of(two_seeds)).set_index(["strategy", "dataset", "metric"])
    art = frame.loc[("art", "CBSD68-s15", "psnr")]
    assert (art["mean"], art["gain"], art["gain_n"], art["n"]) == (29.3, 1.1, 2, 2)
    assert art["image_gain"] == pytest.approx(1.1) and art["images"] == 5
    assert (art["origin"], art["role"], art["pace_spread"] != art["pace_spread"]) == ("embedded", "test", True)
    assert frame.loc[("mix", AVERAGE, "psnr"), "mean"] == pytest.approx(24.1)
    assert len(frame) == 2 * 6 * 2


def test_a_changed_recipe_is_not_averaged_with_the_old_one(tmp_path):
    write_run(tmp_path, seed=0, psnr=9.0, config={"train.lr": 0.5}, age=100)
    write_run(tmp_path, seed=1, psnr=3.0)
    table = table_of(tmp_path)
    assert row_of(table, "mix").seeds == (1,)
    assert "older training recipe (lr 0.5, now 0.001)" in texts(table, "left-out")[0]


def test_mixing_is_a_baselines_own(tmp_path):
    """It stands in the table by baseline, does not split it, and tells two recipes of one baseline apart."""
    write_run(tmp_path, "airnet", seed=0, psnr=3.0, config={"data.mixing": "shuffled"}, age=100)
    write_run(tmp_path, "airnet", seed=1, psnr=3.0)
    write_run(tmp_path, "promptir", seed=1, psnr=3.0, config={"data.mixing": "shuffled"})
    table = table_of(tmp_path)
    assert [text for label, text in facts(table.cohort) if label == "mixing"] == [
        "AirNet: balanced",
        "PromptIR: shuffled",
    ]
    assert row_of(table, "mix", "airnet").seeds == (1,)
    assert 'older training recipe (mixing "shuffled", now "balanced")' in texts(table, "left-out")[0]


def test_passes_over_the_images_are_told_where_runs_record_them(tmp_path):
    for name, epochs in (("airnet", None), ("promptir", {"derain": 1205.4, "dehaze": 0.004, "denoise": 0})):
        run = write_run(tmp_path, name, seed=0, psnr=3.0)
        run.write_record(run.record.model_copy(update={"epochs": epochs}))
    told = [text for label, text in facts(table_of(tmp_path).cohort) if label == "epochs"]
    passes = "derain 1,205, dehaze <0.01, denoise 0 (expected passes over each task's training images)"
    assert told == [f"PromptIR: {passes}"]


def test_further_metrics_get_their_own_block_and_direction(tmp_path):
    for seed in range(2):
        for strategy, value in (("mix", 0.5), ("art", 0.1 + 0.002 * seed)):
            run = write_run(tmp_path, strategy=strategy, seed=seed, psnr=3.0)
            scores = run.scores()
            extra = scores[scores["metric"] == "psnr"].assign(metric="lpips", value=value)
            run.write_scores(pd.concat([scores, extra]))
    cell = row_of(table_of(tmp_path), "art").cells[AVERAGE, "lpips"]
    assert cell.gain.mean == pytest.approx(-0.399)
    assert cell.verdict == "gain"  # less is better
    assert r"\textbf{0.101}" in latex(Findings(table_of(tmp_path)))


def test_strategies_are_listed_reference_first_and_parameters_by_value():
    names = ["pcgrad", "art:tau=10", "art", "art:tau=1", "equal", "art:tau=0.5", "mix"]
    expected = ["mix", "equal", "art", "art:tau=0.5", "art:tau=1", "art:tau=10", "pcgrad"]
    assert sorted(names, key=strategy_order) == expected


def test_gains_between_a_gpus_noise_and_a_cpus_are_named(tmp_path):
    """A GPU draws other degradations than a CPU; runs of before that was recorded drew on a CPU."""
    for seed, noise in enumerate(("cpu", "cuda")):
        write_run(tmp_path, strategy="mix", seed=seed, psnr=5.0)
        write_run(tmp_path, strategy="art", seed=seed, psnr=5.2, environment={"noise": noise})
    (words,) = texts(table_of(tmp_path), "other-noise")
    assert "TransWeather, art, seed 1." in words
    write_run(tmp_path, strategy="mix", seed=1, psnr=5.0, environment={"noise": "cuda"})
    assert not texts(table_of(tmp_path), "other-noise")
