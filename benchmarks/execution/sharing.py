"""What archives of runs need of the packages that know more than files: :mod:`results.above` asks for it by name.

Runs may be a stranger's: nothing that their files name is imported or opened because they name it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from tqdm import tqdm

import art
import baselines
from art import specs
from art.registry import entries
from baselines.network import Network
from benchmarks.config import data_sets, protocols, settings
from benchmarks.config.configuration import Config
from benchmarks.config.data_sets import DataSet
from benchmarks.config.errors import UserError, mistakes
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import Setting
from benchmarks.data import sources
from benchmarks.data.pools import Prepared
from benchmarks.execution import environment
from benchmarks.scoring import unpacking
from benchmarks.scoring import weights as files
from benchmarks.scoring.scores import evaluate
from benchmarks.scoring.unpacking import load_checkpoint, scored
from results import schema, write_atomically
from results.above import Own, Remark, Rescored, Sought, Unusable
from results.command import waits_for
from results.integrity import differing
from results.records import DataRecord, Role, RunRecord

KEYS = ["dataset", "image", "metric"]


@dataclass(frozen=True)
class _Brought:
    """What the person at the command brought along: sets and settings from outside, by name, and names of networks."""

    sets: Mapping[str, DataSet]
    settings: Mapping[str, Setting]
    networks: Sequence[str]

    @classmethod
    def read(cls, own: Own) -> _Brought:
        """Read the files.

        Raises:
            Unusable: for a file with mistakes, a network that is not found.
        """
        try:
            given = data_sets.read(own.data_sets)
            found = [settings.load(str(path), given) for path in own.settings]
            for name in own.networks:
                baselines.describe(name)
        except (UserError, ValueError) as error:
            raise Unusable(str(error)) from error
        return cls(given, {setting.name: setting for setting in found}, own.networks)


def remarks(runs: Sequence[Sought], own: Own) -> list[tuple[int, Remark]]:
    """What the configurations, strategies, identities and test images of runs are, measured by this version.

    Args:
        runs: with their records and the sets they used.
        own: settings from outside that the runs may be of.

    Returns:
        What is to be said of a run, by its place in ``runs``.

    Raises:
        Unusable: for a file of settings or data sets with mistakes.
    """
    brought = _Brought.read(own)
    return [(place, said) for place, one in enumerate(runs) for said in _remarks(one.record, one.data, brought)]


def _remarks(record: RunRecord, data: Sequence[DataRecord], brought: _Brought) -> list[Remark]:
    today = record.store >= schema.STORE
    try:
        config = Config.model_validate(record.config.content())
    except ValidationError as error:
        return [Remark(today, f"configuration: {wrong}") for wrong in mistakes(error, Config)]
    said = [*_of_names(config)]
    if config.data_sets:
        said.append(Remark(False, f"data sets from outside, which are not looked up: {', '.join(config.data_sets)}"))
    setting = _setting(config, brought)
    if isinstance(setting, Remark):
        return [*said, setting]
    said += _of_strategy(config, setting)
    if today:
        said += _of_identity(record, config, setting)
    return [*said, *_of_tests(config, setting, data)]


def _of_names(config: Config) -> Iterator[Remark]:
    if not _is_ours(config.baseline):
        known = ":" in config.baseline
        why = "a network from outside, which is not looked up" if known else "no such network"
        yield Remark(not known, f"{config.baseline}: {why}")
    else:
        try:
            baselines.arguments(config.baseline, config.size)
        except ValueError as error:
            yield Remark(True, str(error).rstrip("."))
    try:
        protocols.get(config.evaluate.protocol)
    except UserError as error:
        yield Remark(True, str(error).rstrip("."))


def _is_ours(baseline: str) -> bool:
    return baseline in set(baselines.names()) - set(baselines.plugins())


def _setting(config: Config, brought: _Brought) -> Setting | Remark:
    """The run's setting, or why there is none."""
    name, outside = config.setting, bool(config.setting_place or config.setting_digest)
    try:
        if not outside:
            setting = settings.load(name if name in settings.names() else "?", brought.sets)
        elif name not in brought.settings:
            known = f" (--settings {config.setting_place})" if config.setting_place else ""
            return Remark(False, f"the setting {name} is from outside; its tasks and test sets are unknown{known}")
        else:
            setting = brought.settings[name]
            if setting.digest != config.setting_digest:
                return Remark(True, f"the setting {name} of --settings says other things than that of the runs")
        return setting.only(config.tasks) if config.tasks else setting
    except UserError as error:
        return Remark(True, f"setting {name!r}: {str(error).rstrip('.')}")


def _of_strategy(config: Config, setting: Setting) -> Iterator[Remark]:
    try:
        name, _ = specs.parse(config.strategy)
        canonical = art.canonical(config.strategy, setting.task_names)
    except ValueError as error:
        yield Remark(True, str(error).rstrip("."))
        return
    if name not in entries():
        yield Remark(False, f"strategy {name}: a class from outside, which is not looked up")
        return
    if canonical != config.strategy:
        yield Remark(True, f"strategy {config.strategy!r} is spelt {canonical!r}")
    today = art.definition(config.strategy)
    if config.definition < today:
        yield Remark(False, f"{config.strategy} of an older definition ({config.definition}, today's is {today})")
    elif config.definition > today:
        yield Remark(True, f"{config.strategy} of definition {config.definition}, this version knows {today}")


def _of_identity(record: RunRecord, config: Config, setting: Setting) -> Iterator[Remark]:
    """Whether the configuration gives the identities that are recorded; recipes may change, and cohorts with them."""
    if config.hash != record.hash:
        yield Remark(True, "configurations that do not give their hash: they are not those that trained")
    if not _is_ours(config.baseline):
        return
    identity = config.identity(setting)
    if identity["pair"] != record.pair:
        yield Remark(True, "configurations that do not give their pair, by which runs are compared")
    if identity["cohort"] != record.cohort:
        why = "a recipe has changed since, or what one table holds, or this field was edited"
        yield Remark(False, f"runs whose table (cohort) is another today: {why}")


def _of_tests(config: Config, setting: Setting, data: Sequence[DataRecord]) -> Iterator[Remark]:
    """Whether the run was scored on the test sets of its setting, and on their images where these are known."""
    tests = {one.dataset: one for one in data if one.role == Role.TEST}
    if config.data.source == "embedded":
        known = {one.dataset: one for one in _embedded(setting).of(config.terms.task).records}
    else:
        tasks = [task for task in setting.tasks if config.terms.task in ("", task.name)]
        known = {test.name: None for task in tasks for test in task.test}
    if lacking := [name for name in known if name not in tests]:
        yield Remark(True, f"test sets of the setting that are lacking: {', '.join(lacking)}")
    if strange := [name for name in tests if name not in known]:
        yield Remark(True, f"test sets that are not the setting's: {', '.join(strange)}")
    expected = [one for one in known.values() if one]
    if other := differing(expected, list(tests.values()), Role.TEST):
        yield Remark(True, f"test images that are not this version's: {', '.join(other)}")


@remembered
def _opened(setting: str, tasks: tuple[str, ...]) -> Prepared:
    with TemporaryDirectory() as cache:  # nothing of the test images is written
        return sources.prepare(settings.load(setting).only(tasks), DataConfig(), (), Path(cache), trained=())


def _embedded(setting: Setting) -> Prepared:
    return _opened(setting.name, setting.task_names)


def write_weights(run: Path, path: Path) -> None:
    """Write the weights of a run that are scored, and what tells whose they are, to a file.

    The file is read as a checkpoint is: by ``--run``, beside the run's ``config.json`` under the name
    ``checkpoint.pt``, or by ``--checkpoint`` with ``--baseline``.

    Args:
        run: the run's folder.
        path: the file; what was there is replaced.

    Raises:
        Unusable: if the run's checkpoint cannot be read.
        OSError: if the file cannot be written.
    """
    try:
        content = load_checkpoint(run / schema.CHECKPOINT)
    except UserError as error:
        raise Unusable(str(error)) from error
    if (found := scored(content)) is None:
        raise Unusable(f"{run / schema.CHECKPOINT} is no checkpoint of a run.")
    kind = "average" if "average" in content else "network"
    kept = {"network": {}, "optimizer": {}, "strategy": {}} | {key: content[key] for key in ("step", "hash")}
    kept[kind] = {name: value.detach().cpu() for name, value in found[0].items()}

    def write(temporary: Path) -> None:
        torch.save(kept, temporary)
        unpacking.sign(temporary)

    write_atomically(path, write)


def rescore(
    runs: Sequence[Sought], data_root: Path | None, cache: Path, device: str, tolerance: dict[str, float], own: Own
) -> Rescored:
    """Score the weights of runs again, and compare every image with what is recorded.

    Args:
        runs: what to score.
        data_root: the images of runs on files; without it, where the run says they were.
        cache: folder for decoded images.
        device: ``auto``, ``cpu``, ``cuda:1``, ...
        tolerance: the largest difference of an image by metric.
        own: settings, test sets and networks from outside that may be used; what is not named is left out, with a note.

    Raises:
        Unusable: for a device that is not there, a file with mistakes, a network that is not found.
    """
    try:
        where = environment.device(device)
    except UserError as error:
        raise Unusable(str(error)) from error
    again = _Again(data_root, cache, where, tolerance, _Brought.read(own))
    interval = 0.1 if sys.stderr.isatty() else 20  # seconds between updates
    bar = tqdm(runs, "scoring", unit="run", leave=False, dynamic_ncols=True, mininterval=interval, maxinterval=interval)
    with waits_for("the images at hand are finished"):
        for place, sought in enumerate(bar):
            try:
                again.one(place, sought)
            except UserError as error:
                again.remarks.append((place, Remark(True, f"cannot be scored again: {str(error).rstrip('.')}")))
    return Rescored(again.done, again.largest["psnr"], again.largest["ssim"], again.remarks)


def images(runs: Sequence[Sought], data_root: Path, cache: Path, own: Own) -> list[tuple[int, Remark]]:
    """Whether runs on files were scored on the images below a folder.

    Args:
        runs: of any data; those on embedded images are passed over.
        data_root: the images.
        cache: folder for decoded images.
        own: settings from outside that the runs may be of.

    Returns:
        What is to be said of a run, by its place in ``runs``.

    Raises:
        Unusable: if the images of a setting are not there, or cannot be used.
    """
    again = _Again(data_root, cache, torch.device("cpu"), {}, _Brought.read(own))
    said: list[tuple[int, Remark]] = []
    for place, sought in enumerate(runs):
        if sought.record.config.data.source != "files":
            continue
        try:
            config = Config.model_validate(sought.record.config.content())
            setting = _setting(config, again.brought)
            if isinstance(setting, Remark) or config.data_sets:
                continue
            data = again.prepared(config, setting, config.evaluate.extra)
        except ValidationError:
            continue  # of another version, which is said already
        except UserError as error:
            raise Unusable(str(error)) from error
        if other := differing(sought.data, data.records, Role.TEST, Role.EXTRA):
            said.append((place, Remark(True, f"test images that are not those in {data_root}: {', '.join(other)}")))
    return said


class _Again:
    def __init__(
        self, root: Path | None, cache: Path, device: torch.device, tolerance: dict[str, float], brought: _Brought
    ):
        self.root, self.cache, self.device, self.tolerance = root, cache, device, tolerance
        self.brought = brought
        self.done, self.largest = 0, dict.fromkeys(tolerance, 0.0)
        self.remarks: list[tuple[int, Remark]] = []
        self._data: dict[str, Prepared] = {}

    def one(self, place: int, sought: Sought) -> None:
        try:
            config = Config.model_validate(sought.record.config.content())
        except ValidationError as error:
            raise UserError("its configuration is not one of this version:", mistakes(error, Config)) from error
        setting = _setting(config, self.brought)
        why = "its setting is not known" if isinstance(setting, Remark) else self._why_not(config, setting)
        if isinstance(setting, Remark) or why:
            self.remarks.append((place, Remark(False, f"not scored again: {why}")))
            return
        left = [name for name in config.evaluate.extra if self._is_unknown(name, config)]
        if left:
            words = f"not scored again: test sets from outside, {', '.join(left)} (--data-sets says where they lie)"
            self.remarks.append((place, Remark(False, words)))
        torch.set_num_threads(config.train.threads)  # the last digits of the scores depend on it
        network = _network(sought, config).to(self.device)
        data = self.prepared(config, setting, [name for name in config.evaluate.extra if name not in left])
        if other := differing(sought.data, data.records, Role.TEST, Role.EXTRA):
            raise UserError(f"the images of {', '.join(other)} are others than those it was scored on.")
        rows, _ = evaluate(network, data.of(config.terms.task).tests, config.evaluate.protocol, self.device)
        recorded = sought.run.scores()
        self._compare(place, recorded[~recorded["dataset"].isin(left)], config.evaluate.protocol, pd.DataFrame(rows))

    def _why_not(self, config: Config, setting: Setting) -> str:
        """Why a run cannot be scored at all: code that nobody allowed, or test sets that lie elsewhere."""
        if not _is_ours(config.baseline) and config.baseline not in self.brought.networks:
            return f"a network from outside (--trust {config.baseline} imports it)"
        elsewhere = [test.set for task in setting.tasks for test in task.test if self._is_unknown(test.set, config)]
        return f"data sets from outside, {', '.join(dict.fromkeys(elsewhere))} (--data-sets)" if elsewhere else ""

    def _is_unknown(self, name: str, config: Config) -> bool:
        """Whether a run took the set from a table of its user's that nobody has given here."""
        whole = name.partition(":")[0]
        return whole in config.data_sets and whole not in self.brought.sets

    def prepared(self, config: Config, setting: Setting, extra: Sequence[str]) -> Prepared:
        data = DataConfig()
        if config.data.source == "files":
            root = self.root or config.data.root
            if root is None:
                raise UserError("its images lie in files: name their folder by --data-root.")
            data = DataConfig(source="files", root=str(Path(root).resolve()), missing=config.data.missing)
        evaluation = config.evaluate
        key = f"{setting.name} {setting.task_names} {data} {extra} {evaluation.protocol}"
        if key not in self._data:
            self._data = {
                key: sources.prepare(setting, data, extra, self.cache, (), evaluation.protocol)
            }  # of one kind at a time: images take memory
        return self._data[key]

    def _compare(self, place: int, recorded: pd.DataFrame, protocol: str, now: pd.DataFrame) -> None:
        recorded = recorded[(recorded["protocol"] == protocol) & recorded["metric"].isin(self.tolerance)]
        both = recorded.merge(now, "outer", KEYS, suffixes=("", "_now"), indicator=True)
        if len(lone := both[both["_merge"] != "both"]):
            self.remarks.append((place, Remark(True, f"images that only one of both scorings has: {_named(lone)}")))
            return
        for metric, most in self.tolerance.items():
            rows = both[both["metric"] == metric]
            for column, what in (("input_value", "degraded images"), ("value", "restored images")):
                apart = _apart(rows[column].to_numpy(float), rows[f"{column}_now"].to_numpy(float))
                if (wrong := ~(apart <= most)).any():
                    words = f"{what} with another {metric} than recorded, by up to {apart.max():.4g}"
                    self.remarks.append((place, Remark(True, f"{words}: {_named(rows[wrong])}")))
                elif column == "value" and len(apart):
                    self.largest[metric] = max(self.largest[metric], float(apart.max()))
        self.done += 1


def _apart(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(images,) differences; 0 where both are infinite or missing alike, infinite where only one is."""
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, np.nan_to_num(np.abs(one - two), nan=math.inf, posinf=math.inf))


def _named(rows: pd.DataFrame, most: int = 3) -> str:
    names = list(dict.fromkeys(f"{row.dataset} {row.image}" for row in rows.itertuples()))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _network(sought: Sought, config: Config) -> Network:
    """The run's network with its weights.

    Raises:
        UserError: for a file that is no checkpoint, or one of another run.
    """
    assert sought.weights is not None
    content = files.read(sought.weights)
    found = scored(content)
    if found is None or content.get("hash") != sought.record.hash:
        raise UserError(f"{sought.weights.name} has the weights of another run.")
    try:
        network = baselines.build(config.baseline, config.size)
        network.load_published(found[0])
    except ValueError as error:
        raise UserError(f"{sought.weights.name}: {str(error).rstrip('.')}.") from error
    return network.eval()
