"""The MLflow mirror when its server fails or forgets, what it holds of a long run, and what it never writes."""

import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.execution import addresses, tracking
from benchmarks.execution.tracking import POINTS, Tracker, mirror, thinned
from results import Run
from results.records import DataRecord, State, Status
from results.schema import SCORE_COLUMNS

TASKS = ["denoise_15", "derain"]


def rhythm(steps):
    return pd.DataFrame(
        [(step, task, 0.1, 0.1, 1.0, 0.5) for step in steps for task in TASKS],
        columns=["step", "task", "loss", "running", "pace", "weight"],
    )


def curve(steps):
    return pd.DataFrame(
        [(step, task, 5 * step, 1.0, 20.0) for step in steps for task in TASKS],
        columns=["step", "task", "images", "seconds", "psnr"],
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An empty store: MLflow takes seconds to make one."""
    folder = tmp_path_factory.mktemp("store")
    assert tracking.prepare(tracking.default_uri(folder), "three_task", folder) is None
    return folder / "mlflow.db"


@pytest.fixture
def run(tmp_path, store):
    shutil.copy(store, tmp_path / "mlflow.db")
    config = resolve(load("three_task"), "transweather", "mix", overrides=["train.steps=40"])
    run = Run(tmp_path / "run")
    run.write_json("config.json", {"config": config.model_dump(mode="json")})
    return run, config, tracking.default_uri(tmp_path)


def points(uri, run):
    from mlflow import MlflowClient

    client, name = MlflowClient(uri), run.read_json("mlflow.json")["run_id"]
    steps = {key: [m.step for m in client.get_metric_history(name, key)] for key in client.get_run(name).data.metrics}
    return steps, client.get_run(name).info.status


def mirrored(uri, run):
    mirror(uri, [run], "grid")
    return run.read_json("mlflow.json")["run_id"]


def test_a_run_that_the_store_has_forgotten_is_logged_again(run, tmp_path, store):
    from mlflow import MlflowClient

    run, _, uri = run
    run.write_rhythm(rhythm([1]))
    run.write_status(Status(State.DONE))
    first = mirrored(uri, run)
    assert mirrored(uri, run) == first
    MlflowClient(uri).delete_run(first)
    second = mirrored(uri, run)
    assert second != first and mirrored(uri, run) == second
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore._engine_map.clear()  # this process must open the file anew
    shutil.copy(store, tmp_path / "mlflow.db")  # another store at the same place
    third = mirrored(uri, run)
    assert third != second and points(uri, run)[1] == "FINISHED"


SECRET = "hush!hush"
ADDRESSES = [
    f"http://user:{SECRET}@127.0.0.1:9", f"https://{SECRET}@host/x", f"postgresql://u:a/{SECRET}@b@host:5/db",
    f"postgresql+psycopg2://host/db?sslmode=require&password={SECRET}", f"https://host/api?token={SECRET}#x",
    f"mysql://u:p%40{SECRET}@[::1]:3306/db", f"mssql+pyodbc:///?odbc_connect=PWD%3D{SECRET}", f"http://u:{SECRET}?@h/x@y",
]  # fmt: skip


@pytest.mark.parametrize("uri", ADDRESSES)
def test_passwords_of_the_store_are_written_nowhere(uri, run, monkeypatch, capfd):
    run, config, _ = run
    error = OSError(f"request to {uri} failed: {uri.partition('://')[2]}, {SECRET} and hush%21hush are wrong")

    class Client:
        def __getattr__(self, name):
            raise error

    monkeypatch.setattr(tracking, "_client", lambda uri: Client())
    tracker = Tracker(uri, run, config, "grid")
    tracker._id = "x" * 32
    tracker._remember()
    tracker.start()
    run.write_status(Status(State.DONE))
    mirror(uri, [run], "grid")
    print(tracking.prepare(uri, "three_task", run.folder), tracking.log_summary(uri, "three_task", "grid", []))
    print(tracking.viewer(uri))
    told = "".join(capfd.readouterr())
    written = "".join(path.read_text() for path in run.folder.iterdir() if path.suffix != ".db")
    assert "OSError: request to" in told and "***" in told and '"run_id"' in written
    assert "hush" not in told + written
    run.write_json("mlflow.json", {"uri": uri, "run_id": "x" * 32, "complete": True})  # of an older version
    assert (
        tracking._noted(run, uri, complete=True) == "x" * 32 and "hush" not in (run.folder / "mlflow.json").read_text()
    )


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "https://host:5000/me@x", "sqlite:////tmp/a b@c/x.db", "databricks"]
)
def test_addresses_without_secrets_are_shown_as_they_are(uri):
    assert addresses.shown(uri) == uri
    assert addresses.hidden(f"no answer from {uri} in 3 s") == f"no answer from {uri} in 3 s"


NAMES = ["a?b", "p%20q", "x#y", "s p&;'\"é$`", "m?%41#x", "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_the_store_lies_in_the_output_folder_whatever_its_name(name, tmp_path, store):
    output = tmp_path / "top" / name / "out"
    output.mkdir(parents=True)
    shutil.copy(store, output / "mlflow.db")
    uri = tracking.default_uri(output)
    assert tracking.prepare(uri, "three_task", output) is None  # the experiment is found, or 5 s would go by
    assert [path.relative_to(tmp_path / "top").parts[0] for path in (tmp_path / "top").iterdir()] == [name]
    assert shlex.split(tracking.viewer(uri)) == ["mlflow", "ui", "--backend-store-uri", uri]


def test_names_of_series_are_what_mlflow_takes():
    from mlflow.utils.validation import _validate_metric_name

    for name in [
        "psnr/SOTS outdoor",
        "psnr/a(b)=c",
        "psnr/../x",
        "loss/",
        "loss//x",
        "psnr/\33[2J",
        "/psnr",
        "x" * 400,
        ".",
    ]:
        _validate_metric_name(tracking._key(name))
    assert tracking._key("psnr/SOTS outdoor") == "psnr/SOTS outdoor"


def test_a_server_that_fails_loses_and_doubles_no_point(run, tmp_path, monkeypatch, capsys):
    run, config, uri = run
    assert tracking.prepare(uri, "three_task", tmp_path) is None
    tracker = Tracker(uri, run, config, "grid")
    tracker.start()
    tracker.rhythm(rhythm(range(1, 11)))
    tracker.curve(curve([2, 4]))
    with monkeypatch.context() as patch:
        patch.setattr(tracker._client, "log_batch", lambda *_, **__: 1 / 0)
        tracker.rhythm(rhythm(range(1, 21)))
        tracker.rhythm(rhythm(range(1, 31)))
        told = capsys.readouterr().err
        assert told.count("failed (ZeroDivisionError: division by zero) after step 10") == 1
    run.write_rhythm(rhythm(range(1, 41)))
    run.write_curve(curve(range(2, 41, 2)))
    tracker.finish(State.DONE)  # the server is back
    wanted = {
        f"{column}/{task}": list(range(1, 41)) for column in ("loss", "running", "pace", "weight") for task in TASKS
    }
    wanted |= {f"validation/{task}": list(range(2, 41, 2)) for task in (*TASKS, "average")}
    assert points(uri, run) == (wanted, "FINISHED")
    again = Tracker(uri, run, config, "grid")  # as after kill -9: the process did not note how far it had come
    again.start()
    again.rhythm(rhythm(range(1, 41)))
    run.write_status(Status(State.DONE))
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


def test_names_that_differ_behind_the_longest_name_are_two_series():
    names = ["psnr/" + "x" * 300 + end for end in "ab"]
    assert len({tracking._key(name) for name in names}) == 2 and all(len(tracking._key(name)) <= 250 for name in names)


def scored(run, config, strategy, values, extra=()):
    """A finished run with two images of each test set."""
    config = config.model_copy(update={"strategy": strategy})
    record = {"config": config.model_dump(mode="json"), "pair": "one", "hash": config.hash}
    run.write_json("config.json", record)
    rows = [
        (dataset, "derain", image, "airnet_rgb", "psnr", value + image, 20.0, "")
        for dataset, value in values.items() for image in (-1, 1)
    ]  # fmt: skip
    rows += [(dataset, *row[1:3], "psnr_y", *row[4:]) for dataset in values for row in rows[:1]]  # another protocol
    run.write_scores(pd.DataFrame(rows, columns=SCORE_COLUMNS))
    run.write_data([DataRecord(role="test", dataset=name, task="derain") for name in values if name not in extra])
    run.write_status(Status(State.DONE))
    return run


def test_the_average_and_the_gain_over_mix_are_metrics_and_files_are_there_once(run, tmp_path):
    from mlflow import MlflowClient

    one, config, uri = run
    mix = scored(one, config, "mix", {"A": 20.0, "B": 30.0, "More": 90.0}, extra=["More"])
    art = scored(Run(tmp_path / "art"), config, "art", {"A": 21.0, "B": 33.0, "More": 80.0}, extra=["More"])
    (art.folder / "samples").mkdir()
    (art.folder / "samples/A.png").write_bytes(b"picture")
    assert tracking.prepare(uri, "three_task", tmp_path) is None
    mirror(uri, [mix, art], "grid")
    tracking.log_gains(uri, [mix, art])
    tracking.log_gains(uri, [mix, art])
    client, name = MlflowClient(uri), art.read_json("mlflow.json")["run_id"]
    metrics = client.get_run(name).data.metrics
    assert (metrics["psnr/average"], metrics["psnr/More"], metrics["psnr_input/average"]) == (27.0, 80.0, 20.0)
    assert (metrics["gain/average"], metrics["gain/A"], metrics["gain/B"], metrics["gain/More"]) == (2, 1, 3, -10)
    assert len(client.get_metric_history(name, "gain/average")) == 1
    assert not any(
        key.startswith("gain") for key in client.get_run(mix.read_json("mlflow.json")["run_id"]).data.metrics
    )
    assert client.get_run(name).info.run_name == "art s0 transweather"
    place = Path(client.download_artifacts(name, ""))
    for shown in ("scores.csv", "samples/A.png"):
        assert (place / shown).samefile(art.folder / shown)


def test_a_moved_output_folder_keeps_its_store_and_its_artifacts(run, tmp_path, store):
    from mlflow import MlflowClient

    before, after = tmp_path / "100% one", tmp_path / "two"
    before.mkdir()
    shutil.copy(store, before / "mlflow.db")
    _, config, _ = run
    done = scored(Run(before / "runs/x"), config, "art", {"A": 21.0})
    assert tracking.prepare(tracking.default_uri(before), "three_task", before) is None
    first = mirrored(tracking.default_uri(before), done)
    before.rename(after)
    uri, done = tracking.default_uri(after), Run(after / "runs/x")
    assert tracking.prepare(uri, "three_task", after) is None
    assert mirrored(uri, done) == first  # not logged a second time
    shown = Path(MlflowClient(uri).download_artifacts(first, "")) / "scores.csv"
    assert shown.is_relative_to(after) and shown.samefile(done.folder / "scores.csv")
