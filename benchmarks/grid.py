"""The grid: setting x baselines x strategies x seeds, each run once, several at a time."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import art
import baselines
from benchmarks import processes, settings
from benchmarks.config import Config
from benchmarks.errors import UserError
from benchmarks.locks import Busy, locked
from benchmarks.resuming import resumable
from benchmarks.workers import run_in_workers
from results import ReadOnlyRun, Run, Status
from results.schema import CONFIG, DATA, ENVIRONMENT, PREVIOUS, PROGRESS

_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names that its folders cannot have
LOOKED_AT = 32  # images of a training set, at most about, whose pixels are compared when a run goes on


@dataclass(frozen=True)
class Plan:
    """One run to be done: its configuration and folder."""

    config: Config
    folder: Path

    @property
    def run(self) -> Run:
        return ReadOnlyRun(self.folder) if processes.is_follower() else Run(self.folder)

    @property
    def title(self) -> str:
        return f"{baselines.describe(self.config.baseline)['name']} {self.config.strategy} seed {self.config.seed}"


def plan(config: Config, output: Path) -> Plan:
    """Where the run of that configuration lives below ``output``."""
    slug = re.sub(r"[^\w.=+-]+", ",", config.strategy)
    if slug.endswith(".") or _OF_WINDOWS.fullmatch(slug):
        slug += ","
    name = f"{config.seed}-{config.identity()['hash']}"
    return Plan(config, output / "runs" / config.setting / config.baseline / slug / name)


def state(plan: Plan) -> str:
    """``done``, ``to score`` (trained, other scores wanted), ``resume``, ``failed`` or ``new``."""
    found = plan.run.status.state
    if found == "done":
        return "done" if not _unscored(plan) else "to score"
    if found == "failed":
        return "failed"
    return "resume" if resumable(plan.folder) else "new"


def _unscored(plan: Plan) -> bool:
    """Whether a protocol, metric or further test set asked for is not among the scores."""
    scored = _scored(plan.run, plan.config)
    return not scored or not set(plan.config.evaluate.extra) <= scored


def _scored(run: Run, config: Config) -> set[str]:
    """Test sets that have every wanted metric by the wanted protocol."""
    scores = run.scores()
    scores = scores[scores["protocol"] == config.evaluate.protocol]
    wanted = {"psnr", "ssim", *config.evaluate.metrics}
    return {dataset for dataset, rows in scores.groupby("dataset") if wanted <= set(rows["metric"])}


def execute(plan: Plan, cache: Path, device_name: str, tracking_uri: str, command: str, wait: bool = True) -> Status:
    """Train and score one run; a failure is written to its status and returned, never raised.

    Args:
        plan: the run.
        cache: folder of decoded images.
        device_name: where to train.
        tracking_uri: of the MLflow store that mirrors the run.
        command: the grid it is part of.
        wait: for another process that is working on the same run; otherwise return ``busy``.

    Raises:
        KeyboardInterrupt: passed on; the run stays resumable.
    """
    run = plan.run
    try:
        with nullcontext() if processes.is_follower() else locked(plan.folder / ".lock", wait):
            if processes.current().same(state(plan) != "done"):  # the process that had the lock may have done it
                _execute(plan, run, cache, device_name, tracking_uri, command)
            return Status("done")
    except Busy as busy:
        return Status("busy", f"{busy}.")
    except UserError as error:
        return failed(run, str(error))
    except OSError as error:
        _keep_trace(run)
        told = f"{error.filename} {error.strerror}" if error.filename else str(error)
        reason = f"{told}; what was written before is kept, and the same command goes on from there."
        return _failed_alone(run, reason)
    except Exception as error:  # one run's failure never stops the others; its trace is kept for whoever mends it
        _keep_trace(run)
        return _failed_alone(run, f"{type(error).__name__}: {str(error).strip() or 'no message'}")


def failed(run: Run, reason: str) -> Status:
    """Note a failure in the run's folder, as far as the disk takes it."""
    with suppress(OSError):
        run.write_status("failed", reason)
    return Status("failed", reason)


def _failed_alone(run: Run, reason: str) -> Status:
    """Note a failure that the other processes of the run, if there are any, need not have met: they would wait for
    this one, so it ends, and ``torchrun`` ends them all."""
    status = failed(run, reason)
    if processes.several():
        print(f"failed: {run.folder}: {reason}", file=sys.stderr, flush=True)
        os._exit(1)
    return status


def _keep_trace(run: Run) -> None:
    if processes.is_follower():
        return
    with suppress(OSError):
        (run.folder / "traceback.txt").write_text(traceback.format_exc(), "utf-8", "backslashreplace")


def _execute(plan: Plan, run: Run, cache: Path, device_name: str, tracking_uri: str, command: str) -> None:
    import torch

    from benchmarks import environment
    from benchmarks.data import sources
    from benchmarks.tracking import Tracker

    config = plan.config
    torch.set_num_threads(config.train.threads)
    device = environment.device(device_name)
    prepared = sources.prepare(settings.load(config.setting), config.data, config.evaluate.extra, cache)
    run.write_json(CONFIG, record(config))
    run.write_json(DATA, prepared.records)
    facts = run.environment | environment.describe(device) | {"processes": processes.current().size}
    facts["images"] = _same_images(plan, prepared)
    run.write_json(ENVIRONMENT, facts)
    before = run.status.reason if run.status.state == "done" else ""  # scoring again keeps an earlier warning
    run.write_status("running")
    tracker = Tracker(tracking_uri, run, config, command)
    tracker.start()
    try:
        network, trained = _train(config, prepared, run, device, tracker)
        warning, scored = _score(config, prepared, run, device, network)
    except BaseException as error:
        if isinstance(error, Exception):
            tracker.finish("failed")
        raise
    run.write_json(ENVIRONMENT, facts | trained | scored | _peak())
    if trained["skipped_updates"]:
        warning = "; ".join(
            filter(None, [warning, f"{trained['skipped_updates']} updates that were not finite skipped"])
        )
    tracker.finish("done")
    run.write_status("done", warning or before)
    if not processes.is_follower():
        for name in (PROGRESS, PREVIOUS):
            (plan.folder / name).unlink(missing_ok=True)


def _peak() -> dict[str, Any]:
    from benchmarks.environment import peak_memory

    peak = peak_memory()
    return (
        {"not_recorded": "peak memory: this system does not tell it"}
        if peak is None
        else {"peak_memory_mib": round(peak)}
    )


def _same_images(plan: Plan, prepared: Any) -> str:
    """A digest of some training images' pixels: the fingerprint in the configuration knows names and sizes only.

    Raises:
        UserError: if the run is to be continued, and began with other images.
    """
    if plan.config.data.source == "embedded":
        return plan.config.data.fingerprint
    digest = hashlib.sha256()
    for pool in prepared.train:
        for number in range(0, len(pool.names), -(-len(pool.names) // LOOKED_AT)):
            for image in (pool.clean[number], pool.partner(number)):
                digest.update(b"" if image is None else image.tobytes())
    found = digest.hexdigest()[:16]
    goes_on = resumable(plan.folder) and plan.run.status.state != "done"
    if goes_on and plan.run.environment.get("images", found) != found:
        raise UserError(
            "the training images are others than those it began with, under the same names and with the same sizes; "
            "put those back, or start anew with --fresh."
        )
    return found


def replaced(plan: Plan) -> bool:
    """Whether there is the same run with training images of other names or sizes."""
    own = plan.config.model_dump(mode="json", exclude={"data": {"root", "fingerprint"}})
    for path in plan.folder.parent.glob(f"{plan.config.seed}-*/{CONFIG}"):
        other = Run(path.parent).config
        data = {key: value for key, value in other.get("data", {}).items() if key not in ("root", "fingerprint")}
        if path.parent != plan.folder and other | {"data": data} == own:
            return True
    return False


def _train(config: Config, prepared: Any, run: Run, device: Any, tracker: Any) -> tuple[Any, dict[str, float]]:
    from benchmarks.nonfinite import Diverged
    from benchmarks.training import Training

    training = Training(config, prepared.train, run, device)
    started, first = time.perf_counter(), training.step

    def report(step: int, rhythm: Any) -> None:
        spent = time.perf_counter() - started
        left = spent / max(step - first, 1) * (config.train.steps - step)
        _tell(run, phase="training", done=step, total=config.train.steps, left=left, tasks=rhythm.last())
        if step % config.train.checkpoint_every == 0:
            tracker.rhythm(rhythm.table())

    try:
        network = training.finish(report)
    except Diverged:
        run.write_rhythm(training.rhythm.table())
        raise
    tracker.rhythm(training.rhythm.table())
    return network, {
        "train_seconds": round(training.seconds, 2),
        "step_seconds": round(training.seconds / config.train.steps, 5),
        "skipped_updates": training.skipped,
    }


def _score(config: Config, prepared: Any, run: Run, device: Any, network: Any) -> tuple[str, dict[str, float]]:
    """Score what is not scored yet by the wanted protocol; the warning names test sets with a constant output."""
    import pandas as pd

    from benchmarks.evaluation import evaluate, write_samples
    from benchmarks.metrics import further

    protocol, scored = config.evaluate.protocol, _scored(run, config)
    pools = [pool for pool in prepared.tests if pool.dataset not in scored]
    started = time.perf_counter()

    def report(done: int, total: int) -> None:
        left = (time.perf_counter() - started) / done * (total - done)
        _tell(run, phase="scoring", done=done, total=total, left=left)

    metrics, group = further(config.evaluate.metrics, device), processes.current()
    rows, collapsed = evaluate(network, pools, protocol, device, report, metrics, group=group)
    fresh, scores = pd.DataFrame(rows), run.scores()
    again = (scores["protocol"] == protocol) & scores["dataset"].isin([pool.dataset for pool in pools])
    kept = scores[~again]
    run.write_scores(pd.concat([kept, fresh], ignore_index=True) if len(kept) else fresh)
    if group.leads:
        write_samples(network, pools, run.folder / "samples", device)
    warning = f"collapsed: constant output on {', '.join(collapsed)}" if collapsed else ""
    return warning, {"evaluate_seconds": round(time.perf_counter() - started, 2)}


def record(config: Config) -> dict[str, Any]:
    """What ``config.json`` holds: identities, departures from the recipe, the strategy's parameters, names for
    display, configuration."""
    name, parameters = art.parse(config.strategy)
    defaults = art.entries()[name].defaults if name in art.entries() else {}
    display = {
        "setting": settings.load(config.setting).title,
        "baseline": baselines.describe(config.baseline)["name"],
    }
    return {
        **config.identity(),
        "overrides": config.departures(),
        "parameters": defaults | parameters,
        "display": display,
        "config": config.model_dump(mode="json"),
    }


_told: dict[Path, float] = {}


def _tell(run: Run, **progress: Any) -> None:
    """Leave word for the overview, at most twice a second."""
    now = time.monotonic()
    if now - _told.get(run.folder, 0) > 0.5:
        _told[run.folder] = now
        run.write_json(PROGRESS, progress)


def run_all(plans: Sequence[Plan], jobs: int, devices: Sequence[str], **options: Any) -> dict[Path, Status]:
    """Execute the plans, ``jobs`` at a time, in worker processes; one alone runs in this process.

    A run that another command is working on is left for the end; then this one waits, and takes what the other has
    done, or continues what it has left.

    Args:
        plans: the runs.
        jobs: how many at a time.
        devices: to be shared out among them.
        options: further arguments of :func:`execute`.

    Returns:
        What became of each run, by its folder; also where the disk was too full to write it there.
    """
    outcomes: dict[Path, Status] = {}
    for patient in [True] if processes.several() else [False, True]:
        left = [item for item in plans if outcomes.get(item.folder, Status("busy")).state == "busy"]
        if left:
            outcomes |= _run_some(left, min(jobs, len(left)), devices, options | {"wait": patient})
    return outcomes


def _run_some(plans: Sequence[Plan], jobs: int, devices: Sequence[str], options: dict[str, Any]) -> dict[Path, Status]:
    if jobs == 1:
        return {item.folder: execute(item, device_name=devices[0], **options) for item in plans}
    places = [options | {"device_name": devices[number % len(devices)]} for number in range(jobs)]
    threads = max(item.config.train.threads for item in plans)
    found = run_in_workers(execute, plans, places, threads)
    return {
        item.folder: _killed(item, status) if status.state == "killed" else status
        for item, status in zip(plans, found, strict=True)
    }


def _killed(plan: Plan, status: Status) -> Status:
    kept = "the same command continues from its last checkpoint" if resumable(plan.folder) else ""
    return failed(plan.run, "; ".join(filter(None, [status.reason, kept])) + ".")
