"""The grid: setting x baselines x strategies x seeds, each run once, several at a time."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import art
import baselines
from benchmarks.config import settings
from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.execution.local import run_in_workers
from benchmarks.execution.locks import Busy, locked
from benchmarks.scoring.scores import Flaw
from benchmarks.training import distributed
from benchmarks.training.checkpoint import resumable
from results import Damaged, ReadOnlyRun, Run, Status
from results.integrity import differing
from results.records import DataRecord, Environment, Progress, Role, RunRecord, State
from results.schema import (
    CONFIG,
    DATA,
    DIGESTS,
    GUARDED,
    PREVIOUS,
    PROGRESS,
    SCORES,
    STATUS,
    STORE,
)
from results.visible import visible

_OF_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names that its folders cannot have


@dataclass(frozen=True)
class Plan:
    """One run to be done: its configuration and folder."""

    config: Config
    folder: Path

    @property
    def run(self) -> Run:
        return ReadOnlyRun(self.folder) if distributed.is_follower() else Run(self.folder)

    @property
    def title(self) -> str:
        name = baselines.describe(self.config.baseline).name
        return visible(f"{name} {self.config.strategy} seed {self.config.seed}")


def plan(config: Config, output: Path) -> Plan:
    """Where the run of that configuration lives below ``output``."""
    name = f"{config.seed}-{config.identity()['hash']}"
    method = Path(folder_name(config.baseline), folder_name(config.strategy))
    return Plan(config, output / "runs" / config.setting / method / name)


def folder_name(text: str) -> str:
    """A name for a folder that every system takes: no separators, none that Windows keeps for itself or would cut; of a
    long one the start and a digest (file systems take 255 bytes)."""
    name = re.sub(r"[^\w.=+-]+", ",", text)
    name = f"_{name}" if _OF_WINDOWS.fullmatch(name) else name
    name += "," * name.endswith(".")
    if len(name.encode()) <= 120:
        return name
    return f"{name.encode()[:100].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def state(plan: Plan) -> str:
    """``done``, ``to score`` (trained, other scores wanted), ``to mend`` (files of it are damaged or gone), ``resume``,
    ``failed`` or ``new``."""
    if plan.run.damage():
        return "to mend"
    found = plan.run.status.state
    if found == State.DONE:
        if plan.run.record is None:
            return "to mend"
        return "done" if not _unscored(plan) and _directed(plan) else "to score"
    if found == State.FAILED:
        return "failed"
    return "resume" if resumable(plan.folder) else "new"


def _unscored(plan: Plan) -> bool:
    """Whether a protocol, metric or further test set asked for is not among the scores."""
    scored = _scored(plan.run, plan.config)
    wanted = {record.dataset for record in plan.run.data if record.role == Role.TEST}
    return not scored or not wanted | set(plan.config.evaluate.extra) <= scored


def _directed(plan: Plan) -> bool:
    """Whether it is recorded which way is better with the metrics asked for; runs of older versions lack it."""
    record = plan.run.record
    return record is not None and set(plan.config.evaluate.metrics) <= set(record.metrics or ())


def _scored(run: Run, config: Config) -> set[str]:
    """Test sets that have every wanted metric by the wanted protocol."""
    scores = run.scores()
    scores = scores[scores["protocol"] == config.evaluate.protocol]
    wanted = {"psnr", "ssim", *config.evaluate.metrics}
    return {dataset for dataset, rows in scores.groupby("dataset") if wanted <= set(rows["metric"])}


def execute(
    plan: Plan,
    cache: Path,
    device_name: str,
    tracking_uri: str,
    command: str,
    wait: bool = True,
    expected: Sequence[DataRecord] = (),
) -> Status:
    """Train and score one run; a failure is written to its status and returned, never raised.

    Args:
        plan: the run.
        cache: folder of decoded images.
        device_name: where to train.
        tracking_uri: of the MLflow store that mirrors the run.
        command: the grid it is part of.
        wait: for another process that is working on the same run; otherwise return ``busy``.
        expected: records of the images that this machine must have.

    Raises:
        KeyboardInterrupt: passed on; the run stays resumable.
    """
    run = plan.run
    try:
        with nullcontext() if distributed.is_follower() else locked(plan.folder / ".lock", wait):
            if distributed.current().same(state(plan) != "done"):  # the process that had the lock may have done it
                _execute(plan, run, cache, device_name, tracking_uri, command, expected)
            return Status(State.DONE)
    except Busy as busy:
        return Status(State.BUSY, f"{busy}.")
    except UserError as error:
        return failed(run, str(error))
    except SystemExit as error:  # of somebody's strategy or network; the command and its other runs go on
        _keep_trace(run)
        return _failed_alone(run, f"code of the strategy or the network ended the process (SystemExit: {error.code})")
    except OSError as error:
        _keep_trace(run)
        told = f"{error.filename} {error.strerror}" if error.filename else str(error)
        reason = f"{told}; what was written before is kept, and the same command goes on from there."
        return _failed_alone(run, reason)
    except Exception as error:  # one run's failure never stops the others; its trace is kept for whoever mends it
        _keep_trace(run)
        return _failed_alone(run, f"{type(error).__name__}: {str(error).strip() or 'no message'}")


def status(plan: Plan) -> Status:
    """Of a run after the command has dealt with it."""
    try:
        return plan.run.status
    except Damaged as damaged:
        return Status(State.FAILED, f"{damaged}; the same command mends it.")


def failed(run: Run, reason: str) -> Status:
    """Note a failure in the run's folder, as far as the disk takes it; its words may be those of a stranger's file."""
    reason = visible(reason, lines=True)
    status = Status(State.FAILED, reason)
    with suppress(OSError):
        run.write_status(status)
    return status


def _failed_alone(run: Run, reason: str) -> Status:
    """Note a failure that the other processes of the run, if there are any, need not have met: they would wait for
    this one, so it ends, and ``torchrun`` ends them all."""
    status = failed(run, reason)
    if distributed.several():
        print(f"failed: {run.folder}: {reason}", file=sys.stderr, flush=True)
        os._exit(1)
    return status


def _keep_trace(run: Run) -> None:
    if distributed.is_follower():
        return
    with suppress(OSError):
        (run.folder / "traceback.txt").write_text(traceback.format_exc(), "utf-8", "backslashreplace")


def _execute(
    plan: Plan,
    run: Run,
    cache: Path,
    device_name: str,
    tracking_uri: str,
    command: str,
    expected: Sequence[DataRecord],
) -> None:
    import torch

    from benchmarks.data import sources
    from benchmarks.execution import environment
    from benchmarks.execution.tracking import Tracker

    config = plan.config
    torch.set_num_threads(config.train.threads)
    device = environment.device(device_name)
    setting, evaluate = settings.load(config.setting), config.evaluate
    prepared = sources.prepare(setting, config.data, evaluate.extra, cache, protocol=evaluate.protocol)
    if other := differing(expected, prepared.records, *Role):
        raise UserError(f"the images of {', '.join(other)} below {config.data.root} are not the same on this machine.")
    before, mended = distributed.current().same(None if distributed.is_follower() else mend(run))
    _check_same_images(plan, prepared.records)
    forget_other_scores(run, prepared.records)
    run.write_record(record(config, set(run.scores()["metric"])))
    run.write_data(prepared.records)
    whole = before.state == State.DONE and mended <= {CONFIG, DATA} and not _unscored(plan)
    if distributed.current().same(whole):  # nothing to train or to score
        return
    facts = run.environment.content() | environment.describe(device) | {"processes": distributed.current().size}
    run.write_environment(Environment.model_validate(facts))
    run.write_status(Status(State.RUNNING))
    tracker = Tracker(tracking_uri, run, config, command)
    tracker.start()
    try:
        network, trained = _train(config, prepared, run, device, tracker)
        flaw, scored = _score(config, prepared, run, device, network)
    except BaseException as error:
        if isinstance(error, Exception):
            tracker.finish("failed")
        raise
    run.write_environment(Environment.model_validate(facts | trained | scored | _peak()))
    skipped = f"{trained['skipped_updates']} updates that were not finite skipped" if trained["skipped_updates"] else ""
    ended = Status(State.DONE, "; ".join(filter(None, [flaw.reason, skipped, trained["remark"]])), flaw.fault)
    tracker.finish("done")
    rescored = before.state == State.DONE and not ended.words  # that keeps an earlier warning
    run.write_status(before if rescored else ended)
    if not distributed.is_follower():
        for name in (PROGRESS, PREVIOUS):
            (plan.folder / name).unlink(missing_ok=True)


def _peak() -> dict[str, Any]:
    from benchmarks.execution.environment import peak_memory

    peak = peak_memory()
    if peak is None:
        return {"not_recorded": "peak memory: this system does not tell it"}
    return {"peak_memory_mib": round(peak)}


def mend(run: Run) -> tuple[Status, set[str]]:
    """Put damaged files aside, so that they are made anew; returns the run's status, and which they are.

    What cannot be told apart from what is damaged goes too: all files where their digests are lost, and the scores
    where the status is, which may have carried a warning of theirs.
    """
    damage = run.damage()
    for told in damage.values():
        print(f"warning: {run.folder}: {told}; it is made anew.", file=sys.stderr, flush=True)
    names = set(damage)
    if DIGESTS in names:
        names |= {name for name in GUARDED if (run.folder / name).exists()}
    if STATUS in names:
        names.add(SCORES)
    for name in sorted(names, key=lambda name: name != DIGESTS):
        run.set_aside(name)
    return run.status, names


def _check_same_images(plan: Plan, records: Sequence[DataRecord]) -> None:
    """Whether a run that goes on would go on with the images it began with.

    Raises:
        UserError: if not.
    """
    run = plan.run
    if not resumable(plan.folder) or run.status.state == State.DONE:
        return
    if other := differing(run.data, records, Role.TRAIN):
        raise UserError(
            f"the training images of {', '.join(other)} are others than those it began with, under the same names and "
            "with the same sizes; put those back, or start anew with --fresh."
        )


def forget_other_scores(run: Run, records: Sequence[DataRecord]) -> list[str]:
    """Take away scores of test images that are others now, so that they are scored again; returns of which sets. The
    file as it was is kept as ``scores.csv.replaced``."""
    other, scores = differing(run.data, records, Role.TEST, Role.EXTRA), run.scores()
    gone = scores["dataset"].isin(other)
    if gone.any():
        run.keep(SCORES, "replaced")
        run.write_scores(scores[~gone])
    return sorted(set(scores[gone]["dataset"]))


def replaced(plan: Plan) -> bool:
    """Whether there is the same run with training images of other names or sizes."""
    own = plan.config.model_dump(mode="json", exclude={"data": {"root", "fingerprint"}})
    for path in plan.folder.parent.glob(f"{plan.config.seed}-*/{CONFIG}"):
        found = Run(path.parent).legible().record
        other = found.config.content() if found else {}
        data = {key: value for key, value in other.get("data", {}).items() if key not in ("root", "fingerprint")}
        if path.parent != plan.folder and {"definition": 1} | other | {"data": data} == own:
            return True
    return False


def _train(config: Config, prepared: Any, run: Run, device: Any, tracker: Any) -> tuple[Any, dict[str, Any]]:
    from benchmarks.training.loop import Training
    from benchmarks.training.nonfinite import Diverged

    training = Training(config, prepared.train, run, device)
    started, first = time.perf_counter(), training.step

    def report(step: int, rhythm: Any) -> None:
        spent = time.perf_counter() - started
        left = spent / max(step - first, 1) * (config.train.steps - step)
        _tell(run, Progress(phase="training", done=step, total=config.train.steps, left=left, tasks=rhythm.last()))
        if step % config.train.checkpoint_every == 0:
            tracker.rhythm(rhythm.table())

    try:
        network = training.finish(report)
    except Diverged:
        training.write_tables()
        raise
    training.write_tables()  # also where they were lost after the last step
    tracker.rhythm(training.rhythm.table())
    return network, {
        "train_seconds": round(training.seconds, 2),
        "step_seconds": round(training.seconds / config.train.steps, 5),
        "skipped_updates": training.skipped,
        "remark": training.remark(),
    }


def _score(config: Config, prepared: Any, run: Run, device: Any, network: Any) -> tuple[Flaw, dict[str, float]]:
    """Score what is not scored yet by the wanted protocol; also what is wrong with the outputs."""
    import pandas as pd

    from benchmarks.scoring.metrics import further
    from benchmarks.scoring.scores import evaluate, write_samples

    protocol, scored = config.evaluate.protocol, _scored(run, config)
    pools = [pool for pool in prepared.tests if pool.dataset not in scored]
    started = time.perf_counter()

    def report(done: int, total: int) -> None:
        left = (time.perf_counter() - started) / done * (total - done)
        _tell(run, Progress(phase="scoring", done=done, total=total, left=left))

    metrics, group = further(config.evaluate.metrics, device), distributed.current()
    rows, flaw = evaluate(network, pools, protocol, device, report, metrics, group=group)
    fresh, scores = pd.DataFrame(rows), run.scores()
    again = (scores["protocol"] == protocol) & scores["dataset"].isin([pool.dataset for pool in pools])
    kept = scores[~again]
    run.write_scores(pd.concat([kept, fresh], ignore_index=True) if len(kept) else fresh)
    if group.leads:
        write_samples(network, pools, run.folder / "samples", device)
    return flaw, {"evaluate_seconds": round(time.perf_counter() - started, 2)}


def record(config: Config, scored: Iterable[str] = ()) -> RunRecord:
    """What ``config.json`` holds: identities, departures from the recipe, the strategy's parameters, names for
    display, which way is better with every metric that is asked for or ``scored`` before, configuration."""
    from benchmarks.scoring.metrics import facts

    name, parameters = art.parse(config.strategy)
    defaults = art.entries()[name].defaults if name in art.entries() else {}
    display = {
        "setting": settings.load(config.setting).title,
        "baseline": baselines.describe(config.baseline).name,
    }
    content = {
        **config.identity(),
        "overrides": config.overrides(),
        "parameters": defaults | parameters,
        "display": display,
        "metrics": facts([*config.evaluate.metrics, *sorted(scored)]),
        "config": config.model_dump(mode="json"),
        "store": STORE,
    }
    return RunRecord.model_validate(content)


_BUSY = Status(State.BUSY)
_told: dict[Path, float] = {}


def _tell(run: Run, progress: Progress) -> None:
    """Leave word for the overview, at most twice a second."""
    now = time.monotonic()
    if now - _told.get(run.folder, 0) > 0.5:
        _told[run.folder] = now
        run.write_progress(progress)


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
    for patient in [True] if distributed.several() else [False, True]:
        left = [item for item in plans if outcomes.get(item.folder, _BUSY).state == State.BUSY]
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
        item.folder: _killed(item, status) if status.state == State.KILLED else status
        for item, status in zip(plans, found, strict=True)
    }


def _killed(plan: Plan, status: Status) -> Status:
    kept = "the same command continues from its last checkpoint" if resumable(plan.folder) else ""
    return failed(plan.run, "; ".join(filter(None, [status.reason, kept])) + ".")
