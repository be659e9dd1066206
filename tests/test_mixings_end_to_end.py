"""Sampling by rates through the real command: tasks that are absent, or join in late."""

import pytest
from miniature import three_task
from small_network import SMALL

from benchmarks.run import main
from results import find_runs

DRAWS = 16


def test_runs_by_rates_train_say_their_passes_and_share_no_table(tmp_path, capsys):
    data, output = three_task(tmp_path / "data"), tmp_path / "out"
    command = ["--setting", "three_task", "--data-root", str(data), "--output", str(output), "--device", "cpu"]
    command += ["--baselines", SMALL, "--jobs", "1", "--tracking-uri", "none", "--strategies", "art", "pcgrad"]
    command += ["--set", "train.steps=8", "train.batch=2", "train.patch=16"]
    assert main([*command, "data.mixing=sequential", "--dry-run"]) == 0
    assert "training images as published:\n  Small, sequential, 8 steps: denoise_15 <0.01, " in capsys.readouterr().out
    assert main([*command, "data.mixing=sequential"]) == 0
    table = (output / "reports/three_task/gains.md").read_text()
    assert "**mixing**: sequential\n- **epochs**: denoise_15 0.96, " in table
    assert main([*command, "data.mixing=temperature:2.0"]) == 0
    runs = find_runs(output, "three_task")
    assert len(runs) == 4 and all(run.status.state == "done" for run in runs)
    cohorts = {(run.record.config.data.mixing, run.record.cohort) for run in runs}
    assert len({cohort for _, cohort in cohorts}) == len(cohorts) == 2
    for run in runs:
        epochs, rhythm = run.record.epochs, run.rhythm()
        if run.record.config.data.mixing == "sequential":
            shares = [0.10 + 0.125 * shared for shared in (25 / 12, 13 / 12, 7 / 12, 1 / 4, 0)]
            found = [6, 6, 6, 3, 4]  # images of the miniature
            assert list(epochs.values()) == pytest.approx([DRAWS * p / n for p, n in zip(shares, found, strict=True)])
            present = rhythm[rhythm["loss"].notna()].groupby("step")["task"].agg(list)
            assert present[1] == ["denoise_15"] and set(present[2]) == {"denoise_15", "denoise_25"}
            assert "dehaze" not in {task for step in range(1, 5) for task in present[step]}
        else:
            assert epochs["dehaze"] == pytest.approx(DRAWS * 0.539 / 4, rel=1e-3)


def dry(strategy, mixing, *sizes, setting="three_task"):
    command = ["--setting", setting, "--baselines", "nafnet", "--strategies", strategy, "--dry-run"]
    command += ["--output", "nowhere"]
    return main([*command, "--set", f"data.mixing={mixing}", *sizes])


@pytest.mark.parametrize(
    ("mixing", "batch", "lacks"),
    [
        ("temperature:5", 11, False),  # rain has 10 % of the samples: at least one of eleven
        ("temperature:5", 9, True),
        ("cooldown:100:5", 11, False),
        ("cooldown:100:2", 11, True),
        ("rates:derain=0.2", 5, False),
        ("rates:derain=0.1", 5, True),
        ("rates:derain=0", 50, True),
        ("sequential", 50, True),
    ],
)
def test_strategies_that_need_every_task_are_refused_where_batches_may_lack_one(mixing, batch, lacks, capsys):
    assert dry("famo", mixing, f"train.batch={batch}") == (2 if lacks else 0)
    assert ("leaves some out. Use --set data.mixing=balanced" in capsys.readouterr().err) == lacks


def test_single_task_networks_see_as_much_of_their_task_as_the_mixing_gives_it(capsys):
    assert dry("single", "rates:derain=0.5", "train.steps=80", "train.batch=6") == 0
    assert dry("mix", "rates:derain=0.5", "train.steps=80", "train.batch=6") == 0
    passes = "denoise_15 0.62, denoise_25 0.62, denoise_50 0.62, derain 2.50, dehaze 0.62\n"  # of 96 scenes
    told = capsys.readouterr().out
    assert f"NAFNet, single: {passes}" in told and f"NAFNet, rates:derain=0.5, 80 steps: {passes}" in told


def test_tasks_that_are_never_trained_are_named(capsys):
    assert dry("mix", "rates:derain=0") == dry("mix", "sequential", "train.steps=2") == 0
    told = capsys.readouterr()
    assert (
        told.err == ("warning: rates:derain=0 mixing in 500 steps never trains derain.\n")
        and "derain 0, dehaze" in told.out
    )


@pytest.mark.parametrize(
    ("mixing", "said"),
    [("temperature:3", True), ("cooldown:9:2", True), ("temperature:inf", False), ("shuffled", False)],
)
def test_a_temperature_that_tells_no_task_apart_is_said(mixing, said, capsys):
    """Where tasks of one set differ in their repeats alone."""
    assert dry("mix", mixing, setting="results/measured/settings/weather_photographs.toml") == 0
    words = (
        f"warning: {mixing} mixing draws all tasks alike, as temperature:inf does: each has 400 samples without "
        "repeats. For other shares use --set data.mixing=rates:TASK=SHARE\n"
    )
    assert capsys.readouterr().err == (words if said else "")
