"""Runs as jobs of Slurm: the real command with submitit's local and debug executors, and what is asked of Slurm itself.

Slurm is stood in for by small scripts that answer as it does; the jobs themselves are real ones of submitit.
"""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from small_network import SLOW, SMALL

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.execution import environment, shared_folder, slurm, slurm_job
from benchmarks.execution.job import ExecutionContext
from benchmarks.execution.plan import Plan
from benchmarks.execution.slurm_job import SlurmJob
from benchmarks.execution.slurm_options import SlurmOptions
from benchmarks.execution.slurm_queues import QUEUES, Slurm
from benchmarks.run import main
from results import Run, Status, find_runs
from results.records import State

pytest.importorskip("submitit")
HERE = Path(__file__).parent
posix = pytest.mark.skipif(os.name == "nt", reason="submitit's local executor is of POSIX systems")


def arguments(data, output, jobs, *strategies, baseline=SMALL, steps=3):
    return ["--setting", "three_task", "--data-root", str(data), "--output", str(output), "--device", "cpu",
            "--baselines", baseline, "--strategies", *strategies, "--tracking-uri", "none", "--slurm", jobs,
            "--set", f"train.steps={steps}", "train.patch=16", "train.checkpoint_every=1000",
            "data.validation=0"]  # fmt: skip


def state(output, strategy):
    (run,) = [run for run in find_runs(output, "three_task") if run.record.config.strategy == strategy]
    saved = torch.load(run.folder / "checkpoint.pt", weights_only=True)
    return run, saved.get("network", saved), run.scores()


@posix
def test_only_missing_runs_are_submitted_and_end_as_in_this_process(three_task_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)  # for the jobs
    output = tmp_path / "an output"
    assert main(arguments(three_task_root, output, "executor=debug", "mix")) == 0
    capsys.readouterr()
    assert main(arguments(three_task_root, output, "executor=local,at_once=2", "mix", "art")) == 0
    told = capsys.readouterr().out
    assert "Started 1 job on this machine" in told and "Against mix" in told
    run, _, _ = state(output, "art")
    note = run.read_json("job.json")
    log = Path(note["folder"]) / f"{note['job']}_0_log.out"
    assert log.is_file() and log.is_relative_to(output / "slurm") and not list(log.parent.glob("*.pkl"))
    assert main(arguments(three_task_root, output, "executor=local", "mix", "art")) == 0
    assert "Started" not in capsys.readouterr().out


@posix
def test_jobs_outlive_the_command_and_are_requeued_from_where_they_were(three_task_root, tmp_path, monkeypatch, capsys):
    """Ctrl-C leaves the job; SIGUSR2 lets it save and start again; the same command waits for it; the bits are those of
    a run that nothing interrupted."""
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    steps = 120
    command = arguments(three_task_root, tmp_path / "far", "executor=local", "mix", baseline=SLOW, steps=steps)
    with (tmp_path / "told").open("w") as told:  # no pipe: the job inherits it
        begun = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", *command], cwd=HERE.parent, stderr=told, stdout=told,
            start_new_session=True,
        )  # fmt: skip
    steps_done = wait_for(lambda: list(tmp_path.glob("far/runs/**/progress.json")))
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does, to all its processes
    assert begun.wait(30) == 130 and "The jobs go on" in (tmp_path / "told").read_text()
    (run,) = [Run(path.parent) for path in steps_done]
    controller = psutil.Process(int(run.read_json("job.json")["job"]))
    (task,) = controller.children()
    task.send_signal(signal.SIGUSR2)
    wait_for(lambda: not task.is_running() or task.status() == psutil.STATUS_ZOMBIE)
    saved = run.folder / "checkpoint.pt"
    assert 0 < torch.load(saved, weights_only=True)["step"] < steps
    capsys.readouterr()
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "1 of these runs is in the queue already" in told and "Started" not in told
    near = arguments(three_task_root, tmp_path / "near", "executor=debug", "mix", baseline=SLOW, steps=steps)
    assert main(near) == 0
    (_, far, far_scores), (_, whole, scores) = state(tmp_path / "far", "mix"), state(tmp_path / "near", "mix")
    assert far.keys() == whole.keys() and far_scores.equals(scores)
    assert all(torch.equal(far[key], whole[key]) for key in far if isinstance(far[key], torch.Tensor))
    (log,) = tmp_path.glob("far/slurm/*/*.out")
    assert "requeued and goes on from the last checkpoint" in log.read_text()


def wait_for(found, seconds=60):
    until = time.monotonic() + seconds
    while not (what := found()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return what


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partition=gpu,gpu=1", "unknown key 'gpu'; did you mean 'gpus'? keys are executor, partition"),
        ("gpus=4", "gpus=4: a run trains on one GPU"),
        ("hours=soon", "hours=soon: hours above 0"),
        ("hours=nan", "hours=nan: hours above 0"),
        ("cpus=0,memory=-1", "cpus=0: a whole number from 1 on is meant; memory=-1: GB above 0"),
        ("executor=slurn", "executor=slurn: one of slurm, local, debug"),
        ("partition=a b", "partition=a b: it has a space"),
        ("hours=1,hours=2", "hours is given twice"),
        ("partition", "'partition' is not KEY=VALUE"),
        ("", "'' is not KEY=VALUE"),
    ],
)
def test_wrong_keys_are_one_sentence(text, told, tmp_path, capsys):
    assert main(["--setting", "three_task", "--output", str(tmp_path / "out"), "--slurm", text, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--slurm", "hours=1", "--jobs", "2"], "with --slurm it is at_once"),
        (["--slurm", "hours=1", "--cluster", "tcp://a:1"], "--cluster and --slurm are ways to use several machines"),
        (["--devices", "0,2", "--device", "cpu"], "leave out --device cpu"),
        (["--devices", "0,x"], "numbers of GPUs with commas"),
        (["--devices", "1,1"], "a GPU is named twice"),
    ],
)
def test_options_that_exclude_each_other_are_one_sentence(more, told, tmp_path, capsys):
    assert main(["--setting", "three_task", "--output", str(tmp_path / "out"), *more]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_several_gpus_are_those_that_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert environment.used("auto", [0, 2]) == ["cuda:0", "cuda:2"]
    with pytest.raises(UserError, match="no 3 is there; this machine has 3 CUDA devices"):
        environment.used("auto", [0, 3])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no 0 and no 2 is there; this machine has no CUDA device"):
        environment.used("auto", [0, 2])


ANSWERS = {
    "sbatch": 'cp "$1" "$HERE/script-$(ls $HERE | grep -c script-)"; echo Submitted batch job 7',
    "squeue": 'cat "$HERE/queue" || exit 1',
    "srun": "exit 1",
    "scancel": 'echo "$@" > "$HERE/cancelled"',
    "scontrol": 'echo "$@" > "$HERE/asked"',
}


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """A folder with a Slurm that says what the file ``queue`` says."""
    for name, body in ANSWERS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    return tmp_path


@pytest.fixture
def plans(tmp_path):
    setting = load("three_task")
    return [Plan.of(setting, resolve(setting, "nafnet", "mix", seed=seed), tmp_path / "out") for seed in range(2)]


@posix
def test_slurm_gets_one_array_that_may_be_requeued(answers, plans):
    options = SlurmOptions.read(
        "partition=gpu,long,gpus=1,hours=24,memory=16,constraint=a100|h100,at_once=4,exclude=n[1-3,5]"
    )
    context = ExecutionContext(answers / "cache", options.device("auto"), "none", "a test")
    assert context.device == "cuda" and options.device("cpu") == "cpu"
    queue = Slurm(options, threads=2)
    assert queue.submit(answers / "my jobs", [SlurmJob(plan, context) for plan in plans]) == ["7_0", "7_1"]
    (script,) = answers.glob("script-*")
    asked = {line for line in script.read_text().splitlines() if line.startswith("#SBATCH")}
    assert {
        "#SBATCH --array=0-1%2", "#SBATCH --partition=gpu,long", "#SBATCH --gpus-per-node=1", "#SBATCH --time=1440",
        "#SBATCH --mem=16384MB", "#SBATCH --constraint='a100|h100'", "#SBATCH --exclude='n[1-3,5]'",
        "#SBATCH --requeue", "#SBATCH --signal=USR2@180", "#SBATCH --cpus-per-task=2",
    } <= asked  # fmt: skip
    assert "--wckey" not in script.read_text() and len(list((answers / "my jobs").glob("7_*_submitted.pkl"))) == 2
    assert queue.cancel(["7_0", "7_1"]) == "" and (answers / "cancelled").read_text() == "7_0 7_1\n"


@posix
def test_a_job_has_ended_when_slurm_says_so_and_not_when_it_is_silent(answers, capsys):
    queue = Slurm(SlurmOptions(), threads=1)
    queue.look(at_once=True)
    assert queue.has("7_0") and "squeue does not answer" in capsys.readouterr().err
    lines = ["7_0|RUNNING|None", "7_1|OUT_OF_MEMORY|None", "7_2|PREEMPTED|None", "7_3|PENDING|PartitionTimeLimit"]
    (answers / "queue").write_text("\n".join(lines) + "\n")
    queue._submitted["7_3"] = -1.0
    queue.look(at_once=True)
    assert [queue.has(f"7_{number}") for number in range(5)] == [True, False, True, True, False]
    assert "jobs wait in Slurm's queue: PartitionTimeLimit" in capsys.readouterr().err
    (answers / "queue").write_text("")
    queue.look(at_once=True)
    assert not queue.has("7_0") and queue.ending("7_1") == " (OUT_OF_MEMORY)" and queue.ending("7_0") == ""


@posix
def test_without_slurm_the_command_says_how_to_try(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--setting", "three_task", "--output", str(tmp_path / "out"), "--slurm", "hours=1"]) == 2
    told = capsys.readouterr().err
    assert "there is no Slurm here: sbatch" in told and "executor=local" in told


@posix
@pytest.mark.parametrize(
    ("number", "queued", "requeued"),
    [
        (signal.SIGUSR2, "", True),  # its time is nearly over
        (signal.SIGTERM, "RUNNING", True),  # to be preempted
        (signal.SIGTERM, "COMPLETING", False),  # cancelled, or requeued by Slurm itself
        (signal.SIGTERM, "", False),
    ],
)
def test_a_job_is_requeued_unless_it_was_cancelled(number, queued, requeued, answers, plans, monkeypatch):
    (answers / "queue").write_text(queued + "\n")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm_job, "execute", lambda plan, context: signal.raise_signal(number))
    asked = []
    before = [signal.signal(one, lambda *_: asked.append(number)) for one in (signal.SIGUSR2, signal.SIGTERM)]
    job = SlurmJob(plans[0], ExecutionContext(answers, "cpu", "none", "a test"))
    try:
        with pytest.raises(SystemExit):
            job()
    finally:
        for one, handler in zip((signal.SIGUSR2, signal.SIGTERM), before, strict=True):
            signal.signal(one, handler)
    assert bool(asked) == requeued
    assert job.checkpoint().function is job


@pytest.mark.parametrize("logged", [True, False])
def test_a_run_whose_job_has_died_fails_with_the_reason(logged, plans, tmp_path, monkeypatch):
    class Dead(QUEUES["debug"]):
        def submit(self, folder, jobs):
            for job in jobs if logged else ():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "9_0_log.out").write_text("Killed")
                job.plan.run.write_status(Status(State.RUNNING))
            return ["9"] * len(jobs)

        def ending(self, name):
            return " (OUT_OF_MEMORY)"

    monkeypatch.setitem(QUEUES, "debug", Dead)
    seen = []
    context = ExecutionContext(tmp_path / "cache", "cpu", "none", "a test")
    plans[0].run.write_status(Status(State.FAILED, "an earlier reason"))
    outcomes = slurm.run_all(plans[:1], SlurmOptions(executor="debug"), tmp_path / "out", context, seen.append)
    status = outcomes[plans[0].folder]
    assert seen == plans[:1] and status.state == State.FAILED and plans[0].status == status
    assert "its job 9 ended (OUT_OF_MEMORY)" in status.reason and "earlier" not in status.reason
    assert ("Its log:" in status.reason) == logged and ("has left no log" in status.reason) != logged


def test_a_folder_of_this_machine_is_told_and_one_of_a_network_is_not(tmp_path):
    mounts = tmp_path / "mounts"
    shared, own = tmp_path / "my share", tmp_path / "own"
    escaped = str(shared).replace(" ", "\\040")
    mounts.write_text(f"overlay / overlay rw 0 0\nserver:/home {escaped} nfs4 rw 0 0\n")
    assert shared_folder.file_system(shared / "out", mounts) == "nfs4"
    assert shared_folder.doubt(shared / "out", mounts) == "" and "lies on overlay" in shared_folder.doubt(own, mounts)
    assert shared_folder.doubt(own, tmp_path / "none") == ""
