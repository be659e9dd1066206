"""The evaluate command: a run's own scores again, published checkpoints on test sets, honest comparisons."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_network import SMALL

import baselines
from benchmarks.config.configuration import resolve
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import load
from benchmarks.data import photographs
from benchmarks.evaluate import main
from benchmarks.execution.job import ExecutionContext, execute
from benchmarks.execution.plan import Plan
from reports.formats.scorecard import scorecard_text
from reports.numbers.scorecard import scorecard
from results.records import PROTOCOL_METRICS, DataRecord, Evaluated
from results.schema import DIGESTS, SCORE_COLUMNS

SETS = ["CBSD68-s15", "CBSD68-s25", "CBSD68-s50", "Rain100L", "SOTS-outdoor"]


@pytest.fixture(scope="module")
def data(three_task_root):
    return three_task_root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A short run that keeps a weight average."""
    output = tmp_path_factory.mktemp("runs")
    small = ["train.steps=2", "train.batch=5", "train.patch=64", "train.ema=0.5", "evaluate.extra=Rain100H"]
    files = DataConfig(source="files", root=str(data))
    setting = load("three_task")
    planned = Plan.of(setting, resolve(setting, "transweather", "mix", data=files, overrides=small), output)
    execute(planned, ExecutionContext(output / "cache", "cpu", "none", "a test"))
    assert planned.status.state == "done", planned.status.reason
    return planned.run


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny PromptIR as Lightning stores it."""
    torch.manual_seed(0)
    weights = baselines.build("promptir", "tiny").state_dict()
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    torch.save({"epoch": 1, "state_dict": {f"net.{name}": value for name, value in weights.items()}}, path)
    return path


def arguments(checkpoint, output, *more):
    network = ["--baseline", "promptir", "--size", "tiny", "--checkpoint", checkpoint, "--setting", "three_task"]
    return [str(part) for part in (*network, "--output", output, "--device", "cpu", *more)]


def test_a_run_gets_its_own_scores_again(run, tmp_path, capsys):
    checkpoint = torch.load(run.folder / "checkpoint.pt", weights_only=True)
    assert "average" in checkpoint
    assert main(["--run", str(run.folder), "--output", str(tmp_path), "--device", "cpu"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "(after step 2 of 2, moving average)" in printed and "2 of 100, extra" in printed
    (folder,) = (tmp_path / "evaluations/three_task").iterdir()
    assert folder.name == f"transweather-mix-0-{run.record.hash}"
    scores = pd.read_csv(folder / "scores.csv", dtype={"image": str})
    assert tuple(scores.columns) == SCORE_COLUMNS and set(scores["dataset"]) == {*SETS, "Rain100H"}
    pd.testing.assert_frame_equal(scores, run.scores())


def test_a_run_is_scored_by_another_protocol(run, tmp_path):
    command = ["--run", str(run.folder), "--output", str(tmp_path), "--device", "cpu"]
    more = ["--protocol", "weather_y", "--metrics", "gmsd", "--set", "evaluate.extra=[]"]
    assert main(command + more) == 0
    scores = pd.read_csv(next(tmp_path.glob("evaluations/*/*/scores.csv")))
    assert set(scores["protocol"]) == {"weather_y"} and list(scores["metric"].unique()) == ["psnr", "ssim", "gmsd"]


def test_a_published_checkpoint_on_real_data(published, data, tmp_path, capsys):
    assert main(arguments(published, tmp_path, "--data-root", data)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in (*SETS, "wrapper state_dict > net.*", "degraded input", "published, mix", "published, art", "36.37"):
        assert words in printed
    assert "2 of 68" in printed and "2 of 100" in printed and "1 of 500" in printed and "difference" not in printed
    assert "Not comparable with the published figures: tiny networks." in printed
    folder = tmp_path / "evaluations/three_task/promptir-model"
    page = (folder / "table.md").read_text()
    assert "CBSD68-s15 (2 of 68)" in page and "| published, mix" in page
    record = json.loads((folder / "evaluation.json").read_text())
    assert record["checkpoint"] == str(published) and len(record["sha256"]) == 64
    assert len(pd.read_csv(folder / "scores.csv")) == 2 * (3 * 2 + 2 + 1)
    assert (folder / "samples/Rain100L.png").exists() and (folder / "environment.json").exists()


def test_only_test_sets_are_needed(published, data, tmp_path, capsys):
    """No training images; a missing test set is named, or made when that is asked for."""
    root = tmp_path / "data"
    shutil.copytree(data / "CBSD68", root / "CBSD68")
    shutil.copytree(data / "Rain100L", root / "Rain100L")
    command = arguments(published, tmp_path / "out", "--data-root", root)
    assert main(command) == 2
    told = capsys.readouterr().err
    assert told.count(" is missing") == 1 and "SOTS-outdoor (test of dehaze) is missing" in told
    assert main([*command, "--missing", "synthesise"]) == 0
    assert "synthesised" in capsys.readouterr().out


def test_embedded_photographs(published, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(photographs, "_CROPS", {"chelsea": photographs._CROPS["chelsea"]})
    assert main(arguments(published, tmp_path)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Photos-rain" in printed and "published, mix" not in printed
    assert "Not comparable with the published figures, which are of SOTS-outdoor, Rain100L" in printed
    assert not list(tmp_path.glob("cache/scenes*"))


def test_another_evaluation_has_its_own_folder(data, tmp_path):
    torch.save(baselines.build(SMALL, "tiny").state_dict(), tmp_path / "model.pth")
    network = ["--baseline", SMALL, "--size", "tiny", "--checkpoint", tmp_path / "model.pth", "--setting", "three_task"]
    command = [str(part) for part in (*network, "--output", tmp_path, "--device", "cpu", "--data-root", data)]
    assert main(command) == main(command) == main([*command, "--protocol", "weather_rgb"]) == 0
    assert len(list(tmp_path.glob("evaluations/three_task/small_network,Small-model*/scores.csv"))) == 2


@pytest.mark.parametrize(
    ("found", "protocol", "size", "told", "differences"),
    [
        (100, "airnet_rgb", "paper", "Comparable with the published figures (same protocol, real and complete data): "
         "Rain100L, average.", 3),
        (99, "airnet_rgb", "paper", "Not comparable with the published figures: Rain100L (99 of 100); the average.", 0),
        (100, "weather_y", "paper", "protocol weather_y, published with airnet_rgb", 0),
        (100, "airnet_rgb", "tiny", "tiny networks", 0),
    ],
)  # fmt: skip
def test_differences_are_shown_where_figures_compare(found, protocol, size, told, differences):
    record = DataRecord(
        role="test", task="derain", dataset="Rain100L", found=found, expected=100, origin="real", leaked=["2"]
    )
    values = {"psnr": (36.0, 38.0, 26.0), "ssim": (0.9, 0.98, 0.8)}
    scores = pd.DataFrame(
        [
            dict(
                zip(
                    SCORE_COLUMNS,
                    ("Rain100L", "derain", name, protocol, metric, value, degraded, "0" * 16),
                    strict=True,
                )
            )
            for metric, (first, second, degraded) in values.items()
            for name, value in (("1", first), ("2", second))
        ]
    )
    evaluated = Evaluated(
        setting="three_task", setting_title="Three tasks", network="PromptIR", size=size, checkpoint=Path("model.ckpt"),
        contents="wrapper net.*", source="files", root="data", protocol=protocol, metrics=PROTOCOL_METRICS,
        sets=[record], notes=["Something happened"],
    )  # fmt: skip
    card = scorecard(evaluated, scores)
    text = scorecard_text(card)
    assert told in " ".join(text.split()) and card.notes[-1] == "Something happened."
    assert text.count("difference") == differences and ("+0.63 / " in text) == bool(differences)
    assert "Rain100L: 1 of 2 images are in the training data; without them 36.00 dB." in text


def refused(capsys, *command):
    assert main([str(part) for part in command]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "Traceback" not in told
    return told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--setting", "tree_task"], "did you mean 'three_task'"),
        (["--baseline", "promptr"], "did you mean 'promptir'"),
        (["--baseline", "nafnet"], "They fit promptir, size tiny"),
        (["--protocol", "airnet"], "did you mean 'airnet_rgb'"),
        (["--set", "train.steps=3"], "only keys of evaluate apply here"),
        (["--set", "evaluate.extra=Rain200"], "unknown data set 'Rain200'"),
        (["--metrics", "psnr"], "psnr is the protocol's own"),
        (["--data-root", "/nowhere/at/all"], "is not a folder"),
        (["--checkpoint", "/nowhere/at/all"], "is not there"),
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--output", "/dev/null/here"], "cannot"),
    ],
)
def test_mistakes_are_one_sentence(more, message, published, tmp_path, capsys):
    assert message in refused(capsys, *arguments(published, tmp_path, *more))


def test_runs_that_cannot_be_evaluated(run, published, tmp_path, capsys):
    assert "is not the folder of a run" in refused(capsys, "--run", tmp_path)
    assert "leave out --checkpoint" in refused(capsys, "--run", run.folder, "--checkpoint", published)
    assert "--setting missing" in refused(capsys, "--checkpoint", published, "--baseline", "promptir")
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | {"hash": "12345678"}))
    assert "config.json is damaged" in refused(capsys, "--run", folder)
    (folder / DIGESTS).unlink()  # as of an older version
    assert "belongs to another configuration" in refused(capsys, "--run", folder)
    record["config"]["train"]["stepz"] = 3
    (folder / "config.json").write_text(json.dumps(record))
    assert "train.stepz" in refused(capsys, "--run", folder)
    (folder / "checkpoint.pt").unlink()
    (folder / "config.json").write_text((run.folder / "config.json").read_text())
    assert "the run must train first" in refused(capsys, "--run", folder)
