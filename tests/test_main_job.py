"""The real command, end to end, on a miniature data set in the true layouts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import torch
from miniature import picture, save

from benchmarks.run import main
from reports.figures.style import KINDS
from results import Run, find_runs
from results.schema import RHYTHM_COLUMNS, SCORE_COLUMNS

SMALL = ["train.steps=6", "train.batch=5", "train.patch=64", "train.checkpoint_every=2", "train.encoder_warmup=0.17"]
TINY = ["train.steps=1", "train.batch=5", "train.patch=16"]
SETS = ["CBSD68-s15", "CBSD68-s25", "CBSD68-s50", "Rain100L", "SOTS-outdoor"]


@pytest.fixture(scope="module")
def data(three_task_root):
    return three_task_root


def arguments(data, output, *more, overrides=SMALL):
    return ["--setting", "three_task", "--data-root", str(data), "--output", str(output), "--device", "cpu",
            "--set", *overrides, *more]  # fmt: skip


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Four runs in worker processes, with MLflow, once for all tests that look at what they left."""
    output = tmp_path_factory.mktemp("finished")
    command = arguments(data, output, "--jobs", "2")
    with mock.patch("reports.formats.files.KINDS", KINDS):
        assert main(command) == 0
    return output, command


def test_every_run_leaves_everything(finished):
    output, _ = finished
    runs = find_runs(output, "three_task")
    assert sorted((run.record.config.baseline, run.record.config.strategy) for run in runs) == [
        ("airnet", "art"), ("airnet", "mix"), ("transweather", "art"), ("transweather", "mix"),
    ]  # fmt: skip
    for run in runs:
        assert run.status.state == "done" and run.environment.versions["torch"] and run.environment.step_seconds > 0
        scores = run.scores()
        assert tuple(scores.columns) == SCORE_COLUMNS and list(scores["dataset"].unique()) == SETS
        assert len(scores) == 2 * (3 * 2 + 2 + 1) and scores[["value", "input_value"]].notna().all(axis=None)
        rhythm = run.rhythm()
        warmup = 1 if run.record.config.baseline == "airnet" else 0  # the first step of six, without task losses
        assert tuple(rhythm.columns) == RHYTHM_COLUMNS and len(rhythm) == 5 * (6 - warmup)
        assert rhythm["loss"].between(0, 2).all()
        weights = rhythm.groupby("step")["weight"].sum()
        assert weights.to_numpy() == pytest.approx(1, abs=1e-5)
        assert (run.folder / "samples/Rain100L.png").exists()


def test_degraded_inputs_are_scored_alike_for_all(finished):
    inputs = [
        run.scores().set_index(["dataset", "image", "metric"])["input_value"]
        for run in find_runs(finished[0], "three_task")
    ]
    assert all(column.equals(inputs[0]) for column in inputs)


def test_mix_and_art_start_from_the_same_weights_and_see_the_same_batches(finished):
    rhythms = {
        run.record.config.strategy: run.rhythm()
        for run in find_runs(finished[0], "three_task", {"baseline": ["transweather"]})
    }
    first = [table.loc[table["step"] == 1, "loss"].tolist() for table in rhythms.values()]
    later = [table.loc[table["step"] == 6, "loss"].tolist() for table in rhythms.values()]
    assert first[0] == first[1] and later[0] != later[1]


@mock.patch("reports.formats.files.KINDS", KINDS)
def test_the_report_is_written_and_printed(finished, capsys):
    output, command = finished
    started = time.monotonic()
    before = {run.folder: (run.folder / "scores.csv").stat().st_mtime_ns for run in find_runs(output, "three_task")}
    assert main(command) == 0  # the second call trains nothing
    assert time.monotonic() - started < 60
    assert before == {
        run.folder: (run.folder / "scores.csv").stat().st_mtime_ns for run in find_runs(output, "three_task")
    }
    printed = capsys.readouterr().out
    assert "4 runs, 4 done already" in printed
    for word in ("TransWeather", "AirNet", "mix", "art", *SETS, "airnet_rgb"):
        assert word in printed
    report = output / "reports/three_task"
    for name in (
        "gains.md",
        "gains.csv",
        "gains.tex",
        "rhythm-transweather.png",
        "rhythm-transweather.svg",
        "rhythm-airnet.png",
    ):
        assert (report / name).stat().st_size > 200, name


def test_mlflow_mirrors_the_runs(finished):
    from mlflow import MlflowClient

    output, _ = finished
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("three_task")
    mirrored = client.search_runs([experiment.experiment_id])
    summaries = [run for run in mirrored if run.data.tags.get("kind") == "summary"]
    singles = [run for run in mirrored if run not in summaries]
    assert len(summaries) == 1 and len(singles) == 4
    for run in singles:
        assert run.info.status == "FINISHED" and run.data.params["train.steps"] == "6"
        scores = Run(run.data.tags["folder"]).scores()
        expected = scores[(scores["dataset"] == "Rain100L") & (scores["metric"] == "psnr")]["value"].mean()
        assert run.data.metrics["psnr/Rain100L"] == pytest.approx(expected)
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss/derain")]
        assert steps == sorted(set(steps)) and len(steps) >= 5
        assert {"config.json", "scores.csv", "checkpoint.pt"} <= {
            file.path for file in client.list_artifacts(run.info.run_id)
        }
    report = {file.path for file in client.list_artifacts(summaries[0].info.run_id, "report")}
    assert {f"report/{name}" for name in ("gains.md", "report.html", "gains.svg", "rhythm-airnet.png")} <= report


def test_dry_run_lists_and_does_nothing(data, tmp_path, capsys):
    assert main(arguments(data, tmp_path / "out", "--dry-run", "--seeds", "0", "1")) == 0
    printed = capsys.readouterr().out
    assert printed.count("new") == 8 and "8 runs, 8 to do" in printed
    assert not (tmp_path / "out").exists()


def test_the_same_command_mends_what_is_damaged(finished, data, tmp_path, capsys):
    output = tmp_path / "copy"
    shutil.copytree(finished[0], output)
    runs = find_runs(output, "three_task")
    before = [(run.scores(), run.rhythm(), run.status, (run.folder / "checkpoint.pt").read_bytes()) for run in runs]
    (runs[0].folder / "config.json").unlink()
    (runs[1].folder / "rhythm.parquet").write_bytes(b"PAR1")
    scores = runs[2].folder / "scores.csv"
    scores.write_text(scores.read_text().replace("7", "8", 1))
    (runs[3].folder / "digests.json").unlink()
    assert main(arguments(data, output, "--jobs", "1", "--tracking-uri", "none")) == 0
    told = capsys.readouterr().err
    for words in ("config.json is missing", "rhythm.parquet is damaged", "scores.csv is damaged", "digests.json is"):
        assert words in told
    for run, (scores, rhythm, status, checkpoint) in zip(runs, before, strict=True):
        assert run.damage() == {} and run.scores().equals(scores) and run.rhythm().equals(rhythm)
        assert run.status == status and (run.folder / "checkpoint.pt").read_bytes() == checkpoint  # no step was trained
    assert (runs[2].folder / "scores.csv.damaged").exists()


def test_another_protocol_and_test_set_score_without_training(finished, data, tmp_path):
    output = tmp_path / "copy"
    shutil.copytree(finished[0], output)
    more = ["--baselines", "transweather", "--strategies", "mix", "--tracking-uri", "none", "--metrics", "gmsd"]
    more += ["--jobs", "1"]
    overrides = [*SMALL, "evaluate.extra=Rain100H", "evaluate.protocol=weather_y"]
    (run,) = find_runs(output, "three_task", {"baseline": ["transweather"], "strategy": ["mix"]})
    trained = (run.folder / "checkpoint.pt").stat().st_mtime_ns
    assert main(arguments(data, output, *more, overrides=overrides)) == 0
    scores = run.scores()
    assert (run.folder / "checkpoint.pt").stat().st_mtime_ns == trained
    assert set(scores["protocol"]) == {"airnet_rgb", "weather_y"}
    assert set(scores.loc[scores["protocol"] == "weather_y", "dataset"]) == {*SETS, "Rain100H"}
    assert set(scores.loc[scores["protocol"] == "weather_y", "metric"]) == {"psnr", "ssim", "gmsd"}


def states(folder):
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    return content["network"], content["optimizer"]["state"], content["strategy"]


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize(("baseline", "jobs"), [("transweather", "2"), ("airnet", "1")])  # in a worker, and without
def test_killed_and_continued_ends_bit_identical(baseline, jobs, data, tmp_path):
    overrides = ["train.steps=14", "train.batch=5", "train.patch=64", "train.checkpoint_every=2", "train.ema=0.9"]
    more = ["--baselines", baseline, "--strategies", "art:tau=1", "--tracking-uri", "none", "--jobs"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert main(arguments(data, straight, *more, "1", overrides=overrides)) == 0
    command = [sys.executable, "-m", "benchmarks.run", *arguments(data, killed, *more, jobs, overrides=overrides)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (reference,) = find_runs(straight, "three_task")
    folder = killed / reference.folder.relative_to(straight)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    reached = torch.load(folder / "checkpoint.pt", weights_only=True)["step"]
    assert Run(folder).status.state == "running" and 0 < reached < 14
    assert main(arguments(data, killed, *more, "1", overrides=overrides)) == 0
    assert all(equal(one, other) for one, other in zip(states(reference.folder), states(folder), strict=True))
    assert reference.rhythm().equals(Run(folder).rhythm())
    assert reference.scores().equals(Run(folder).scores())


def test_ctrl_c_saves_and_continues(data, tmp_path):
    overrides = ["train.steps=400", "train.batch=5", "train.patch=64", "train.checkpoint_every=1000"]
    more = ["--baselines", "transweather", "--strategies", "mix", "--tracking-uri", "none", "--jobs", "1"]
    command = [sys.executable, "-m", "benchmarks.run", *arguments(data, tmp_path, *more, overrides=overrides)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/**/progress.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "the same command continues" in told and "Traceback" not in told
    (run,) = find_runs(tmp_path, "three_task")
    step = torch.load(run.folder / "checkpoint.pt", weights_only=True)["step"]
    assert run.status.state == "running" and 20 <= step < 400
    assert run.rhythm()["step"].max() == step


def refused(capsys, *command):
    assert main(command) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "Traceback" not in told
    return told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--setting", "tree_task"], "did you mean 'three_task'"),
        (["--baselines", "transwether"], "did you mean 'transweather'"),
        (["--strategies", "mix", "arts"], "did you mean 'art'"),
        (["--strategies", "torchjd.scalarization:UW", "--set", "data.mixing=shuffled"], "data.mixing=balanced"),
        (["--set", "train.stepz=3"], "did you mean 'train.steps'"),
        (["--set", "evaluate.protocol=airnet"], "did you mean 'airnet_rgb'"),
        (["--set", "evaluate.extra=Rain200"], "unknown data set 'Rain200'"),
        (["--baselines", "transweather", "--set", "train.patch=40"], "transweather needs patches of a multiple of"),
        (["--data-root", "/nowhere/at/all"], "is not a folder"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--output", "/dev/null/here"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(more, message, data, tmp_path, capsys):
    assert message in refused(capsys, *arguments(data, tmp_path / "out"), *more)
    assert not list(tmp_path.glob("out/runs/**/config.json"))


def test_bad_files_are_listed_before_training(data, tmp_path, capsys):
    broken = tmp_path / "data"
    shutil.copytree(data, broken)
    save(broken / "Rain100L/input/31.png", picture(1, 40, 50))
    cut = broken / "BSD400/8049.jpg"
    cut.write_bytes(cut.read_bytes()[:500])
    (broken / "CBSD68/3096.jpg").write_text("text")
    told = refused(capsys, *arguments(broken, tmp_path / "out"))
    assert "a pair of different sizes, 40x50 and 80x96" in told
    assert "BSD400/8049.jpg: damaged or cut short" in told and "CBSD68/3096.jpg: not an image" in told
    assert not list(tmp_path.glob("out/runs/**/config.json"))


def test_a_checkpoint_of_another_configuration_is_left_alone(finished, data, tmp_path, capsys):
    runs = find_runs(finished[0], "three_task", {"baseline": ["transweather"]})
    output = tmp_path / "out"
    shutil.copytree(finished[0], output)
    folders = [output / run.folder.relative_to(finished[0]) for run in runs]
    shutil.copy(folders[0] / "checkpoint.pt", folders[1] / "checkpoint.pt")
    (folders[1] / "status").write_text("running\n")
    before = (folders[1] / "checkpoint.pt").read_bytes()
    assert "belongs to another configuration" in refused(capsys, *arguments(data, output))
    assert (folders[1] / "checkpoint.pt").read_bytes() == before


def test_fresh_keeps_the_old_runs_aside(finished, data, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(finished[0], output)
    more = ["--baselines", "transweather", "--strategies", "mix", "--tracking-uri", "none", "--fresh", "--jobs", "1"]
    assert main(arguments(data, output, *more)) == 0
    assert len(list(output.glob("replaced/*/three_task/transweather/mix/*/scores.csv"))) == 1
    assert len(find_runs(output, "three_task")) == 4


def test_without_tracking_mlflow_is_not_imported(data, tmp_path):
    more = ["--baselines", "nafnet", "--strategies", "mix", "--tracking-uri", "none", "--jobs", "1"]
    command = arguments(data, tmp_path / "out", *more, overrides=TINY)
    code = (
        "import sys; from reports.formats import files; files.KINDS = ()  # figures take as long as all the rest\n"
        f"from benchmarks.run import main; assert main({command!r}) == 0; sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_trouble_with_mlflow_does_not_stop_training(data, tmp_path, capsys):
    more = ["--baselines", "nafnet", "--strategies", "mix", "--tracking-uri", "http://127.0.0.1:9", "--jobs", "1"]
    assert main(arguments(data, tmp_path / "out", *more, overrides=TINY)) == 0
    assert "warning: no tracking, MLflow at http://127.0.0.1:9 failed" in capsys.readouterr().err


def test_a_diverging_run_is_named_and_the_others_go_on(data, tmp_path, capsys):
    module = tmp_path / "wild.py"
    module.write_text(
        "import torch\n"
        "from torchjd.scalarization import Scalarizer\n"
        "class Wild(Scalarizer):\n"
        "    def forward(self, values): return values.sum() * float('inf')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        more = [
            "--baselines",
            "transweather",
            "--strategies",
            "mix",
            "wild:Wild",
            "--tracking-uri",
            "none",
            "--jobs",
            "1",
        ]
        assert main(arguments(data, tmp_path / "out", *more)) == 1
    finally:
        sys.path.remove(str(tmp_path))
    printed = capsys.readouterr()
    assert "is not finite at step 1; last good checkpoint: none" in printed.err and "wild:Wild" in printed.out
    by_strategy = {run.record.config.strategy: run for run in find_runs(tmp_path / "out", "three_task")}
    assert by_strategy["mix"].status.state == "done" and by_strategy["wild:Wild"].status.state == "failed"
    assert len(by_strategy["wild:Wild"].rhythm()) and isinstance(by_strategy["mix"].scores(), pd.DataFrame)


def test_help_is_quick_and_complete():
    command = [sys.executable, "-m", "benchmarks.run", "--help"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    options = ["setting", "baselines", "strategies", "seeds", "profile", "size", "data-root", "missing", "set"]
    options += ["output", "metrics", "tracking-uri", "device", "jobs", "cluster", "probe-conflicts", "dry-run", "fresh"]
    for option in options:
        assert f"--{option}" in printed
    assert "transweather" in printed and "active reweighting" in printed


def test_a_dry_run_lists_the_runs_without_torch(tmp_path):
    command = ["--setting", "three_task", "--output", str(tmp_path), "--dry-run"]
    code = (
        f"import sys; from benchmarks.run import main; assert main({command!r}) == 0; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root).stdout
    assert "4 runs, 4 to do" in printed and not any(tmp_path.iterdir())
