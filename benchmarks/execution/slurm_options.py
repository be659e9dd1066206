"""What ``--slurm KEY=VALUE,...`` asks for: which jobs Slurm is to run, in its own words where it has some."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from benchmarks.config.errors import UserError, nearest
from results.visible import visible

EXECUTORS = ("slurm", "local", "debug")
_LONGEST = 24 * 365  # hours
_SAVING = 180  # seconds that a job has before its time is over, for the step at hand and its checkpoint


@dataclass(frozen=True)
class SlurmOptions:
    """How the jobs of a grid are to be run.

    Attributes:
        executor: ``slurm``; ``local``: processes of this machine in place of jobs; ``debug``: in the command itself.
        partition, account, qos, constraint, exclude, reservation, gres: passed to sbatch as they are.
        gpus: of a job, 0 or 1.
        cpus: cores of a job; by default as many as its run has threads.
        memory: of a job, GB.
        hours: a job may take at most; a run that takes longer is requeued and goes on.
        at_once: jobs at work at a time, at most; by default Slurm decides, and ``local`` has one a run's threads.
        interrupt: what Ctrl-C does to jobs, ``leave`` or ``cancel``.
    """

    executor: Literal["slurm", "local", "debug"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    reservation: str | None = None
    gres: str | None = None
    gpus: int = 0
    cpus: int | None = None
    memory: float | None = None
    hours: float = 24.0
    at_once: int | None = None
    interrupt: Literal["leave", "cancel"] = "leave"

    @classmethod
    def read(cls, text: str) -> SlurmOptions:
        """``partition=gpu,gpus=1,hours=24``; a piece without ``=`` belongs to the value before, as in lists of Slurm.

        Raises:
            UserError: with everything that is wrong with it.
        """
        given, problems = _pairs(text)
        values: dict[str, Any] = {}
        for key, value in given.items():
            try:
                values[key] = _READERS[key](value)
            except KeyError:
                near = nearest(key, _READERS).rstrip(".")
                problems.append(f"unknown key {visible(repr(key))}{near} keys are {', '.join(_READERS)}")
            except ValueError as error:
                problems.append(f"{key}={visible(value)}: {error}")
        if problems:
            raise UserError(f"--slurm {visible(text)}: {'; '.join(problems)}.")
        return cls(**values)

    @property
    def minutes(self) -> int:
        """That a job may take at most."""
        return max(1, math.ceil(self.hours * 60))

    @property
    def notice(self) -> int:
        """Seconds before the end of its time at which a job hears of it."""
        return min(_SAVING, self.minutes * 60 // 4)

    def device(self, asked: str) -> str:
        """Where a run trains in its job, which finds a GPU where one was asked for or says that there is none."""
        return "cuda" if self.gpus and asked == "auto" else asked

    def for_sbatch(self, cpus: int) -> dict[str, Any]:
        """Parameters of submitit's executor for Slurm.

        Args:
            cpus: cores of a job where :attr:`cpus` does not say.
        """
        cores = self.cpus or cpus
        named = {key: getattr(self, key) for key in ("partition", "account", "qos", "constraint", "exclude", "gres")}
        further = {"requeue": True} | ({"reservation": self.reservation} if self.reservation else {})
        return {
            **{key: value for key, value in named.items() if value is not None},
            **({"gpus_per_node": self.gpus} if self.gpus else {}),
            **({"mem": f"{math.ceil(self.memory * 1024)}MB"} if self.memory else {}),
            **({"array_parallelism": self.at_once} if self.at_once else {}),
            "job_name": "restoration", "time": self.minutes, "cpus_per_task": cores, "signal_delay_s": self.notice,
            "srun_args": [f"--cpus-per-task={cores}"],  # since 22.05 srun does not take it from sbatch
            "stderr_to_stdout": True, "wckey": None, "additional_parameters": further,
        }  # fmt: skip


def _pairs(text: str) -> tuple[Mapping[str, str], list[str]]:
    pairs: dict[str, str] = {}
    problems: list[str] = []
    last = ""
    for piece in text.split(","):
        key, mark, value = piece.partition("=")
        if not mark and last:
            pairs[last] += f",{piece}"
            continue
        last = key.strip()
        if not mark or not value.strip():
            problems.append(f"{visible(repr(piece))} is not KEY=VALUE")
        elif last in pairs:
            problems.append(f"{last} is given twice")
        pairs[last] = value.strip()
    return {key: value for key, value in pairs.items() if value}, problems


def _word(text: str) -> str:
    if any(not sign.isprintable() or sign.isspace() for sign in text):
        raise ValueError("it has a space or a control character")
    return text


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return read


def _whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) < 10**6):
            raise ValueError(f"a whole number from {least} on is meant")
        return int(text)

    return read


def _gpus(text: str) -> int:
    count = _whole(0)(text)
    if count > 1:
        raise ValueError("a run trains on one GPU; at_once says how many runs are at work at a time")
    return count


def _amount(unit: str, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value <= most:
            raise ValueError(f"{unit} above 0 are meant, as a number such as 24 or 0.5")
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {field.name: _word for field in fields(SlurmOptions)} | {
    "executor": _one_of(*EXECUTORS), "gpus": _gpus, "cpus": _whole(1), "memory": _amount("GB", 10**6),
    "hours": _amount("hours", _LONGEST), "at_once": _whole(1), "interrupt": _one_of("leave", "cancel"),
}  # fmt: skip
