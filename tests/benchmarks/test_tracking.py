"""The MLflow mirror when its server fails, and what it holds of a long run."""

import pandas as pd
import pytest

from benchmarks import tracking
from benchmarks.config import resolve
from benchmarks.tracking import POINTS, Tracker, mirror, thinned
from results import Run

TASKS = ["denoise_15", "derain"]


def rhythm(steps):
    return pd.DataFrame(
        [(step, task, 0.1, 0.1, 1.0, 0.5) for step in steps for task in TASKS],
        columns=["step", "task", "loss", "running", "pace", "weight"],
    )


@pytest.fixture
def run(tmp_path):
    config = resolve("three_task", "transweather", "mix", overrides=["train.steps=40"])
    run = Run(tmp_path / "run")
    run.write_json("config.json", {"config": config.model_dump(mode="json")})
    return run, config, tracking.default_uri(tmp_path)


def points(uri, run):
    from mlflow import MlflowClient

    client, name = MlflowClient(uri), run.read_json("mlflow.json")["run_id"]
    steps = {key: [m.step for m in client.get_metric_history(name, key)] for key in client.get_run(name).data.metrics}
    return steps, client.get_run(name).info.status


def test_a_server_that_fails_loses_and_doubles_no_point(run, tmp_path, monkeypatch, capsys):
    run, config, uri = run
    assert tracking.prepare(uri, "three_task", tmp_path) is None
    tracker = Tracker(uri, run, config, "grid")
    tracker.start()
    tracker.rhythm(rhythm(range(1, 11)))
    with monkeypatch.context() as patch:
        patch.setattr(tracker._client, "log_batch", lambda *_, **__: 1 / 0)
        tracker.rhythm(rhythm(range(1, 21)))
        tracker.rhythm(rhythm(range(1, 31)))
        told = capsys.readouterr().err
        assert told.count("failed (ZeroDivisionError: division by zero) after step 10") == 1
    run.write_rhythm(rhythm(range(1, 41)))
    tracker.finish("done")  # the server is back
    wanted = {
        f"{column}/{task}": list(range(1, 41)) for column in ("loss", "running", "pace", "weight") for task in TASKS
    }
    assert points(uri, run) == (wanted, "FINISHED")
    again = Tracker(uri, run, config, "grid")  # as after kill -9: the process did not note how far it had come
    again.start()
    again.rhythm(rhythm(range(1, 41)))
    run.write_status("done")
    mirror(uri, [run], "grid")
    mirror(uri, [run], "grid")
    assert points(uri, run) == (wanted, "FINISHED") and run.read_json("mlflow.json")["complete"]


@pytest.mark.parametrize(("steps", "every"), [(6, 1), (999, 1), (71_000, 100), (600_000, 100)])
def test_points_of_a_series_are_bounded_and_the_same_however_they_come(steps, every):
    table = rhythm([1, *range(every if every > 1 else 2, steps + 1, every)])
    kept = thinned(table, steps)["step"].unique()
    assert min(len(table) / 2, POINTS) * 0.99 <= len(kept) <= POINTS
    half = thinned(table[table["step"] <= steps // 2], steps)["step"].unique()
    assert list(half) == [step for step in kept if step <= steps // 2]
