"""A checkpoint scored on the test sets of a setting."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from pydantic import JsonValue
from tqdm import tqdm

from benchmarks.config import data_sets, protocols, settings
from benchmarks.config.configuration import Config, resolve, sets_of, setting_of
from benchmarks.config.data_sets import DataSet
from benchmarks.config.errors import UserError, tell_notes
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.data import sources
from benchmarks.data.pools import TestPool
from benchmarks.execution import environment
from benchmarks.execution.plan import folder_name
from benchmarks.scoring import metrics
from benchmarks.scoring.metrics import Metric
from benchmarks.scoring.scores import evaluate, write_samples
from benchmarks.scoring.weights import Loaded, NetworkRequest, load
from results import Run
from results.command import waits_for
from results.records import Evaluated, Origin, Role, State, Status

RECORD = "evaluation.json"


@dataclass(frozen=True)
class EvaluationRequest(NetworkRequest):
    """The options of ``python -m benchmarks.evaluate``, whose help explains them."""

    setting: str | None
    data_root: Path | None
    missing: Literal["error", "synthesise"]
    protocol: str | None
    metrics: Sequence[str]
    overrides: Sequence[str]
    output: Path
    device: str
    data_sets: Sequence[Path] = ()

    @cached_property
    def given(self) -> dict[str, DataSet]:
        """The sets that the user brings along.

        Raises:
            UserError: for mistakes in their files.
        """
        return data_sets.read(self.data_sets)

    def checked_setting(self) -> Setting | None:
        """The setting that is named, after all was checked that can be before weights are loaded.

        Raises:
            UserError: for options that are missing or unknown.
        """
        if not self.setting and not self.run:
            raise UserError(f"--setting missing: name the test sets by one of {', '.join(settings.names())}.")
        setting = settings.load(self.setting, self.given) if self.setting else None
        if self.protocol:
            protocols.get(self.protocol)
        if strange := [text for text in self.overrides if not text.startswith("evaluate.")]:
            raise UserError(f"--set {strange[0]}: only keys of evaluate apply here, such as evaluate.extra=Rain100H.")
        return setting


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated, its scores per image (:data:`results.schema.SCORE_COLUMNS`), and the folder that has them."""

    evaluated: Evaluated
    scores: pd.DataFrame
    folder: Path


def evaluate_checkpoint(request: EvaluationRequest) -> Evaluation:
    """Score the network that is asked for.

    ``<output>/evaluations/<setting>/<baseline>-<checkpoint>/`` gets ``scores.csv``, ``data.json``,
    ``environment.json``, ``evaluation.json`` (what was evaluated, and how) and ``samples/``. Another file, protocol or
    data of the same names gets a folder of its own.

    Raises:
        UserError: for whatever the user can mend.
    """
    device = environment.device(request.device)
    setting = request.checked_setting()
    loaded = load(request)
    if loaded.config:
        torch.set_num_threads(loaded.config.train.threads)  # the last digits of the scores depend on it
        setting = _beside(setting, loaded.config) if setting else setting_of(loaded.config, request.given)
    assert setting is not None  # a request names a setting or a run
    config = _config(request, setting, loaded)
    evaluation = config.evaluate
    further = metrics.further(evaluation.metrics, device)
    trained = training_sets(loaded.run) if loaded.run else setting.train_sets
    data = sources.prepare(
        setting, config.data, evaluation.extra, request.output / "cache", trained, evaluation.protocol
    )
    tell_notes(data.notes)
    about = _about(loaded, config)
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    facts = metrics.facts(evaluation.metrics)
    record: dict[str, JsonValue] = {
        "checkpoint": str(loaded.path),
        "about": loaded.about,
        "identity": identity,
        **about,
    }
    record["metrics"] = {name: fact.content() for name, fact in facts.items()}
    run = Run(_folder(request.output, loaded, config, identity))
    try:
        run.write_json(RECORD, record)
        run.write_data(data.records)
        run.write_environment(environment.describe(device))
    except OSError as error:
        raise UserError(f"the output folder {run.folder}: {error.strerror}.") from error
    scores, notes = _score(loaded, data.tests, evaluation.protocol, run, device, further)
    evaluated = Evaluated(
        setting=config.setting,
        setting_title=setting.title,
        network=loaded.title,
        size=loaded.size,
        checkpoint=loaded.path,
        contents=loaded.about,
        source=config.data.source,
        root=config.data.root,
        protocol=evaluation.protocol,
        metrics=facts,
        sets=data.records,
        run=loaded.run.record if loaded.run else None,
        trained=loaded.run.data if loaded.run else (),
        notes=notes,
    )
    return Evaluation(evaluated, scores, run.folder)


def _beside(setting: Setting, config: Config) -> Setting:
    """The setting with those sets too that the user had brought along for a run."""
    return setting.model_copy(update={"given": {**sets_of(config), **setting.given}})


def _config(request: EvaluationRequest, setting: Setting, loaded: Loaded) -> Config:
    """How to evaluate, and on what: as the run says, then as the request does."""
    data, overrides = DataConfig(), list[str]()
    if loaded.config:
        data = loaded.config.data
        if (setting.name, setting.digest) == (loaded.config.setting, loaded.config.setting_digest):
            recorded = loaded.config.evaluate
            overrides = [f"evaluate.protocol={recorded.protocol}"]
            overrides += [f"evaluate.extra={','.join(recorded.extra)}"] if recorded.extra else []
            overrides += [f"evaluate.metrics={','.join(recorded.metrics)}"] if recorded.metrics else []
    if request.data_root:
        data = DataConfig(source="files", root=str(request.data_root.resolve()), missing=request.missing)
    overrides += [text for text in request.overrides if not text.endswith("=")]
    overrides += [f"evaluate.protocol={request.protocol}"] if request.protocol else []
    overrides += [f"evaluate.metrics={','.join(request.metrics)}"] if request.metrics else []
    config = resolve(setting, loaded.baseline, "mix", profile="paper", size=loaded.size, data=data, overrides=overrides)
    protocols.get(config.evaluate.protocol)
    for name in config.evaluate.extra:
        setting.data_set(name)
    return config


def training_sets(run: Run) -> list[str]:
    """The real sets that a run was trained on."""
    records = [record for record in run.data if record.role == Role.TRAIN]
    makers = [name for record in records for name in record.made_from]
    return [record.dataset for record in records if record.origin == Origin.REAL] + makers


def _about(loaded: Loaded, config: Config) -> dict[str, JsonValue]:
    """What is evaluated, and how."""
    with loaded.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "sha256": digest,
        "baseline": loaded.baseline,
        "size": loaded.size,
        "setting": config.setting,
        **({"setting_digest": config.setting_digest} if config.setting_digest else {}),
        **config.model_dump(mode="json", include={"data_sets"}),
        "evaluate": config.evaluate.model_dump(mode="json"),
        "data": config.data.model_dump(mode="json", include={"source", "root", "missing"}),
    }


def _folder(output: Path, loaded: Loaded, config: Config, identity: str) -> Path:
    """Where the results go: never over those of another evaluation."""
    name = loaded.path.stem
    if loaded.config:
        name = f"{loaded.config.strategy}-{loaded.config.seed}-{loaded.config.hash}"
    name = folder_name(f"{loaded.baseline}-{name}")
    folder = output / "evaluations" / config.setting / name
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))["identity"]
    except (OSError, ValueError, KeyError):
        return folder
    return folder if found == identity else folder.with_name(f"{name}-{identity}")


def _score(
    loaded: Loaded,
    pools: Sequence[TestPool],
    protocol: str,
    run: Run,
    device: torch.device,
    further: Mapping[str, Metric],
) -> tuple[pd.DataFrame, list[str]]:
    """Per-image scores (written, with samples), and notes on them."""
    notes: dict[str, None] = {}
    network = loaded.network.to(device)
    interval = 0.1 if sys.stderr.isatty() else 20  # seconds between updates
    with (
        tqdm(
            desc=f"scoring {loaded.title}", unit="image", leave=False, dynamic_ncols=True,
            mininterval=interval, maxinterval=interval,
        ) as bar,
        waits_for("the images at hand are finished"),
    ):  # fmt: skip

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rows, flaw = evaluate(network, pools, protocol, device, report, further, warn=notes.setdefault)
    scores = pd.DataFrame(rows)
    run.write_scores(scores)
    write_samples(network, pools, run.folder / "samples", device)
    if flaw.fault:
        notes[Status(State.DONE, flaw.reason, flaw.fault).words] = None
    return scores, list(notes)
