"""Checkpoints of runs: written whole, beside the previous one, and checked before they are used."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from benchmarks.config.configuration import Config
from benchmarks.config.errors import UserError
from benchmarks.scoring import unpacking
from benchmarks.scoring.unpacking import load_checkpoint
from results import Run
from results.schema import CHECKPOINT, PREVIOUS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from benchmarks.training.conflicts import Row
    from benchmarks.training.rhythm import RhythmState
    from benchmarks.training.validation import CurveState


class Checkpoint(TypedDict):
    """The content of a checkpoint file.

    ``network``, ``optimizer``, ``strategy`` and ``average`` are states; ``seconds`` were spent on ``step`` steps, of
    which ``skipped`` had no update; ``learned``: whether any gradient was other than 0; ``norms``: of the gradients,
    (step,) where they are clipped at a percentile, else (0,); ``clipped``: steps that were, ``None`` where it is not
    known or none can be; ``hash``: of the run's configuration.
    """

    network: dict[str, Any]
    optimizer: dict[str, Any]
    strategy: dict[str, Any]
    average: NotRequired[dict[str, Any]]
    step: int
    seconds: float
    skipped: int
    learned: bool
    norms: Tensor
    clipped: NotRequired[int | None]
    hash: str
    rhythm: RhythmState
    conflicts: NotRequired[list[Row]]
    curve: NotRequired[CurveState]


def save(run: Run, content: Checkpoint) -> None:
    """Write the run's checkpoint; the one before becomes :data:`results.schema.PREVIOUS`.

    Raises:
        OSError: if it cannot be written (a full disk); both files then stay as they were.
    """
    import torch

    def write(path: Path) -> None:
        with _File(io.FileIO(path, "wb")) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                raise file.error or error from None
        unpacking.sign(path)

    run.write(CHECKPOINT, write, keep=PREVIOUS)


def resumable(folder: Path) -> bool:
    """Whether a checkpoint exists, intact or not."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def latest(folder: Path, config: Config, tasks: int, device: torch.device | str = "cpu") -> Checkpoint | None:
    """The newest intact checkpoint of a run, or ``None``; a damaged one is named on stderr.

    Args:
        folder: of the run.
        config: its configuration.
        tasks: how many its setting has.
        device: where the tensors go.

    Raises:
        UserError: if all are damaged, or one is of another configuration.
    """
    damaged: list[str] = []
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = load_checkpoint(path, device)
        except UserError as error:
            damaged.append(str(error))
            continue
        _check_hash(content, path, config)
        if wrong := problem(content, config, tasks):
            damaged.append(f"{path} cannot be used: {wrong}.")
            continue
        for words in damaged:
            print(f"warning: {words} Continuing from the one before, after step {content['step']}.", file=sys.stderr)
        return cast(Checkpoint, content)
    if damaged:
        raise UserError("no checkpoint can be used; move it away, or start the run anew with --fresh:", damaged)
    return None


def _check_hash(content: Mapping[str, Any], path: Path, config: Config) -> None:
    wanted = config.hash
    if content.get("hash") != wanted:
        raise UserError(
            f"{path} belongs to another configuration ({content.get('hash')}, this run is {wanted}); "
            "move it away, or start the run anew with --fresh."
        )


def problem(content: Mapping[str, Any], config: Config, tasks: int) -> str | None:
    """What is missing from a checkpoint's content, or of another kind; ``None`` if nothing is."""
    import torch

    kinds: dict[str, Any] = {
        "network": Mapping,
        "optimizer": Mapping,
        "strategy": Mapping,
        "step": int,
        "seconds": int | float,
    }
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
    clipped = content.get("clipped")
    if clipped is not None and (type(clipped) is not int or not 0 <= clipped <= content["step"]):
        return "its number of clipped steps cannot be"
    norms = content["step"] if config.train.clip_percentile else 0
    probes = content.get("conflicts", [])
    if not isinstance(probes, list) or not all(isinstance(row, tuple | list) and len(row) == 5 for row in probes):
        return "its probes of conflicts are of another form"
    if "curve" in content and not _is_curve(content["curve"], content["step"]):
        return "its validation curve is of another form"
    rows = content["rhythm"]
    steps = rows.get("steps")
    if not isinstance(steps, list) or not all(type(step) is int and step <= content["step"] for step in steps):
        return "its rhythm has other steps than it"
    shapes = {"norms": (content["norms"], (norms,)), "running": (rows.get("running"), (tasks,))}
    shapes |= {"rhythm": (rows.get("values"), (len(steps), 4, tasks))}
    wrong = [name for name, (value, shape) in shapes.items() if not _is_floats(value, shape)]
    return f"its {wrong[0]!r} is of another form" if wrong else None


def _is_curve(state: object, step: int) -> bool:
    if not isinstance(state, Mapping) or not isinstance(state.get("images"), list):
        return False
    rows = state.get("rows")
    if not isinstance(state.get("seconds"), float) or not isinstance(rows, list):
        return False
    return all(isinstance(row, tuple | list) and len(row) == 5 and 0 < row[0] <= step for row in rows)


def _is_floats(value: object, shape: tuple[int, ...]) -> bool:
    import torch

    if not isinstance(value, torch.Tensor) or value.is_nested or value.layout != torch.strided:
        return False
    return value.dtype == torch.float32 and tuple(value.shape) == shape


def restore(folder: Path, content: Checkpoint, parts: Mapping[str, nn.Module | Optimizer]) -> None:
    """Put the states of :func:`latest`'s content into network, optimizer, strategy and weight average.

    Raises:
        UserError: if one does not fit; some may be changed then.
    """
    for name, part in parts.items():
        before = _options(part)
        try:
            part.load_state_dict(content[name])
            _lay_out(part)
            wrong, why = _changed(before, _options(part)) or _misshapen(part), ""
        except Exception as error:  # every part has its own kinds
            wrong, why = True, f" ({unpacking.reason(error)})"
        if wrong:
            raise UserError(
                f"the checkpoint in {folder} does not fit this run: its {name!r} is another's{why}; "
                "move it away, or start the run anew with --fresh."
            )


def _lay_out(part: nn.Module | Optimizer) -> None:
    """Give an optimizer's moments the memory layout of their weights, which differs between a CPU and a GPU."""
    import torch

    for weight in (weight for group in _groups(part) for weight in group["params"]):
        moments = cast(Any, part).state.get(weight, {})
        for name, value in moments.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                moments[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _groups(part: nn.Module | Optimizer) -> list[dict[str, Any]]:
    """The groups of parameters of an optimizer; none of a network."""
    return getattr(part, "param_groups", [])


def _options(part: nn.Module | Optimizer) -> list[dict[str, Any]]:
    """An optimizer's options, without the rate, which follows the step."""
    return [{key: value for key, value in group.items() if key not in ("params", "lr")} for group in _groups(part)]


def _changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    """Whether options that both have differ; other versions of torch have other options."""
    pairs = zip(before, after, strict=True)
    return any(old[key] != new[key] for old, new in pairs for key in old.keys() & new.keys())


def _misshapen(part: nn.Module | Optimizer) -> bool:
    """Whether an optimizer has moments of another shape than their weights."""
    weights = [weight for group in _groups(part) for weight in group["params"]]
    moments = [(weight, cast(Any, part).state.get(weight, {}).items()) for weight in weights]
    return any(name != "step" and value.shape != weight.shape for weight, items in moments for name, value in items)


class _File(io.BufferedWriter):
    """Remembers the system's error when it cannot be written: torch may raise another one instead."""

    error: OSError | None = None

    def write(self, buffer: Any, /) -> int:
        try:
            return super().write(buffer)
        except OSError as error:
            self.error = error
            raise
