"""MLflow as a mirror of the run store: experiment = setting, one flat run per run, one summary run per grid.

Values go in batches. Trouble with the server is printed once and never stops a training run; what the mirror lacks is
still in the files. A run that the store does not know (any more) is logged again, whatever its folder says.
Passwords in the store's address are used and never written (:mod:`benchmarks.execution.addresses`).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from benchmarks.config.configuration import Config
from benchmarks.execution import artifacts
from benchmarks.execution.addresses import reason, shown
from benchmarks.execution.tracked_scores import gains, means
from results import Damaged, Run
from results import schema as names
from results.records import State, labelled

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

NONE = "none"
POINTS = 500  # at most so many points a series
_FILE = "mlflow.json"
_DATABASE, _ARTIFACTS = "mlflow.db", "mlartifacts"  # below the output folder
_NAME = re.compile(r"[\w-]{1,64}")  # of an MLflow run
_KEY = 250  # characters of a series's name that every server takes
_TAG = 5000  # characters of a tag that every server takes
_SEARCHED = 500  # runs that one search asks for


def default_uri(output: Path) -> str:
    """The embedded store of an output folder."""
    path = str((output / _DATABASE).resolve())
    if not set("?%") & set(path):
        return f"sqlite:///{path}"
    from sqlalchemy.engine import URL

    # encoded; with the driver's name, as MLflow takes what stands behind a bare sqlite:/// for the path itself
    return URL.create("sqlite+pysqlite", database=path).render_as_string(hide_password=False)


def _embedded(uri: str) -> bool:
    return uri.startswith(("sqlite:", "sqlite+"))


def reachable_by_jobs(uri: str) -> bool:
    """Whether processes of other machines may log to the store: a server, and no password in its address."""
    return uri.startswith(("http:", "https:")) and shown(uri) == uri


def _client(uri: str) -> MlflowClient:
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
        known = client.get_experiment_by_name(experiment)
        if known is not None and known.lifecycle_stage == "deleted":
            return f"the experiment {experiment} was deleted there; mlflow experiments restore brings it back"
        if known is None:
            place = (output.resolve() / _ARTIFACTS).as_uri() if _embedded(uri) else None
            client.create_experiment(experiment, place)
        elif _embedded(uri) and uri == default_uri(output):
            database, place = output.resolve() / _DATABASE, (output.resolve() / _ARTIFACTS).as_uri()
            if artifacts.relocate(database, experiment, place):
                print(f"note: {output} was moved or copied; its MLflow store finds the artifacts where they are now.")
    except Exception as error:  # whatever a server or a database can raise; training goes on without the mirror
        return reason(error, uri)
    return None


def viewer(uri: str) -> str:
    """How to look at the store: a command for a shell where it is a database, else the server's address."""
    if uri.startswith(("http:", "https:")):
        return shown(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(shown(uri))}"


class Tracker:
    """Mirrors one run. Every method is safe to call whatever the state of the server.

    Args:
        uri: of the tracking server or store; ``"none"`` makes every method do nothing, without importing MLflow.
        run: the folder to mirror.
        config: its configuration.
        grid: the command that the run is part of.
        trial: whether it is one of a search: its tag ``kind`` says so, and its weights stay where they are.
    """

    def __init__(self, uri: str, run: Run, config: Config, grid: str, trial: bool = False):
        self.uri, self.run, self.config, self.grid, self.trial = uri, run, config, grid, trial
        self.working = uri != NONE
        self._client: MlflowClient  # since start()
        self._id = ""
        self._logged: dict[str, int] = {}  # the last step of every series that the server has

    @contextmanager
    def _guarded(self) -> Generator[None]:
        try:
            yield
        except Exception as error:  # see module docstring: the mirror must never stop the run
            self.working = False
            reached = max(self._logged.values(), default=0)
            print(
                f"warning: MLflow at {shown(self.uri)} failed ({reason(error, self.uri)}) after step {reached}; "
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
            self._id = _noted(self.run, self.uri)
            if self._id and _existing(self._client, self.config.setting, [self._id]):
                self._client.update_run(self._id, status="RUNNING")
                self._logged = self._last_steps()
                self._remember()
                return
            experiment = _experiment_id(self._client, self.config.setting)
            created = self._client.create_run(experiment, tags=self._tags(), run_name=self._title())
            self._id = created.info.run_id
            self._remember()
            self._log(params=_flat(self.config.model_dump(mode="json")))

    def _title(self) -> str:
        """``art:tau=1 s0 nafnet``: what runs differ in stands first, as MLflow cuts names at their end."""
        terms = self.config.terms
        words = [
            *filter(None, [terms.task]), *["tuned"] * bool(terms.tuned), *["equal cost"] * (terms.budget == "cost"),
            *[f"trial, lr {self.config.train.lr:.3g}"] * self.trial,
        ]  # fmt: skip
        return f"{labelled(terms.tuned or self.config.strategy, words)} s{self.config.seed} {self.config.baseline}"

    def _last_steps(self) -> dict[str, int]:
        """Of every series, the last step that the server has: a killed process may have logged more than it noted."""
        series = self._client.get_run(self._id).data.metrics
        histories = {key: self._client.get_metric_history(self._id, key) for key in series}
        return {key: max(point.step for point in history) for key, history in histories.items() if history}

    def _tags(self) -> dict[str, str]:
        environment = self.run.environment
        tags = {
            "grid": self.grid,
            "baseline": self.config.baseline,
            "strategy": self.config.strategy,
            "seed": str(self.config.seed),
            "size": self.config.size,
            "data": self.config.data.source,
            "hash": self.config.hash,
            "folder": str(self.run.folder),
            "commit": str(environment.commit),
            "device": str(environment.device),
            **({"kind": "trial"} if self.trial else {}),
        }
        return {key: value[:_TAG] for key, value in tags.items()}

    def _remember(self, complete: bool = False) -> None:
        self.run.write_json(_FILE, {"uri": shown(self.uri), "run_id": self._id, "complete": complete})

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

    def rhythm(self, table: pd.DataFrame) -> None:
        """Log the rows that are new since the last call, thinned to :data:`POINTS` a series."""
        if not self.working or table.empty:
            return
        with self._guarded():
            self._log(
                (_key(f"{column}/{row['task']}"), row[column], int(row["step"]))
                for row in thinned(table, self.config.train.steps).to_dict("records")
                for column in ("loss", "running", "pace", "weight")
            )

    def curve(self, table: pd.DataFrame) -> None:
        """Log the points of the validation curve that are new since the last call, and their average over tasks."""
        if not self.working or table.empty:
            return
        with self._guarded():
            average = table.groupby("step", as_index=False)["psnr"].mean().assign(task="average")
            self._log(
                (_key(f"validation/{row['task']}"), row["psnr"], int(row["step"]))
                for part in (table, average)
                for row in part.to_dict("records")
            )

    def finish(self, state: State) -> None:
        """Log scores and files, and close the MLflow run as finished or failed.

        Where the server failed on the way it is tried once more, with everything that it lacks.
        """
        if self.uri == NONE:
            return
        if not self.working:
            self.working = True
            self.start()
            self.rhythm(self.run.rhythm())
            self.curve(self.run.curve())
        if not self.working:
            return
        with self._guarded():
            steps = self.config.train.steps
            if record := self.run.record:
                self._log((_key(key), value, steps) for key, value in means(self.run, record).items())
            files = (names.CONFIG, names.ENVIRONMENT, names.DATA, names.RHYTHM, names.CURVE, names.SCORES)
            beside, folder = _embedded(self.uri), self.run.folder
            whole = [*files, *[names.CHECKPOINT] * (not self.trial)]
            artifacts.put(self._client, self._id, [folder / name for name in whole], linked=beside)
            artifacts.put(self._client, self._id, sorted(folder.glob("samples/*")), "samples", linked=beside)
            self._client.set_terminated(self._id, "FINISHED" if state == State.DONE else "FAILED")
            self._remember(complete=True)


def thinned(table: pd.DataFrame, steps: int) -> pd.DataFrame:
    """At most :data:`POINTS` steps of a rhythm, evenly spread over the run's; the same however often it is asked."""
    present = table["step"].unique()
    slots = -(-present * POINTS // steps)  # a slot's first step stands for it
    chosen = {int(step) for step, slot, before in zip(present, slots, [-1, *slots], strict=False) if slot != before}
    return table[table["step"].isin(chosen)]


def mirror(uri: str, runs: Iterable[Run], grid: str, trials: bool = False) -> None:
    """Log what the store lacks of runs that have ended; where the server fails, the rest is left for later.

    What the runs' folders say is compared with the store, in one search for all of them: it may have been lost or
    replaced by another of the same address, or runs deleted in it.
    """
    if uri == NONE:
        return
    intact = [run for run in runs if not run.damage()]  # the report names the others
    ended = [
        (run, record.config)
        for run in intact
        if run.status.state in (State.DONE, State.FAILED) and (record := run.record)
    ]
    noted = [_noted(run, uri, complete=True) for run, _ in ended]
    try:
        existing = _existing(_client(uri), ended[0][1].setting, [*filter(None, noted)]) if ended else set()
    except Exception as error:  # as everywhere in the mirror
        print(f"warning: MLflow at {shown(uri)} failed ({reason(error, uri)}).", file=sys.stderr)
        return
    for run, config in (end for end, name in zip(ended, noted, strict=True) if name not in existing):
        tracker = Tracker(uri, run, Config.model_validate(config.content()), grid, trials)
        tracker.start()
        tracker.rhythm(run.rhythm())
        tracker.curve(run.curve())
        if tracker.working:
            tracker.finish(run.status.state)
        if not tracker.working:
            return


def _noted(run: Run, uri: str, complete: bool = False) -> str:
    """The MLflow run that mirrors the run in this store (if ``complete``: all of it), as far as its folder says."""
    try:
        known = run.read_json(_FILE)
    except Damaged:
        known = {}
    there = str(known.get("uri"))
    if not known or (shown(there) != shown(uri) and not (_embedded(there) and _embedded(uri))):
        return ""
    # an embedded store may have been moved with its folder; whether it has the run, it is asked itself
    if known["uri"] != shown(uri):  # written before passwords were left out
        run.write_json(_FILE, known | {"uri": shown(uri)})
    name = known.get("run_id")
    whole = known.get("complete", "step" in known)  # "step": of an older version
    return name if isinstance(name, str) and _NAME.fullmatch(name) and (whole or not complete) else ""


def _experiment_id(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        raise LookupError(f"there is no experiment {name}")
    return experiment.experiment_id


def _existing(client: MlflowClient, experiment: str, wanted: Sequence[str]) -> set[str]:
    """Those of the wanted MLflow runs that the store has and that are not deleted."""
    found: set[str] = set()
    place = client.get_experiment_by_name(experiment)
    if place is None:
        return found
    for start in range(0, len(wanted), _SEARCHED):
        listed = ", ".join(f"'{name}'" for name in wanted[start : start + _SEARCHED])
        runs = client.search_runs([place.experiment_id], f"attributes.run_id IN ({listed})", max_results=_SEARCHED)
        found |= {run.info.run_id for run in runs}
    return found


def log_summary(uri: str, experiment: str, grid: str, files: Iterable[Path]) -> str | None:
    """One summary run of a grid that carries its report; returns what went wrong, or ``None``."""
    if uri == NONE:
        return None
    try:
        client = _client(uri)
        identifier = _experiment_id(client, experiment)
        tags = {"grid": grid[:_TAG], "kind": "summary"}
        for run in client.search_runs([identifier], "tags.kind = 'summary'"):
            if run.data.tags.get("grid") == tags["grid"]:  # the same command again: its summary is renewed
                created = run
                break
        else:
            created = client.create_run(identifier, tags=tags, run_name="summary")
        artifacts.put(client, created.info.run_id, files, "report", linked=_embedded(uri))
        client.set_terminated(created.info.run_id)
    except Exception as error:  # the report is on disk; its mirror is not worth a failure
        return reason(error, uri)
    return None


def log_gains(uri: str, runs: Iterable[Run]) -> None:
    """Log every run's gain over mix, which is known once both have ended; a number that is there already stays."""
    if uri == NONE:
        return
    try:
        client = _client(uri)
        for run, found in gains([run for run in runs if not run.damage() and run.status.state == State.DONE]):
            name, record = _noted(run, uri), run.record
            if not name or record is None or not _existing(client, record.config.setting, [name]):
                continue
            known = client.get_run(name).data.metrics
            for key, value in found.items():
                if not math.isclose(known.get(_key(key), math.nan), value, abs_tol=1e-9):
                    client.log_metric(name, _key(key), value, step=record.config.train.steps or 0)
    except Exception as error:  # as everywhere in the mirror
        print(f"warning: MLflow at {shown(uri)} failed ({reason(error, uri)}).", file=sys.stderr)


def _key(name: str) -> str:
    """A name of a series that MLflow takes; names from outside have other characters too. Of a long one the end is a
    digest, so that two that differ stay two."""
    key = "/".join(re.sub(r"[^\w. :-]|^\.+$", "_", part) or "_" for part in name.split("/"))
    if len(key) <= _KEY:
        return key
    return f"{key[: _KEY - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _flat(content: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value)
    return flat
