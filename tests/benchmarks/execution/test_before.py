"""What a dry run counts and what it refuses, before any money is spent."""

import json
import shutil

import pytest
from small_network import Small

from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.data import locating, sources
from benchmarks.execution import before, cost, strategy_cost
from benchmarks.execution.plan import Plan
from benchmarks.execution.request import GridRequest
from benchmarks.run import main
from results.records import Environment

COMMAND = ["--setting", "three_task", "--baselines", "nafnet", "--strategies", "mix", "--dry-run"]


class Broken(Small):
    def __init__(self):
        raise KeyError("weights")


def told(capsys, output, *more):
    code = main([*COMMAND, "--output", str(output), *more])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_sets_that_are_missing_are_all_named_as_the_run_would(three_task_root, tmp_path, capsys):
    root, output = shutil.copytree(three_task_root, tmp_path / "data"), tmp_path / "out"
    assert told(capsys, output, "--data-root", str(root))[0] == 0
    for name in ("RainTrainL", "CBSD68"):
        shutil.rmtree(root / name)
    shutil.rmtree(root / "SOTS")
    code, _, error = told(capsys, output, "--data-root", str(root))
    assert code == 2 and not output.exists()
    assert "CBSD68 (test of denoise_15, denoise_25, denoise_50) is missing" in error
    assert "RainTrainL (training of derain) is missing" in error and "SOTS-outdoor" in error
    assert main([*COMMAND[:-1], "--output", str(output), "--data-root", str(root)]) == 2  # the run itself
    real = capsys.readouterr().err
    assert all((name in real) == (name in error) for name in load("three_task").catalogue.sets)
    shutil.copytree(three_task_root / "CBSD68", root / "CBSD68")  # from which the others can be made
    assert told(capsys, output, "--data-root", str(root), "--missing", "synthesise")[0] == 0


def test_what_is_refused_without_opening_images_is_what_opening_refuses(three_task_root, tmp_path):
    setting = load("three_task")
    data = resolve(setting, "nafnet", "mix").data.model_copy(update={"source": "files", "root": str(three_task_root)})
    assert locating.problems(setting, data, ["Rain100H"]) == []
    assert sources.prepare(setting, data, ["Rain100H"], tmp_path / "cache").train
    assert "GoPro" in "".join(locating.problems(load("five_task"), data, []))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--device", "cuda:7"], "device 'cuda:7' is not there"),
        (["--devices", "7"], "no 7 is there"),
        (["--baselines", f"{__name__}:Broken"], "Broken' of size tiny cannot be built (KeyError: 'weights')"),
        (["--set", "train.patch=24"], "needs patches of a multiple of"),
        (["--set", "train.precision=tf32"], "tf32"),
        (["--metrics", "psnrr"], "psnrr"),
        (["--strategies", "mix", "pcgradd"], "pcgradd"),
    ],
)
def test_what_would_fail_later_is_refused(more, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, error = told(capsys, tmp_path / "out", *more)
    assert code == 2 and words in error and "to do" not in out and not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, error = told(capsys, tmp_path / "file" / "out")
    assert code == 2 and "cannot be" in error


@pytest.fixture
def plan(tmp_path):
    def made(strategy="mix"):
        setting = load("three_task")
        return Plan.of(setting, resolve(setting, "nafnet", strategy), tmp_path / "out")

    return made


def test_a_strategy_costs_what_was_measured_here_else_by_this_project_else_as_mix(plan, tmp_path):
    mix, pcgrad, unmeasured = plan(), plan("pcgrad"), plan("torchjd.scalarization:Sum")
    project = strategy_cost.ratio(pcgrad.config, pcgrad.output)
    assert project.value > 1.5 and "TransWeather" in project.source
    assert cost.estimate(pcgrad) == pytest.approx(project.value * cost.estimate(mix))
    assert strategy_cost.ratio(mix.config, mix.output).value == 1
    assert strategy_cost.ratio(unmeasured.config, unmeasured.output) == (1.0, "")
    train = mix.config.train
    place = f"three_task, nafnet, tiny, {train.batch} x {train.patch}, fp32"
    (tmp_path / "out").mkdir()
    (tmp_path / "out/costs.json").write_text(json.dumps({place: {"pcgrad": {"ratio": 7.0}}}))
    assert strategy_cost.ratio(pcgrad.config, pcgrad.output) == (7.0, "measured, costs.json")
    assert cost.estimate(pcgrad) == pytest.approx(7 * cost.estimate(mix))


def test_the_stores_own_runs_count_on_the_device_that_they_ran_on(plan):
    done = plan("pcgrad")
    done.run.write_json("config.json", {"config": done.config.model_dump(mode="json"), "hash": done.config.hash})
    facts = {"device_type": "cuda", "step_seconds": 0.5, "evaluate_seconds": 11.0, "peak_gpu_memory_mib": 2048}
    done.run.write_environment(Environment.model_validate(facts))
    other, steps = plan("mix"), done.config.train.steps
    pcgrad = strategy_cost.ratio(done.config, done.output).value
    assert cost.estimate(done, "cuda") == pytest.approx(0.5 * steps)
    assert cost.estimate(other, "cuda") == pytest.approx(0.5 * steps / pcgrad)
    assert (cost.scoring(other, 10**6, "cuda"), cost.memory(other, "cuda")) == (11.0, 2048)
    assert cost.memory(other, "cpu") is None and cost.scoring(other, 10**6, "cpu") not in (0, 11.0)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, "cpu"), ({"slurm": "gpus=1"}, "cuda"), ({"slurm": "hours=1"}, "cpu"), ({"device": "cuda"}, "cuda"),
     ({"cluster": "tcp://a:1", "device": "cuda"}, "cuda"), ({"slurm": "gpus=1", "device": "cpu"}, "cpu")],
)  # fmt: skip
def test_it_speaks_of_the_device_that_is_asked_for(options, kind, tmp_path):
    place = {"setting": "three_task", "tasks": None, "baselines": ["nafnet"], "strategies": ["mix"], "seeds": [0]}
    place |= {"profile": "demo", "size": None, "data_root": None, "missing": "error", "overrides": []}
    place |= {"output": tmp_path, "tracking_uri": None, "device": "auto", "jobs": None, "cluster": None}
    assert before.device_kind(GridRequest(**place | {"dry_run": True} | options)) == kind


def test_a_dry_run_tells_scoring_memory_records_and_whose_measurement_it_is(tmp_path, capsys):
    _, out, _ = told(capsys, tmp_path / "out", "--strategies", "mix", "pcgrad", "torchjd.scalarization:Sum")
    assert "of scoring one after another on this CPU" in out
    assert "A step costs, over mix's (tiny TransWeather on" in out and "pcgrad 2." in out
    assert "What a step costs with torchjd.scalarization:Sum is not measured" in out
    assert "Each run takes, of main memory: NAFNet about" in out and "of curves, scores and samples" in out
