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
        self._step = 0

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # see module docstring: the mirror must never stop the run
            self.working = False
            reason = str(error).splitlines()[0][:200] if str(error) else ""
            print(
                f"warning: MLflow at {self.uri} failed ({type(error).__name__}: {reason}); "
                f"{self.run.folder} goes on without it and stays complete.",
                file=sys.stderr,
            )

    def start(self) -> None:
        """Open the MLflow run, or the one that an interrupted training left open."""
        if not self.working:
            return
        with self._guarded():
            self._client = _client(self.uri)
            known = self.run._json(_FILE) or {}
            if known.get("uri") == self.uri:
                self._id, self._step = known["run_id"], known["step"]
                self._client.update_run(self._id, status="RUNNING")
                return
            experiment = self._client.get_experiment_by_name(self.config.setting)
            title = f"{self.config.baseline} {self.config.strategy} seed {self.config.seed}"
            created = self._client.create_run(experiment.experiment_id, tags=self._tags(), run_name=title)
            self._id = created.info.run_id
            self._remember()
            self._log(params=_flat(self.config.model_dump(mode="json")))

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

    def _remember(self) -> None:
        self.run.write_json(_FILE, {"uri": self.uri, "run_id": self._id, "step": self._step})

    def _log(self, metrics: Iterable[tuple[str, float, int]] = (), params: dict[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        entities = [Metric(key, value, now, step) for key, value, step in metrics if value == value]
        for start in range(0, len(entities), 1000):  # the server's limit a call
            self._client.log_batch(self._id, metrics=entities[start : start + 1000])
        pairs = [Param(key, value[:6000]) for key, value in (params or {}).items()]
        for start in range(0, len(pairs), 100):
            self._client.log_batch(self._id, params=pairs[start : start + 100])

    def rhythm(self, table: Any) -> None:
        """Log the rows that are new since the last call, thinned to :data:`POINTS` a series."""
        if not self.working or table.empty:
            return
        every = max(1, self.config.train.steps // POINTS)
        fresh = table[(table["step"] > self._step) & ((table["step"] % every == 0) | (table["step"] == 1))]
        with self._guarded():
            self._log(
                (f"{column}/{row.task}", getattr(row, column), int(row.step))
                for row in fresh.itertuples()
                for column in ("loss", "running", "pace", "weight")
            )
            self._step = int(table["step"].max())
            self._remember()

    def finish(self, state: str) -> None:
        """Log scores and files, and close the MLflow run as finished or failed."""
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
