"""Where a training starts that does not start with fresh weights.

``train.init`` names weights: a file in any wrapper that ``benchmarks.evaluate`` reads, or the folder of a finished run,
whose scored weights are taken. Optimizer, strategy and schedule are those of any new run. A run with an ``origin`` goes
on from the end of a finished one, with its optimizer, strategy, weight average and records, to more steps.

What lies at a place is known by the digest of its weights, so that a moved file is the same run and a changed one
another.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.scoring import weights as files
from benchmarks.scoring.unpacking import load_checkpoint
from benchmarks.training.checkpoint import Checkpoint, problem, resumable
from results import Run
from results.records import State
from results.schema import CHECKPOINT, START

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def digest(state: Mapping[str, Tensor]) -> str:
    """What stands for named weights: their names, kinds, shapes and bits, wherever they are and whatever holds them."""
    import torch

    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def resolved(config: Config) -> Config:
    """The run with the whole path of its weights, and what stands for them.

    Raises:
        UserError: for a file that is not there or cannot be read, weights of another network, and a run that is not
            finished or has another network.
    """
    if not config.train.init:
        return config
    place = Path(config.train.init).expanduser().resolve()
    if "*" in place.name and not place.exists():
        raise UserError(f"train.init: {place} is not there; behind an = shells fill in no *: write the whole name.")
    path = place / CHECKPOINT if place.is_dir() else place
    written = path.stat().st_mtime_ns if path.exists() else 0
    return config.with_weights(str(place), _digest(place, config.baseline, config.size, written))


@lru_cache(maxsize=64)
def _digest(place: Path, baseline: str, size: str, _: int) -> str:
    return digest(_loaded(place, baseline, size))


def _loaded(place: Path, baseline: str, size: str) -> dict[str, Tensor]:
    """The weights at a place, with the names of the baseline's network.

    Raises:
        UserError: as :func:`resolved` does.
    """
    try:
        if not place.is_dir():
            return files.load_published(place, baseline, size).network.state_dict()
        run = Run(place)
        record = run.legible().record
        if record and (record.config.baseline, record.config.size) != (baseline, size):
            raise UserError(
                f"{place} is a run of {record.config.baseline}, size {record.config.size}, "
                f"not of {baseline}, size {size}."
            )
        check_finished(run)
        return files.load_run(place).network.state_dict()
    except UserError as error:
        raise UserError(f"train.init, for {baseline}: {error}") from error


def check_finished(run: Run) -> None:
    """Whether a run is finished, if the folder is one.

    Raises:
        UserError: if not.
    """
    legible = run.legible()
    if legible.record and legible.status.state != State.DONE:
        raise UserError(
            f"the run {run.folder} is not finished (status: {legible.status.state}); the command that began it "
            "continues it."
        )


def weights(config: Config, folder: Path) -> dict[str, Tensor] | None:
    """The weights that a training in this folder starts with; ``None`` for fresh ones, and where a checkpoint is.

    Raises:
        UserError: as :func:`resolved` does, and where they are others than the run is for.
    """
    if not config.train.init or config.origin.run or resumable(folder):
        return None
    sent = folder / START
    place = sent if sent.exists() else Path(config.train.init)
    state = _loaded(place, config.baseline, config.size)
    if digest(state) != config.train.weights:
        raise UserError(
            f"the weights in {place} have changed since this run was planned; the same command plans it anew."
        )
    return state


def end_of_origin(config: Config, folder: Path, tasks: int, device: torch.device | str = "cpu") -> Checkpoint | None:
    """The checkpoint of the finished run that a training in this folder goes on from; ``None`` where there is none.

    Raises:
        UserError: if it cannot be read, or is another than the run is for.
    """
    origin = config.origin
    if not origin.run:
        return None
    sent = folder / START
    path = sent if sent.exists() else Path(origin.folder) / CHECKPOINT
    content = load_checkpoint(path, device)
    if content.get("hash") != origin.run or content.get("step") != origin.step:
        raise UserError(f"{path} is no longer the end of run {origin.run}, after step {origin.step}.")
    if wrong := problem(content, config, tasks):
        raise UserError(f"{path} cannot be used: {wrong}.")
    if digest(content["network"]) != origin.weights:
        raise UserError(
            f"the weights in {path} have changed since this run was planned; the same command plans it anew."
        )
    return cast("Checkpoint", content)


def packed(config: Config, folder: Path) -> dict[str, bytes]:
    """What a run that begins on another machine needs beside its own files, as :data:`results.schema.START`.

    Raises:
        UserError: as :func:`weights` does.
    """
    import torch

    if resumable(folder) or not (config.origin.run or config.train.init):
        return {}
    if config.origin.run:
        return {START: (Path(config.origin.folder) / CHECKPOINT).read_bytes()}
    held = io.BytesIO()
    torch.save(cast("dict[str, Any]", weights(config, folder)), held)
    return {START: held.getvalue()}
