"""Long repetitions of what the tests do once: ``python tests/endurance.py kills|damage|files|disk|fuzz|mlflow|soak``.

Each prints what it did and what was lost, and exits with 1 if anything was. benchmarks/README.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # before this folder, which has a `results` of its own

from miniature import picture, save, three_task  # noqa: E402

from results import Run, find_runs  # noqa: E402
from results.records import State  # noqa: E402

ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


def command(data: Path, output: Path, *more: str, steps: int = 120, every: int = 10) -> list[str]:
    small = [f"train.steps={steps}", "train.batch=5", "train.patch=64", f"train.checkpoint_every={every}"]
    return [sys.executable, "-m", "benchmarks.run", "--setting", "three_task", "--data-root", str(data), "--output",
            str(output), "--device", "cpu", "--baselines", "transweather", "--tracking-uri", "none",
            "--set", *small, *more]  # fmt: skip


def start(arguments: list[str], **options) -> subprocess.Popen:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    return subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, **quiet)


# --- kill -9 -------------------------------------------------------------------------------------------------------


def _phase(name: str, folder: Path) -> bool:
    """Whether the run is there where it is to be killed."""
    if name == "checkpoint":
        return any(entry.startswith(".checkpoint.pt.") for entry in os.listdir(folder)) if folder.exists() else False
    run = Run(folder)
    if name == "report":
        return run.status.state == "done"
    said = run.progress() or {}
    return said.get("phase") == ("scoring" if name == "evaluation" else "training")


def _kill_at(name: str, arguments: list[str], folder: Path, chance: random.Random) -> bool:
    """Start the command and kill it in that phase; whether it was alive to be killed."""
    before = Run(folder).status.state
    process = start(arguments)
    while process.poll() is None and (not _phase(name, folder) or (name == "report" and before == "done")):
        time.sleep(0.0005)
    time.sleep(0 if name == "checkpoint" else chance.random() * {"training": 2, "evaluation": 1, "report": 1.5}[name])
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def _content(store: Path) -> dict:
    """What must come out the same to the last bit."""
    import torch

    found = {"gains": (store / "reports/three_task/gains.csv").read_bytes()}
    for run in find_runs(store, "three_task"):
        content = torch.load(run.folder / "checkpoint.pt", weights_only=True)
        content.pop("seconds")
        name = run.record.config.strategy
        found |= {f"{name} {key}": value for key, value in content.items()}
        found |= {f"{name} rhythm": run.rhythm(), f"{name} scores": run.scores()}
    return found


def _equal(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if hasattr(one, "equals"):
        return one.equals(other)
    return bool((one == other).all()) if hasattr(one, "all") else one == other


def kills(folder: Path, count: int, seed: int) -> bool:
    """Kill a run at random moments of its four phases and continue; alone, and with two runs in workers."""
    chance, data = random.Random(seed), three_task(folder / "data")
    for number in range(40):  # scoring takes long enough to be hit
        save(data / f"CBSD68/{1000 + number}.jpg", picture(number, 150, 150))
    variants = {"alone": ["--strategies", "art"], "workers": ["--strategies", "art", "mix", "--jobs", "2"]}
    straight = {}
    for name, more in variants.items():
        assert start(command(data, folder / name, *more)).wait() == 0
        straight[name] = _content(folder / name)
    (reference,) = find_runs(folder / "alone", "three_task")
    done, wrong, number = Counter(), 0, 0
    while sum(done.values()) < count:
        name = list(variants)[number % 2]
        store = folder / f"killed-{number}"
        arguments = command(data, store, *variants[name])
        for phase in ("training", "checkpoint", "evaluation", "report"):
            done[phase] += _kill_at(phase, arguments, store / reference.folder.relative_to(folder / "alone"), chance)
        assert start(arguments).wait() == 0
        wrong += not _equal(straight[name], _content(store))
        print(f"store {number} ({name}): {dict(done)} killed so far, {wrong} stores differ", flush=True)
        number += 1
    print(f"{sum(done.values())} kills ({dict(done)}) in {number} stores; {wrong} ended otherwise than never killed")
    return not wrong


# --- damaged checkpoints, full disks -------------------------------------------------------------------------------


def damage(folder: Path, count: int, seed: int) -> bool:
    """Flip a bit of a checkpoint, or cut it, at random places; every one must be noticed or change nothing."""
    import torch

    from benchmarks.config.errors import UserError
    from benchmarks.scoring.unpacking import load_checkpoint

    data = three_task(folder / "data")
    assert start(command(data, folder / "out", "--strategies", "art", steps=2)).wait() == 0
    (run,) = find_runs(folder / "out", "three_task")
    good, whole = (run.folder / "checkpoint.pt").read_bytes(), torch.load(run.folder / "checkpoint.pt")
    chance, path, found = random.Random(seed), folder / "bad.pt", Counter()
    for number in range(count):
        place = chance.randrange(len(good))
        bad = bytearray(good[:place] if number % 10 == 0 else good)
        if len(bad) == len(good):
            bad[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        try:
            found["harmless" if _equal(whole, load_checkpoint(path)) else "LOST"] += 1
        except UserError:
            found["noticed"] += 1
    print(f"{count} damaged checkpoints of {len(good):,} bytes: {dict(found)}")
    return not found["LOST"]


def files(folder: Path, count: int, seed: int) -> bool:
    """Damage every kind of file that a run leaves or reads; each is told, mended or harmless, soon and cheaply."""
    import mutations

    data = three_task(folder / "data")
    more = ["train.probe_every=2", "--strategies", "mix", "art"]
    assert start(command(data, folder / "out", *more, steps=4, every=2)).wait() == 0
    (folder / "work").mkdir()
    run = find_runs(folder / "out", "three_task")[0]
    began = time.monotonic()
    found = mutations.exercise(folder / "work", count, seed, run)
    print(mutations.table(found))
    lost = mutations.lost(found)
    print(
        f"{sum(found.values())} damaged files in {time.monotonic() - began:.0f} s; lost: {len(lost)}", *lost, sep="\n  "
    )
    return not lost


def disk(folder: Path, count: int, seed: int) -> bool:
    """Train on a file system that fills up, then give it room (needs root, for a tmpfs of its own)."""
    data, chance, wrong, full = three_task(folder / "data"), random.Random(seed), 0, 0
    assert start(command(data, folder / "straight", "--strategies", "art", steps=20)).wait() == 0
    straight, small = _content(folder / "straight"), folder / "small"
    small.mkdir()
    for _ in range(count):
        size = chance.randrange(300, 16000)  # KiB; a run needs about 17,000
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", small], check=True)
        try:
            arguments = command(data, small / "out", "--strategies", "art", steps=20)
            process = start(arguments, stderr=subprocess.PIPE, text=True)
            told = process.communicate()[1]
            full += process.returncode != 0
            clear = process.returncode == 0 or ("No space left on device" in told and "Traceback" not in told)
            subprocess.run(["mount", "-o", "remount,size=100m", small], check=True)
            ended = start(arguments).wait() == 0 and _equal(straight, _content(small / "out"))
            wrong += not (clear and ended)
            print(f"{size} KiB: exit {process.returncode}, reason told {clear}, continued to the same end {ended}")
            if not clear:
                print(told)
        finally:
            subprocess.run(["umount", small], check=True)
    print(f"{count} small disks, {full} filled up; {wrong} without a clear reason or another end")
    return not wrong


# --- fuzz ----------------------------------------------------------------------------------------------------------


def fuzz(folder: Path, count: int, seed: int) -> bool:
    """The property tests of everything that strangers write, with many cases."""
    environment = ENVIRONMENT | {"FUZZ_CASES": str(count)}
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/benchmarks/config/test_strangers.py",
        f"--hypothesis-seed={seed}",
    ]
    return subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode == 0


# --- MLflow --------------------------------------------------------------------------------------------------------

STEPS, TASKS = 2000, ["denoise_15", "denoise_25", "denoise_50", "derain", "dehaze"]


def _log(folder: Path, uri: str, seed: int, pause: float) -> None:
    import pandas as pd

    from benchmarks.config.configuration import resolve
    from benchmarks.config.settings import load
    from benchmarks.execution.tracking import Tracker

    config = resolve(load("three_task"), "transweather", "mix", seed=seed, overrides=[f"train.steps={STEPS}"])
    run = Run(folder / f"run-{seed}")
    run.write_json("config.json", {"config": config.model_dump(mode="json")})
    rows = [(step, task, 0.1, 0.1, 1.0, 0.5) for step in range(1, STEPS + 1) for task in TASKS]
    table = pd.DataFrame(rows, columns=["step", "task", "loss", "running", "pace", "weight"])
    tracker = Tracker(uri, run, config, "load")
    tracker.start()
    for step in range(200, STEPS + 1, 200):
        run.write_rhythm(table[table["step"] <= step])
        tracker.rhythm(run.rhythm())
        time.sleep(pause)
    tracker.finish(State.DONE)
    sys.exit(0 if tracker.working else 1)


def _load(folder: Path, uri: str, workers: int, during: Callable[[], None] | None = None) -> bool:
    """Log from several processes at once; whether every point arrived once."""
    from mlflow import MlflowClient

    from benchmarks.execution.tracking import POINTS, prepare

    assert prepare(uri, "three_task", folder) is None
    context, began = multiprocessing.get_context("spawn"), time.perf_counter()
    pause = 1.0 if during else 0.0
    writers = [context.Process(target=_log, args=(folder, uri, seed, pause)) for seed in range(workers)]
    for writer in writers:
        writer.start()
    if during:
        during()
    for writer in writers:
        writer.join()
    client, points, wrong = MlflowClient(uri), 0, 0
    for seed in range(workers):
        name = json.loads((folder / f"run-{seed}/mlflow.json").read_text())["run_id"]
        for column in ("loss", "running", "pace", "weight"):
            for task in TASKS:
                steps = [point.step for point in client.get_metric_history(name, f"{column}/{task}")]
                points += len(steps)
                wrong += len(steps) != POINTS or steps != sorted(set(steps))
        wrong += client.get_run(name).info.status != "FINISHED"
    errors = sum(writer.exitcode != 0 for writer in writers)
    print(f"{uri}: {workers} writers, {points} points in {time.perf_counter() - began:.0f} s, {POINTS} a series at "
          f"most; {errors} errors, {wrong} series or runs incomplete", flush=True)  # fmt: skip
    return not wrong and not errors


def _server(folder: Path, port: int) -> subprocess.Popen:
    process = start(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")],
        start_new_session=True,
    )  # fmt: skip
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.2)
    raise RuntimeError("the MLflow server did not start")


def _stop(server: subprocess.Popen) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def mlflow(folder: Path, count: int, seed: int) -> bool:
    """Log from many processes into one SQLite file, into a server, and into one that is killed in between."""
    os.environ |= ENVIRONMENT | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    ENVIRONMENT["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    fine = _load(folder / "sqlite", f"sqlite:///{folder}/mlflow.db", count)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri, server = f"http://127.0.0.1:{port}", [_server(folder, port)]

    def fall() -> None:
        time.sleep(12)  # the writers are in the middle
        _stop(server.pop())
        time.sleep(8)
        server.append(_server(folder, port))

    try:
        fine &= _load(folder / "server", uri, count)
        fine &= _load(folder / "falling", uri, count, fall)
    finally:
        _stop(server[0])
    return fine


# --- soak ----------------------------------------------------------------------------------------------------------


def soak(folder: Path, count: int, seed: int) -> bool:
    """Many short runs in one command; its memory, files, processes and semaphores."""
    data = three_task(folder / "data")
    shared, before = Path("/dev/shm"), {process.pid for process in psutil.process_iter()}
    seeds = [str(seed + number) for number in range(count // 2)]
    more = ["--strategies", "mix", "art", "--jobs", "2", "--seeds", *seeds]
    process, began = start(command(data, folder / "out", *more, steps=2)), time.perf_counter()
    parent, course = psutil.Process(process.pid), []
    while process.poll() is None:
        try:
            done = sum(Run(path).status.state == "done" for path in (folder / "out/runs").glob("*/*/*/*"))
            course.append((done, parent.memory_info().rss / 2**20, parent.num_fds(), len(parent.children(True))))
        except psutil.Error:
            break
        time.sleep(1)
    process.wait()
    time.sleep(2)
    runs = find_runs(folder / "out", "three_task")
    done = sum(run.status.state == "done" for run in runs)
    course = [row for row in course if row[0] < count]  # the report draws with libraries of its own
    at = [next((row for row in course if row[0] >= share * count), course[-1]) for share in (0.1, 0.5, 0.9)]
    for row in at:
        print(f"after {row[0]} runs: {row[1]:.0f} MiB, {row[2]} files, {row[3]} processes below it")
    others = [p for p in psutil.process_iter(["pid", "cmdline"]) if p.pid not in before and str(folder) in str(p.info)]
    semaphores = [path for path in shared.iterdir() if f"-{process.pid}-" in path.name]
    grown = at[2][1] - at[0][1]
    print(f"{done} of {count} runs done in {time.perf_counter() - began:.0f} s, exit {process.returncode}; the command "
          f"grew by {grown:.1f} MiB; left over: {len(others)} processes, {len(semaphores)} semaphores")  # fmt: skip
    return done == count and grown < 20 and at[2][2] <= at[0][2] + 2 and not others and not semaphores


EXERCISES = {"kills": (kills, 20), "damage": (damage, 10_000), "files": (files, 10_000),
             "disk": (disk, 10), "fuzz": (fuzz, 10_000),
             "mlflow": (mlflow, 8), "soak": (soak, 100)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser("python tests/endurance.py", description=__doc__)
    parser.add_argument("exercise", choices=EXERCISES)
    parser.add_argument("--count", type=int, help="how often (kills, files, cases, writers, runs)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    function, count = EXERCISES[options.exercise]
    folder = Path(tempfile.mkdtemp(prefix=f"endurance-{options.exercise}-"))
    fine = function(folder, options.count or count, options.seed)
    if fine:
        shutil.rmtree(folder)
    else:
        print(f"what was left: {folder}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
