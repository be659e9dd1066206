"""MLflow as a mirror of the run store: experiment = setting, one flat run per run, one summary run per grid.

Values go in batches. Trouble with the server is told once and never stops a training run; what the mirror lacks is
still in the files.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.config import Config
from results import Run
from results import schema as names

NONE = "none"
POINTS = 500  # at most so many points a series
_FILE = "mlflow.json"


def default_uri(output: Path) -> str:
    """The embedded store of an output folder."""
    return f"sqlite:///{(output / 'mlflow.db').resolve()}"


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default waits minutes for a server that is gone
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # seconds for one that hangs
    os.environ.setdefault(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # a line a run, in the middle of the overview
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # not a word of the tables it creates
    logging.getLogger("alembic").setLevel(logging.ERROR)
    from mlflow import MlflowClient

    return MlflowClient(uri)


def prepare(uri: str, experiment: str, output: Path) -> str | None:
    """Create store and experiment, in one process before others write: a fresh SQLite file cannot take several.

    Returns:
        What went wrong, or ``None``.
    """
    try:
        client = _client(uri)
        if client.get_experiment_by_name(experiment) is None:
            embedded = uri.startswith("sqlite:")
            client.create_experiment(experiment, (output.resolve() / "mlartifacts").as_uri() if embedded else None)
    except Exception as error:  # whatever a server or a database can raise; training goes on without the mirror
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return None


class Tracker:
    """Mirrors one run. Every method is safe to call whatever the state of the server.

    Args:
        uri: of the tracking server or store; ``"none"`` makes every method do nothing, without importing MLflow.
        run: the folder to mirror.
        config: its configuration.
        grid: the command that the run is part of.
    """

    def __init__(self, uri: str, run: Run, config: Config, grid: str):
        self.uri, self.run, self.config, self.grid = uri, run, config, grid
        self.working = uri != NONE
        self._client: Any = None
        self._id = ""
        self._logged: dict[str, int] = {}  # the last step of every series that the server has

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # see module docstring: the mirror must never stop the run
            self.working = False
            reason = str(error).splitlines()[0][:200] if str(error) else ""
            reached = max(self._logged.values(), default=0)
            print(
                f"warning: MLflow at {self.uri} failed ({type(error).__name__}: {reason}) after step {reached}; "
                f"{self.run.folder} goes on without it and stays complete. What the mirror lacks is logged at the "
                "run's end, or by the same command later.",
                file=sys.stderr,
            )

    def start(self) -> None:
        """Open the MLflow run, or the one that an interrupted training left open."""
        if not self.working:
            return
        with self._guarded():
            self._client = _client(self.uri)
            known = self.run.read_json(_FILE)
            if known.get("uri") == self.uri:
                self._id = known["run_id"]
                self._client.update_run(self._id, status="RUNNING")
                self._logged = self._last_steps()
                self._remember()
                return
            experiment = self._client.get_experiment_by_name(self.config.setting)
            title = f"{self.config.baseline} {self.config.strategy} seed {self.config.seed}"
            created = self._client.create_run(experiment.experiment_id, tags=self._tags(), run_name=title)
            self._id = created.info.run_id
            self._remember()
            self._log(params=_flat(self.config.model_dump(mode="json")))

    def _last_steps(self) -> dict[str, int]:
        """Of every series, the last step that the server has: a killed process may have logged more than it noted."""
        series = self._client.get_run(self._id).data.metrics
        histories = {key: self._client.get_metric_history(self._id, key) for key in series}
        return {key: max(point.step for point in history) for key, history in histories.items() if history}

    def _tags(self) -> dict[str, str]:
        environment = self.run.environment
        return {
            "grid": self.grid,
            "baseline": self.config.baseline,
            "strategy": self.config.strategy,
            "seed": str(self.config.seed),
            "size": self.config.size,
            "data": self.config.data.source,
            "hash": self.config.identity()["hash"],
            "folder": str(self.run.folder),
            "commit": str(environment.get("commit")),
            "device": str(environment.get("device")),
        }

    def _remember(self, complete: bool = False) -> None:
        self.run.write_json(_FILE, {"uri": self.uri, "run_id": self._id, "complete": complete})

    def _log(self, metrics: Iterable[tuple[str, float, int]] = (), params: dict[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        fresh = (point for point in metrics if point[2] > self._logged.get(point[0], -1))
        entities = [Metric(key, value, now, step) for key, value, step in fresh if value == value]
        for start in range(0, len(entities), 1000):  # the server's limit a call
            batch = entities[start : start + 1000]
            self._client.log_batch(self._id, metrics=batch)
            self._logged |= {metric.key: metric.step for metric in batch}
        pairs = [Param(key, value[:6000]) for key, value in (params or {}).items()]
        for start in range(0, len(pairs), 100):
            self._client.log_batch(self._id, params=pairs[start : start + 100])

    def rhythm(self, table: Any) -> None:
        """Log the rows that are new since the last call, thinned to :data:`POINTS` a series."""
        if not self.working or table.empty:
            return
        with self._guarded():
            self._log(
                (f"{column}/{row.task}", getattr(row, column), int(row.step))
                for row in thinned(table, self.config.train.steps).itertuples()
                for column in ("loss", "running", "pace", "weight")
            )

    def finish(self, state: str) -> None:
        """Log scores and files, and close the MLflow run as finished or failed.

        Where the server failed on the way it is tried once more, with everything that it lacks.
        """
        if self.uri == NONE:
            return
        if not self.working:
            self.working = True
            self.start()
            self.rhythm(self.run.rhythm())
        if not self.working:
            return
        with self._guarded():
            scores = self.run.scores()
            means = scores.groupby(["metric", "dataset"])[["value", "input_value"]].mean()
            steps = self.config.train.steps
            self._log((f"{metric}/{dataset}", row["value"], steps) for (metric, dataset), row in means.iterrows())
            self._log((f"{metric}_input/{name}", row["input_value"], steps) for (metric, name), row in means.iterrows())
            files = (names.CONFIG, names.ENVIRONMENT, names.DATA, names.RHYTHM, names.SCORES, names.CHECKPOINT)
            for path in [self.run.folder / name for name in files]:
                if path.exists():
                    self._client.log_artifact(self._id, str(path))
            if (self.run.folder / "samples").is_dir():
                self._client.log_artifacts(self._id, str(self.run.folder / "samples"), "samples")
            self._client.set_terminated(self._id, "FINISHED" if state == "done" else "FAILED")
            self._remember(complete=True)


def thinned(table: Any, steps: int) -> Any:
    """At most :data:`POINTS` steps of a rhythm, evenly spread over the run's; the same however often it is asked."""
    present = table["step"].unique()
    slots = -(-present * POINTS // steps)  # a slot's first step stands for it
    kept = {int(step) for step, slot, before in zip(present, slots, [-1, *slots], strict=False) if slot != before}
    return table[table["step"].isin(kept)]


def mirror(uri: str, runs: Iterable[Run], grid: str) -> None:
    """Log what the mirror lacks of runs that have ended; where the server fails, the rest is left for later."""
    for run in runs:
        known = run.read_json(_FILE)
        if uri == NONE or run.status.state not in ("done", "failed") or not run.config:
            continue
        if known.get("uri") == uri and known.get("complete", "step" in known):  # "step": of an older version
            continue
        tracker = Tracker(uri, run, Config.model_validate(run.config), grid)
        tracker.start()
        tracker.rhythm(run.rhythm())
        if tracker.working:
            tracker.finish(run.status.state)
        if not tracker.working:
            return


def log_summary(uri: str, experiment: str, grid: str, files: Iterable[Path]) -> str | None:
    """One summary run of a grid that carries its report; returns what went wrong, or ``None``."""
    if uri == NONE:
        return None
    try:
        client = _client(uri)
        found = client.get_experiment_by_name(experiment)
        tags = {"grid": grid, "kind": "summary"}
        for run in client.search_runs([found.experiment_id], "tags.kind = 'summary'"):
            if run.data.tags.get("grid") == grid:  # the same command again: its summary is renewed
                created = run
                break
        else:
            created = client.create_run(found.experiment_id, tags=tags, run_name="summary")
        for path in files:
            client.log_artifact(created.info.run_id, str(path), "report")
        client.set_terminated(created.info.run_id)
    except Exception as error:  # the report is on disk; its mirror is not worth a failure
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return None


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat
