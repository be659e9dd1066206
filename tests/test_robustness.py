"""What goes wrong around a run: killed workers, other commands, full disks, damaged files. Long repetitions of these
are in endurance.py."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import hazy, picture, rainy, save, three_task
from small_network import SLOW, SMALL

from benchmarks.run import main
from benchmarks.training import distributed as processes
from results import Run, find_runs
from results.records import State, Status

QUICK = ["train.steps=6", "train.batch=5", "train.patch=64", "train.checkpoint_every=2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Large enough that an image of every task can be held out for validation."""
    root = three_task(tmp_path_factory.mktemp("data"))
    save(root / "RainTrainL/gt/norain-3.png", picture(23))
    save(root / "RainTrainL/rainy/rain-3.png", rainy(picture(23)))
    for number in (27, 28):
        save(root / f"OTS/original/{number:04d}.jpg", picture(40 + number))
        save(root / f"OTS/synthetic/part1/{number:04d}_0.8_0.04.jpg", hazy(picture(40 + number)))
    return root


def arguments(data, output, *strategies, jobs=1, overrides=QUICK, more=(), baseline="transweather"):
    return ["--setting", "three_task", "--data-root", str(data), "--output", str(output), "--device", "cpu",
            "--baselines", baseline, "--strategies", *strategies, "--jobs", str(jobs),
            "--tracking-uri", "none", "--set", *overrides, *more]  # fmt: skip


def start(*command, module=("-m", "benchmarks.run"), **options):
    """The command in a process of its own."""
    root = Path(__file__).parents[1]
    return subprocess.Popen([sys.executable, *module, *command], cwd=root, text=True, **options)


WITHOUT_FIGURES = """
import sys
from reports.formats import files
files.KINDS = ()
from benchmarks.run import main
sys.exit(main())
"""


def by_strategy(output):
    return {run.record.config.strategy: run for run in find_runs(output, "three_task")}


@pytest.fixture
def strategies(tmp_path, monkeypatch):
    """Writes a module of strategies that this process and its workers can import."""

    def write(body):
        (tmp_path / "wild.py").write_text("import os, signal, torch\nfrom torchjd.scalarization import Mean\n" + body)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wild", raising=False)
    return write


def test_a_killed_worker_is_named_and_the_others_go_on(data, tmp_path, strategies, capsys):
    strategies(
        "class Greedy(Mean):\n"
        "    calls = 0\n"
        "    def forward(self, values):\n"
        "        Greedy.calls += 1\n"
        "        if Greedy.calls == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().forward(values)\n"
    )
    assert main(arguments(data, tmp_path / "out", "wild:Greedy", "mix", "art", jobs=2, baseline=SMALL)) == 1
    told = capsys.readouterr().err
    assert "1 of 3 runs failed" in told and "worker process died (SIGKILL(-9)" in told and "Traceback" not in told
    runs = by_strategy(tmp_path / "out")
    assert [runs[name].status.state for name in ("wild:Greedy", "mix", "art")] == ["failed", "done", "done"]
    assert "continues from its last checkpoint" in runs["wild:Greedy"].status.reason


def test_replaced_images_are_noticed_and_the_data_never_written(tmp_path, capsys):
    data = three_task(tmp_path / "data")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in data.rglob("*") if path.is_file()}
    command = arguments(data, tmp_path / "out", "mix", baseline=SMALL)
    assert main(command) == 0
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in data.rglob("*") if path.is_file()}
    (run,) = find_runs(tmp_path / "out", "three_task")
    trained, scores = (run.folder / "checkpoint.pt").read_bytes(), run.scores()
    save(data / "Rain100L/input/1.png", picture(77))  # a test image: scored again, not trained again
    assert main(command) == 0
    assert "The test images of Rain100L have changed" in capsys.readouterr().out
    assert (run.folder / "scores.csv.replaced").exists()
    both = scores.merge(run.scores(), on=["dataset", "image", "metric"])
    changed = both[(both["pixels_x"] != both["pixels_y"]) | (both["input_value_x"] != both["input_value_y"])]
    assert (
        len(both) == len(scores)
        and set(changed["image"]) == {"1"}
        and (run.folder / "checkpoint.pt").read_bytes() == trained
    )
    run.write_status(Status(State.RUNNING))
    save(data / "WED/00001.bmp", picture(99))  # as large as the one before
    assert main(command) == 1
    assert "the training images of WED are others than those it began with" in capsys.readouterr().err
    run.write_status(Status(State.DONE))
    assert main(command) == 0  # under the same name; the old run is kept
    assert "training images have changed since 1 of these runs" in capsys.readouterr().out
    assert list(tmp_path.glob("out/replaced/*/three_task/*/*/*/scores.csv"))
    save(data / "WED/00001.bmp", picture(99, 90, 100))
    assert main(command) == 0
    assert "training images have changed since 1 of these runs" in capsys.readouterr().out


def test_two_commands_share_a_store(data, tmp_path):
    command = arguments(data, tmp_path / "out", "mix", "art")
    other = start(*command, module=("-c", WITHOUT_FIGURES), stdout=subprocess.DEVNULL)
    assert main(command) == 0 and other.wait(timeout=120) == 0
    runs = by_strategy(tmp_path / "out")
    assert {name: run.status.state for name, run in runs.items()} == {"mix": "done", "art": "done"}
    assert all(len(Run(run.folder).rhythm()) == 5 * 6 for run in runs.values())


def test_a_full_disk_stops_the_run_with_the_reason_and_it_goes_on_later(data, tmp_path, capsys):
    command = arguments(data, tmp_path / "out", "mix")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))  # smaller than the checkpoint
    try:
        assert main(command) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told = capsys.readouterr().err
    assert "checkpoint.pt cannot be written (File too large); what was written before is kept" in told
    (run,) = find_runs(tmp_path / "out", "three_task")
    assert run.status.state == "failed" and not list(run.folder.glob(".checkpoint*"))
    assert main(command) == 0 and run.status.state == "done"


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "benchmarks.run")


def test_two_processes_follow_the_single_one(data, tmp_path):
    names = ("mix", "art:tau=1", "pcgrad")
    # a small rate: Adam divides by tiny gradients, whose last digits differ
    overrides = ["train.steps=4", "train.batch=8", "train.patch=64", "train.ema=0.9", "train.lr=1e-4"]
    command = arguments(data, tmp_path / "two", *names, overrides=overrides)
    two = start(*command, module=TORCHRUN, stdout=subprocess.PIPE)
    assert main(arguments(data, tmp_path / "one", *names, overrides=overrides)) == 0
    assert two.communicate(timeout=200)[0].count("TransWeather") and two.returncode == 0
    one, two = by_strategy(tmp_path / "one"), by_strategy(tmp_path / "two")
    assert len(two) == 3
    for name in names:
        assert (one[name].environment.processes, two[name].environment.processes) == (1, 2)
        for table in ("rhythm", "scores"):
            values = [getattr(run, table)().select_dtypes("number") for run in (one[name], two[name])]
            np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5, err_msg=f"{name} {table}")
        curves = [run.curve() for run in (one[name], two[name])]
        assert curves[0]["step"].tolist() == [step for step in range(1, 5) for _ in range(5)]
        assert curves[0][["step", "task", "images"]].equals(curves[1][["step", "task", "images"]])
        np.testing.assert_allclose(curves[0]["psnr"], curves[1]["psnr"], atol=1e-4, err_msg=name)
        weights = [torch.load(run.folder / "checkpoint.pt")["network"] for run in (one[name], two[name])]
        torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-5, msg=name)


def test_what_several_processes_cannot_do_is_said_before_training(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setattr(processes, "join", lambda device: device)
    monkeypatch.setattr(processes, "leave", lambda: None)
    (tmp_path / "own.py").write_text(
        "import art\nclass Mine(art.Strategy):\n"
        "    def backward(self, losses, auxiliary=None, parameters=()): losses.stacked.sum().backward()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert main(arguments(data, tmp_path / "out", "mix", "tur", "own:Mine")) == 2
    told = capsys.readouterr().err
    assert told.count("which several processes (torchrun) do not share") == 1 and "'own:Mine' looks" in told
    assert "a batch of 5 for 8 processes" in told and not (tmp_path / "out/runs").exists()


def test_a_cluster_loses_a_worker_and_no_run(data, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # for the cluster's workers
    overrides = ["train.steps=60", "train.batch=5", "train.patch=16", "train.checkpoint_every=50"]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path / "workers"
    ) as cluster:
        command = arguments(data, tmp_path / "far", "art", overrides=overrides, baseline=SLOW)
        command += ["--cluster", cluster.scheduler_address]
        done = []
        thread = threading.Thread(target=lambda: done.append(main(command)))
        thread.start()
        while not list(tmp_path.glob("far/runs/**/progress.json")) and thread.is_alive():
            time.sleep(0.05)
        (busy,) = [worker.name for worker in cluster.scheduler.workers.values() if worker.processing]
        os.kill(cluster.workers[busy].pid, signal.SIGKILL)
        thread.join(timeout=200)
    assert done == [0]
    assert main(arguments(data, tmp_path / "near", "art", overrides=overrides, baseline=SLOW)) == 0
    far, near = by_strategy(tmp_path / "far")["art"], by_strategy(tmp_path / "near")["art"]
    assert far.rhythm().equals(near.rhythm()) and far.scores().equals(near.scores())
    assert (far.folder / "samples/Rain100L.png").exists() and not (far.folder / "progress.json").exists()


def test_a_cluster_that_is_not_there_is_one_sentence(data, tmp_path, capsys):
    pytest.importorskip("distributed")
    command = arguments(data, tmp_path / "out", "mix", more=["--cluster", "127.0.0.1"])
    assert main(command) == 2
    assert "no Dask scheduler answers at" in capsys.readouterr().err
