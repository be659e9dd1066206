"""A command's report holds what earlier ones made: no row is taken away; sweeps of the recipe share a table."""

import pytest
from synthetic_store import write_run

from reports.build import NothingToReport, build
from reports.numbers import naming
from reports.numbers.cohorts import gather
from reports.numbers.pooled import pooled
from reports.numbers.sweeps import sweeps
from reports.numbers.tables import gain_table
from results import Run, find_runs
from results.archive import main as keep

LR = ("train.lr=0.002",)


def rate(lr):
    """What a run at another learning rate has, which shares its cohort with those of the recipe."""
    return {"config": {"train.lr": lr}, "overrides": (f"train.lr={lr:g}",)}


def one_cohort(output):
    """The synthetic store makes a cohort of every choice of overrides; commands leave out what is swept."""
    shared = find_runs(output, "three_task")[0].record.cohort
    for run in find_runs(output, "three_task"):
        run.write_record(run.record.model_copy(update={"cohort": shared}))
    return gather(find_runs(output, "three_task"))


def rows(text):
    return [line.strip().split("  ")[0] for line in text.splitlines()]


def test_a_narrower_command_takes_no_row_away_and_marks_its_own(tmp_path):
    for strategy, gain in (("mix", 3.0), ("art", 3.4), ("uw", 3.1)):
        write_run(tmp_path, strategy=strategy, psnr=gain)
    whole = build("three_task", tmp_path, formats=["md", "csv"])
    files = {path.name: path.read_bytes() for path in whole.files}
    everything = build("three_task", tmp_path, own=find_runs(tmp_path, "three_task"), formats=["md", "csv"])
    assert {path.name: path.read_bytes() for path in everything.files} == files  # all its own: nothing to mark
    last = write_run(tmp_path, strategy="famo", psnr=3.2)
    report = build("three_task", tmp_path, own=[last], formats=["md", "csv"])
    assert {"mix", "art", "uw", "> famo"} <= set(rows(report.text)) and "> art" not in rows(report.text)
    page = (tmp_path / "reports/three_task/gains.md").read_text()
    assert all(f"| {name} " in page for name in ("mix", "art", "uw", "famo"))
    assert "Rows of the command that made this report: TransWeather: famo." in page


def test_other_cohorts_keep_their_reports(tmp_path):
    for strategy in ("mix", "art"):
        write_run(tmp_path, strategy=strategy, psnr=3.0, age=100)
    build("three_task", tmp_path, formats=["csv"])
    longer = {"config": {"train.steps": 900}, "overrides": ("train.steps=900",)}
    others = [write_run(tmp_path, strategy=strategy, psnr=3.5, **longer) for strategy in ("mix", "uw")]
    report = build("three_task", tmp_path, own=others, formats=["csv"])
    assert "art" not in rows(report.text)
    folder = tmp_path / "reports/three_task"
    (older,) = folder.glob("gains-*.csv")
    assert "art" in older.read_text() and "uw" in (folder / "gains.csv").read_text()
    older.write_text("as it is")  # and is not made again
    build("three_task", tmp_path, own=others, formats=["csv"])
    assert older.read_text() == "as it is"
    first = [run for run in find_runs(tmp_path, "three_task") if run.record.config.train.steps == 600]
    build("three_task", tmp_path, own=first, formats=["csv"])  # a command whose runs were done already
    assert "art" in (folder / "gains.csv").read_text() and not older.exists()
    assert len(list(folder.glob("gains-*.csv"))) == 1


def test_a_sweep_of_the_learning_rate_is_one_table_with_mix_at_each(tmp_path):
    for place, lr in enumerate((0.0005, 0.001, 0.01)):
        for seed in (0, 1):
            for strategy, gain in (("mix", 3.0 + place), ("art", 3.5 + 2 * place + 0.1 * seed)):
                write_run(tmp_path, strategy=strategy, seed=seed, psnr=gain, **(rate(lr) if lr != 0.001 else {}))
    (cohort,) = one_cohort(tmp_path)
    assert [cohort.display(name) for name in cohort.baselines] == [
        "TransWeather", "TransWeather, lr=0.0005", "TransWeather, lr=0.01",
    ]  # fmt: skip
    table = gain_table(cohort, images=False)
    gains = {row.display: row.average.gain for row in table.rows if row.strategy == "art"}
    assert [round(gain.mean, 2) for gain in gains.values()] == [1.55, 0.55, 2.55] and {
        gain.n for gain in gains.values()
    } == {2}
    (sweep,) = sweeps(table)
    assert (sweep.strategy, sweep.parameter, sweep.values) == ("art", "train.lr", [0.0005, 0.001, 0.01])
    assert [line.name for line in sweep.lines] == ["TransWeather"]
    assert pooled(table.rows) == []  # three rates of one network are no three networks


def test_labels_name_a_strategy_and_its_parameters(tmp_path):
    for strategy, gain in (("mix", 3.0), ("my.opt:Temp", 3.4), ("my.opt:Temp:t=2", 3.1), ("my.opt:Temp:t=3", 3.2)):
        write_run(tmp_path, strategy=strategy, psnr=gain)
    labels = ["my.opt:Temp=Ours", "my.opt:Temp:t=3=Ours, hot"]
    report = build("three_task", tmp_path, labels=labels, formats=["md", "tex", "csv"])
    assert {"Ours", "Ours:t=2", "Ours, hot"} <= set(rows(report.text)) and "my.opt" not in report.text
    assert not any("my.opt" in path.read_text() for path in report.files)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["uw"], "expected SPEC=NAME"),
        (["uw="], "expected SPEC=NAME"),
        (["uw=a(b)"], "a name without any of"),
        (["mix=Ours"], "keep their names"),
        (["uw=mix"], "keep their names"),
        (["uw=A", "art=A"], "is given twice"),
        (["famo=A"], "no run has that strategy; there are: art, mix, uw"),
        (["uw=art"], "would all be called 'art'"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, sentence, tmp_path):
    for strategy in ("mix", "art", "uw"):
        write_run(tmp_path, strategy=strategy, psnr=3.0)
    with pytest.raises(NothingToReport, match=sentence):
        build("three_task", tmp_path, labels=labels, formats=[])


def test_a_label_is_found_by_its_longest_spec():
    labels = naming.parse(["art=A", "art:tau=1=B"])
    assert [naming.named(spec, labels) for spec in ("art", "art:tau=1", "art:tau=10", "artful")] == [
        "A", "B", "A:tau=10", "artful",
    ]  # fmt: skip


def test_columns_of_latex_are_chosen_by_name_and_in_that_order(tmp_path):
    for seed in (0, 1):
        for strategy, gain in (("mix", 3.0), ("art", 3.4 + seed)):
            write_run(tmp_path, strategy=strategy, seed=seed, psnr=gain)
    build("three_task", tmp_path, formats=["tex"], columns=["average", "Rain100L", "verdict"])
    text = "\n".join(
        line for line in (tmp_path / "reports/three_task/gains.tex").read_text().splitlines() if line[:1] != "%"
    )
    assert text.count(r" & $n$ & average & Rain100L \\") == 2 and "SOTS" not in text  # PSNR, SSIM
    assert r" & n & verdict \\" in text and "delta-m" not in text
    build("three_task", tmp_path, formats=["tex"], columns=["average", "psnr"])
    assert (tmp_path / "reports/three_task/gains.tex").read_text().count(r"\begin{table}") == 1
    build("three_task", tmp_path, formats=["tex"], columns=["average"])
    assert "verdict" not in (tmp_path / "reports/three_task/gains.tex").read_text().partition(r"\begin")[2]
    with pytest.raises(NothingToReport, match=r"No column 'Rain100'; there are: CBSD68-s15, .*average gain"):
        build("three_task", tmp_path, formats=["tex"], columns=["Rain100"])
    with pytest.raises(NothingToReport, match="add tex to --format"):
        build("three_task", tmp_path, formats=["md"], columns=["average"])


def test_few_images_come_with_the_average_without_them(tmp_path):
    from synthetic_store import SETS, records, scores

    counts = dict.fromkeys(SETS[1:], 12)
    for strategy, gain in (("mix", 3.0), ("art", 3.5)):
        run = write_run(tmp_path, strategy=strategy, psnr=gain)
        table = scores(gain, records(), "airnet_rgb")
        copies = [table.assign(image=table["image"] + f"-{n}") for n in range(3)]
        import pandas as pd

        more = pd.concat([table, *(copy[copy["dataset"].isin(counts)] for copy in copies)], ignore_index=True)
        Run(run.folder).write_scores(more)
    notes = {note.code: note.text for note in gain_table(*gather(find_runs(tmp_path, "three_task"))).notes}
    assert "Fewer than 10 images: CBSD68-s15 (5)." in notes["few-images"]
    # inputs of the other four: 20.2, 14.9, 26.3, 15.4
    assert "on the seeds both have): TransWeather: mix 22.20, art 22.70 (+0.50)." in notes["few-images"]


def test_published_figures_stand_beside_kept_runs(tmp_path, capsys):
    from reports.published import main

    write_run(tmp_path / "store", "promptir", psnr=3.0)
    assert keep([str(tmp_path / "store"), str(tmp_path / "kept"), "--setting", "three_task"]) == 0
    assert main(["--setting", "three_task", "--from", str(tmp_path / "kept"), "--output", str(tmp_path / "here")]) == 0
    assert "1 not comparable" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "here/reports/three_task/published.md").exists()
    assert main(["--setting", "three_task", "--from", str(tmp_path / "nowhere")]) == 2
    assert "No runs of three_task are kept in" in capsys.readouterr().err
