"""Loading networks from checkpoint files: those that the networks' authors published, and those of this project's runs.

Nothing in a file is ever executed: torch's restricted reader builds tensors and plain containers only. Files of
training frameworks hold other objects beside the weights (hyper-parameters, state of callbacks, a score as a number of
NumPy's). Those of :data:`BESIDE` are read as inert stand-ins, for which nothing is imported; a file with any other
object is refused.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

import baselines
from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.scoring import unpacking
from benchmarks.scoring.unpacking import scored
from results import Damaged, Run
from results.schema import CHECKPOINT, CONFIG

if TYPE_CHECKING:
    from baselines import Network

BESIDE = (
    "addict",
    "argparse",
    "collections",
    "datetime",
    "easydict",
    "enum",
    "lightning",
    "lightning_fabric",
    "ml_collections",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "typing",
    "yacs",
)
"""Modules whose objects may lie beside the weights."""

_PLAIN = {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "slice", "str", "tuple")}
_MAPPINGS = {"collections.defaultdict", "addict.addict.Dict", "easydict.EasyDict", "yacs.config.CfgNode"}


@dataclass(frozen=True)
class Loaded:
    """A network with published or trained weights, in evaluation mode.

    ``baseline``, ``size``: what it is; ``path``: the file; ``about``: what was found in it, for people; ``run``: the
    run that it is from, and ``config`` that run's configuration, ``None`` for a published file.
    """

    network: Network
    baseline: str
    size: str
    path: Path
    about: str
    run: Run | None = None
    config: Config | None = None

    @property
    def title(self) -> str:
        """The baseline's display name."""
        return baselines.describe(self.baseline).name


@dataclass(frozen=True)
class NetworkRequest:
    """The options of :func:`add_arguments`."""

    run: Path | None
    checkpoint: Path | None
    baseline: str | None
    size: str | None


def add_arguments(parser: ArgumentParser) -> None:
    """Let a command take a network: ``--run``, or ``--baseline`` with ``--checkpoint`` and ``--size``."""
    known = f"{', '.join(baselines.names())}, or package.module:Class"
    group = parser.add_argument_group("the network, one of")
    group.add_argument("--run", type=Path, metavar="RUN_FOLDER", help="a run of this project")
    group.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="weights with the authors' names; --baseline tells whose"
    )
    group.add_argument("--baseline", metavar="NAME", help=f"of the checkpoint: {known}")
    group.add_argument("--size", choices=["paper", "tiny"], help="of the checkpoint's network (default: paper)")


def load(request: NetworkRequest) -> Loaded:
    """The network that a request names.

    Raises:
        UserError: for options that do not go together, and as :func:`load_run` and :func:`load_published` do.
    """
    published = {"--checkpoint": request.checkpoint, "--baseline": request.baseline}
    given = [name for name, value in (published | {"--size": request.size}).items() if value]
    if request.run:
        if given:
            raise UserError(f"--run names a network already; leave out {' and '.join(given)}.")
        return load_run(request.run)
    if not request.checkpoint or not request.baseline:
        missing = [name for name, value in published.items() if not value]
        raise UserError(f"{' and '.join(missing)} missing: name a network by --checkpoint and --baseline, or by --run.")
    return load_published(request.checkpoint, request.baseline, request.size or "paper")


def load_published(path: Path, baseline: str, size: str = "paper") -> Loaded:
    """A baseline with the weights of a file in its authors' layout (:meth:`baselines.Network.load_published`).

    Args:
        path: written by ``torch.save``; wrappers around the weights are found and told.
        baseline: one of :func:`baselines.names`, or ``package.module:Class``.
        size: ``paper`` or ``tiny``.

    Raises:
        UserError: for an unknown baseline, an unreadable file, one that holds code, or weights of another network,
            with the first mismatches.
    """
    try:
        network = baselines.build(baseline, size)
    except ValueError as error:
        raise UserError(str(error)) from error
    content = read(path)
    own = scored(content)
    try:
        found = network.load_published(own[0] if own else content)
    except ValueError as error:
        raise UserError(f"{path}: {error}.{_fits(content, but=(baseline, size))}") from error
    about = f"the network's own names{found[5:]}" if found.startswith("plain") else f"wrapper {found}"
    return Loaded(network.eval(), baseline, size, path, f"a run of this project, {own[1]}" if own else about)


def load_run(folder: Path) -> Loaded:
    """The network of one of this project's runs, as it is scored: the weight average where the run keeps one.

    Args:
        folder: of the run, with ``config.json`` and ``checkpoint.pt``.

    Raises:
        UserError: if the folder holds no run, or one without a checkpoint that fits its configuration.
    """
    run, path = Run(folder), folder / CHECKPOINT
    try:
        (config, wanted), _ = configured(run), run.data
    except Damaged as error:
        raise UserError(f"{folder}: {error}; take another run, or do this one anew.") from error
    if not path.exists():
        raise UserError(f"{folder} has no {CHECKPOINT} (status: {run.status.state}); the run must train first.")
    content = read(path)
    if content.get("hash") != wanted:
        raise UserError(f"{path} belongs to another configuration than the {CONFIG} beside it.")
    state, about = scored(content, f" of {config.train.steps}") or ({}, "")
    try:
        network = baselines.build(config.baseline, config.size)
        network.load_published(state)
    except ValueError as error:
        said = f"the {CONFIG} beside it says {config.baseline}, size {config.size}"
        raise UserError(f"{path}: {error}; {said}.") from error
    return Loaded(network.eval(), config.baseline, config.size, path, about, run, config)


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, tensors on the CPU, without executing anything in it.

    Raises:
        UserError: if there is no such file, it is no checkpoint, or it holds more than weights and plain values.
    """
    import torch

    start = _start(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return _safetensors(path)
    if start.startswith(unpacking.ZIPPED) and (problem := unpacking.damage(path)):
        raise UserError(f"{path} is no checkpoint: {problem}.")
    others = _others(path)
    refused = sorted(name for name in others if name.partition(".")[0] not in BESIDE and name not in _PLAIN)
    if refused:
        raise UserError(_refusal(path, refused))
    if problem := unpacking.strange(path):
        raise UserError(f"{path} is no checkpoint: {problem}.")
    try:
        with torch.serialization.safe_globals([_stand_in(name) for name in others]), path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files; all mean the same to the user
        refused = re.findall(r"GLOBAL (\S+)", str(error))
        reason = f"damaged, cut short or not of torch.save ({unpacking.reason(error)})"
        raise UserError(_refusal(path, refused) if refused else f"{path} is no checkpoint: {reason}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no named weights but a {type(content).__name__}.")
    return content


def _start(path: Path) -> bytes:
    """The first nine bytes, by which formats are told apart."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(9)
        found = "a folder" if path.is_dir() else "no regular file" if path.exists() else "not there"
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    raise UserError(f"{path} is {found}; name a checkpoint file.")


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path} is a file of safetensors; install the package of that name to read it.") from error
    try:
        return load_file(path)
    except Exception as error:  # of the package's own kind, or torch's for types that it lacks
        raise UserError(f"{path} is no checkpoint: damaged or cut short ({unpacking.reason(error)}).") from error


def configured(run: Run) -> tuple[Config, str]:
    """A run's configuration and its hash, as they are recorded.

    Raises:
        UserError: if there is none, or none of this version.
    """
    record = run.record
    if record is None:
        raise UserError(f"{run.folder} is not the folder of a run: there is no {CONFIG} in it.")
    try:
        return Config.model_validate(record.config.content()), record.hash
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors())
        raise UserError(f"{run.folder / CONFIG} is not a configuration of this version:", mistakes) from error


def _others(path: Path) -> list[str]:
    """Full names of what a file would import beyond torch's weights, found without importing it."""
    import torch

    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # not of today's format, or damaged: torch.load will say
        return []


def _stand_in(name: str) -> type:
    """A class that goes by ``name`` and does nothing; of a kind of dictionary, one that makes plain ones."""
    module, _, own = name.rpartition(".")
    mapping = name in _MAPPINGS or own in ("AttributeDict", "ConfigDict")
    return type(own, (_Mapping if mapping else _Object,), {"__module__": module, "__qualname__": own})


class _Object:
    """Takes whatever an object is built from, and keeps nothing of it."""

    def __new__(cls, *_: Any, **__: Any) -> _Object:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Mapping:
    """An ordered dictionary instead of another kind: the only one whose items and state the reader fills in."""

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:
        return OrderedDict()


def _refusal(path: Path, names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return (
        f"{path} holds more than weights ({shown}), which could run code when loaded; nothing of it was executed. "
        "Where you trust the file and have its code, save the weights alone: torch.save(network.state_dict(), FILE)."
    )


def _fits(content: dict[str, Any], but: tuple[str, str]) -> str:
    """`` They fit promptir, size paper.`` where another baseline or size takes these weights."""
    import torch

    from baselines import weights

    found = weights.mappings(content)
    known = sorted(set(baselines.names()) - set(baselines.plugins()), key=lambda name: (name != but[0], name))
    for name, size in ((known_name, size) for known_name in known for size in baselines.describe(known_name).sizes):
        if (name, size) == but:
            continue
        with torch.device("meta"):  # names and shapes without values
            network = baselines.build(name, size)
        if weights.fits(network, found):
            return f" They fit {name}, size {size}."
    return ""
