"""Score a checkpoint, published or of a run, on a setting's test sets, the published figures beside.

python -m benchmarks.evaluate --baseline promptir --checkpoint model.ckpt --setting three_task --data-root DIR
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.errors import UserError, tell_notes
from benchmarks.scoring import weights
from results.command import announce, framed, leave, waits_for
from results.records import MetricFacts, Origin, Role, State, Status

if TYPE_CHECKING:
    from benchmarks.config.configuration import Config
    from benchmarks.data.sources import Prepared
    from benchmarks.scoring.weights import Loaded

RECORD = "evaluation.json"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from benchmarks.config import settings

    result = argparse.ArgumentParser(
        "python -m benchmarks.evaluate",
        description="Score a checkpoint, published or of a run, on a setting's test sets, with the published figures.",
    )
    weights.add_arguments(result)
    add = result.add_argument
    add("--setting", help=f"one of: {', '.join(settings.names())} (default: that of the run)")
    add("--data-root", type=Path, metavar="DIR",
        help="real images in the published layouts (default: the run's data, or embedded photographs)")  # fmt: skip
    add("--missing", choices=["error", "synthesise"], default="error",
        help="where a real test set is missing: stop, or degrade the real clean images that are there")  # fmt: skip
    add("--protocol", help="how scores are computed (default: the setting's)")
    add("--metrics", nargs="+", default=[], metavar="NAME", help="further metrics of pyiqa, e.g. fsim vif gmsd")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="overrides",
        help="of the configuration's evaluate section, e.g. evaluate.extra=Rain100H")  # fmt: skip
    add("--output", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (:mod:`results.command`)."""

    def work() -> int:
        options = parser().parse_args(arguments)
        announce(f"Scoring {options.run or options.checkpoint} on {options.setting or 'the test sets of its run'}.")
        print(evaluate_checkpoint(options))
        return 0

    return framed(work, UserError, "interrupted; there are no scores.")


def evaluate_checkpoint(options: argparse.Namespace) -> str:
    """Score the network that the options name; returns the table for a terminal.

    ``<output>/evaluations/<setting>/<baseline>-<checkpoint>/`` gets ``scores.csv``, ``table.md``, ``data.json``,
    ``environment.json``, ``evaluation.json`` (what was evaluated, and how) and ``samples/``; another file, protocol or
    data of the same names gets a folder of its own.

    Raises:
        UserError: for whatever the user can mend.
    """
    import torch

    from benchmarks.config import settings
    from benchmarks.data import sources
    from benchmarks.execution import environment
    from benchmarks.scoring import metrics

    device = environment.device(options.device)
    _check(options)
    loaded = weights.load(options)
    if loaded.config:
        torch.set_num_threads(loaded.config.train.threads)  # scores depend on it, if in the last digits only
    config = _config(options, loaded)
    setting = settings.load(config.setting)
    further = metrics.further(config.evaluate.metrics, device)
    trained = _trained(loaded) if loaded.run else setting.train_sets
    cache = options.output / "cache"
    prepared = sources.prepare(setting, config.data, config.evaluate.extra, cache, trained, config.evaluate.protocol)
    tell_notes(prepared.notes)
    record = _record(loaded, config)
    folder = _folder(options.output, loaded, config, record)
    _write(folder, RECORD, record)
    _write(folder, "data.json", [record.content() for record in prepared.records])
    _write(folder, "environment.json", environment.describe(device))
    scores, notes = _score(loaded, config, prepared, folder, device, further)
    return _report(loaded, config, prepared, folder, scores, notes, metrics.facts(config.evaluate.metrics))


def _check(options: argparse.Namespace) -> None:
    """What can be said before anything is loaded."""
    from benchmarks.config import protocols, settings

    if not options.setting and not options.run:
        raise UserError(f"--setting missing: name the test sets by one of {', '.join(settings.names())}.")
    if options.setting:
        settings.load(options.setting)
    if options.protocol:
        protocols.get(options.protocol)
    if strange := [text for text in options.overrides if not text.startswith("evaluate.")]:
        raise UserError(f"--set {strange[0]}: only keys of evaluate apply here, such as evaluate.extra=Rain100H.")


def _config(options: argparse.Namespace, loaded: Loaded) -> Config:
    """How to evaluate, and on what: as the run says, then as the options do."""
    from benchmarks.config import data_sets, protocols
    from benchmarks.config.configuration import resolve
    from benchmarks.config.sections import DataConfig

    data, overrides = DataConfig(), []
    setting = options.setting or loaded.config.setting
    if loaded.config:
        data = loaded.config.data
        if setting == loaded.config.setting:
            kept = loaded.config.evaluate
            overrides = [f"evaluate.protocol={kept.protocol}"]
            overrides += [f"evaluate.{key}={','.join(getattr(kept, key))}" for key in ("extra", "metrics")]
    if options.data_root:
        root = str(options.data_root.resolve())
        data = DataConfig(source="files", root=root, missing=options.missing)
    overrides += options.overrides
    overrides += [f"evaluate.protocol={options.protocol}"] if options.protocol else []
    overrides += [f"evaluate.metrics={','.join(options.metrics)}"] if options.metrics else []
    given = [text for text in overrides if not text.endswith("=")]
    config = resolve(setting, loaded.baseline, "mix", profile="paper", size=loaded.size, data=data, overrides=given)
    protocols.get(config.evaluate.protocol)
    for name in config.evaluate.extra:
        data_sets.get(name)
    return config


def _trained(loaded: Loaded) -> list[str]:
    """The real sets that a run was trained on."""
    records = [record for record in loaded.run.data if record.role == Role.TRAIN]
    makers = [name for record in records for name in record.made_from]
    return [record.dataset for record in records if record.origin == Origin.REAL] + makers


def _record(loaded: Loaded, config: Config) -> dict[str, Any]:
    """What is evaluated and how; ``identity`` stands for all of it."""
    from benchmarks.scoring import metrics

    with loaded.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = {
        "sha256": digest,
        "baseline": loaded.baseline,
        "size": loaded.size,
        "setting": config.setting,
        "evaluate": config.evaluate.model_dump(mode="json"),
        "data": config.data.model_dump(mode="json", include={"source", "root", "missing"}),
    }
    identity = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    told = {"metrics": {name: facts.content() for name, facts in metrics.facts(config.evaluate.metrics).items()}}
    return {"checkpoint": str(loaded.path), "about": loaded.about, "identity": identity} | about | told


def _folder(output: Path, loaded: Loaded, config: Config, record: dict[str, Any]) -> Path:
    """Where the results go: never over those of another evaluation."""
    from benchmarks.execution.grid import folder_name

    name = loaded.path.stem
    if loaded.run:
        name = f"{loaded.config.strategy}-{loaded.config.seed}-{loaded.config.identity()['hash']}"
    name = folder_name(f"{loaded.baseline}-{name}")
    folder = output / "evaluations" / config.setting / name
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))["identity"]
    except (OSError, ValueError, KeyError):
        return folder
    return folder if found == record["identity"] else folder.with_name(f"{name}-{record['identity']}")


def _write(folder: Path, name: str, content: Any) -> None:
    from results import Run

    try:
        Run(folder).write_json(name, content)
    except OSError as error:
        raise UserError(f"the output folder {folder}: {error.strerror}.") from error


def _score(
    loaded: Loaded, config: Config, prepared: Prepared, folder: Path, device: Any, further: dict[str, Any]
) -> tuple[Any, list[str]]:
    """Per-image scores (written, with samples), and what is to be said about them."""
    import pandas as pd
    from tqdm import tqdm

    from benchmarks.scoring.scores import evaluate, write_samples
    from results import Run

    notes: dict[str, None] = {}
    network = loaded.network.to(device)
    pace = 0.1 if sys.stderr.isatty() else 20  # seconds between updates
    with (
        tqdm(
            desc=f"scoring {loaded.title}", unit="image", leave=False, dynamic_ncols=True,
            mininterval=pace, maxinterval=pace,
        ) as bar,
        waits_for("the images at hand are finished"),
    ):  # fmt: skip

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rows, flaw = evaluate(
            network, prepared.tests, config.evaluate.protocol, device, report, further, tell=notes.setdefault
        )
    scores = pd.DataFrame(rows)
    Run(folder).write_scores(scores)
    write_samples(network, prepared.tests, folder / "samples", device)
    if flaw.fault:
        notes[Status(State.DONE, flaw.reason, flaw.fault).words] = None
    return scores, list(notes)


def _report(
    loaded: Loaded,
    config: Config,
    prepared: Prepared,
    folder: Path,
    scores: Any,
    notes: list[str],
    facts: dict[str, MetricFacts],
) -> str:
    """Write the table; returns it for a terminal."""
    from benchmarks.config import settings
    from reports.numbers.scorecard import scorecard
    from results import write_atomically, write_text

    title = settings.load(config.setting).title
    card = scorecard(title, loaded, config, prepared.records, scores, notes, facts)
    write_atomically(folder / "table.md", lambda path: write_text(path, card.page()))
    return f"{card.text()}\nWritten to {folder}: table.md, scores.csv, samples, and what they are from.\n"


if __name__ == "__main__":
    leave(main())
