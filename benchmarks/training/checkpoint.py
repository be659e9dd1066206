"""Checkpoints of runs: written whole, with the one before kept, and looked through before they are used."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.scoring import unpacking
from benchmarks.scoring.unpacking import load_checkpoint
from results import Run
from results.schema import CHECKPOINT, PREVIOUS

if TYPE_CHECKING:
    import torch


def save(run: Run, content: dict[str, Any]) -> None:
    """Write the run's checkpoint; the one that was there becomes :data:`results.schema.PREVIOUS`.

    Raises:
        OSError: if it cannot be written (a full disk); both files are then as they were.
    """
    import torch

    def write(path: Path) -> None:
        with _File(io.FileIO(path, "wb")) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                raise file.trouble or error from None
        unpacking.sign(path)

    run.write(CHECKPOINT, write, keep=PREVIOUS)


def resumable(folder: Path) -> bool:
    """Whether there is a checkpoint, whatever its condition."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def latest(folder: Path, config: Config, tasks: int, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The newest intact checkpoint of a run, ``None`` where there is none; a damaged one is told of on stderr.

    Args:
        folder: of the run.
        config: its configuration.
        tasks: how many its setting has.
        device: where the tensors go.

    Raises:
        UserError: if what is there is damaged beyond use or of another configuration.
    """
    damaged = []
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = load_checkpoint(path, device)
        except UserError as error:
            damaged.append(str(error))
            continue
        _same(content, path, config)
        if trouble := _trouble(content, config, tasks):
            damaged.append(f"{path} cannot be used: {trouble}.")
            continue
        for told in damaged:
            print(f"warning: {told} Continuing from the one before, after step {content['step']}.", file=sys.stderr)
        return content
    if damaged:
        raise UserError("no checkpoint can be used; move it away, or start the run anew with --fresh:", damaged)
    return None


def _same(content: dict[str, Any], path: Path, config: Config) -> None:
    wanted = config.hash
    if content.get("hash") != wanted:
        raise UserError(
            f"{path} belongs to another configuration ({content.get('hash')}, this run is {wanted}); "
            "move it away, or start the run anew with --fresh."
        )


def _trouble(content: dict[str, Any], config: Config, tasks: int) -> str | None:
    """What of a checkpoint's content is missing or of another kind."""
    import torch

    kinds = {"network": Mapping, "optimizer": Mapping, "strategy": Mapping, "step": int, "seconds": int | float}
    kinds |= {"skipped": int, "learned": bool, "rhythm": Mapping, "norms": torch.Tensor}
    kinds |= {"average": Mapping} if config.train.ema else {}
    for name, kind in kinds.items():
        if name not in content:
            return f"there is no {name!r} in it (files of older versions lack some); start the run anew with --fresh"
        if not isinstance(content[name], kind) or isinstance(content[name], bool) != (kind is bool):
            return f"its {name!r} is a {type(content[name]).__name__}"
    if not 0 <= content["step"] <= config.train.steps:
        return f"its step is {content['step']} of {config.train.steps}"
    if not (math.isfinite(content["seconds"]) and content["seconds"] >= 0 and content["skipped"] >= 0):
        return "its seconds or its number of skipped updates cannot be"
    norms = content["step"] if config.train.clip_percentile else 0
    probes = content.get("conflicts", [])
    if not isinstance(probes, list) or not all(isinstance(row, tuple | list) and len(row) == 5 for row in probes):
        return "its probes of conflicts are of another form"
    rows = content["rhythm"]
    steps = rows.get("steps")
    if not isinstance(steps, list) or not all(type(step) is int and step <= content["step"] for step in steps):
        return "its rhythm has other steps than it"
    shapes = {"norms": (content["norms"], (norms,)), "running": (rows.get("running"), (tasks,))}
    shapes |= {"rhythm": (rows.get("values"), (len(steps), 4, tasks))}
    wrong = [name for name, (value, shape) in shapes.items() if not _is_floats(value, shape)]
    return f"its {wrong[0]!r} is of another form" if wrong else None


def _is_floats(value: Any, shape: tuple[int, ...]) -> bool:
    import torch

    plain = isinstance(value, torch.Tensor) and not value.is_nested and value.layout == torch.strided
    return plain and value.dtype == torch.float32 and tuple(value.shape) == shape


def restore(folder: Path, content: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Put the states of :func:`latest`'s content into network, optimizer, strategy and weight average.

    Raises:
        UserError: if one does not fit; some may be changed then.
    """
    for name, part in parts.items():
        before = _choices(part)
        try:
            part.load_state_dict(content[name])
            strange = _changed(before, _choices(part)) or _misshapen(part)
        except Exception as error:  # every part has its own kinds
            strange = unpacking.reason(error)
        if strange:
            why = f" ({strange})" if isinstance(strange, str) else ""
            raise UserError(
                f"the checkpoint in {folder} does not fit this run: its {name!r} is another's{why}; "
                "move it away, or start the run anew with --fresh."
            )


def _choices(part: Any) -> list[dict[str, Any]]:
    """An optimizer's settings beside the rate, which follows the step."""
    groups = getattr(part, "param_groups", [])
    return [{key: value for key, value in group.items() if key not in ("params", "lr")} for group in groups]


def _changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Whether settings that both have differ; other versions of torch have others."""
    pairs = zip(before, after, strict=True)
    return any(one[key] != other[key] for one, other in pairs for key in one.keys() & other.keys())


def _misshapen(part: Any) -> bool:
    """Whether an optimizer has moments of another shape than their weights."""
    weights = [weight for group in getattr(part, "param_groups", []) for weight in group["params"]]
    moments = [(weight, part.state.get(weight, {}).items()) for weight in weights]
    return any(name != "step" and value.shape != weight.shape for weight, items in moments for name, value in items)


class _File(io.BufferedWriter):
    """Keeps the system's reason why it could not be written, which torch may cover with an error of its own."""

    trouble: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.trouble = error
            raise
