"""What only the packages above know: names of strategies, keys of configurations, networks and scores.

:mod:`results` imports none of them. Its commands ask :data:`MODULE` where it is installed, and say so where it is not.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from results.records import DataRecord, RunRecord
from results.store import Run

MODULE = "benchmarks.execution.sharing"


class Missing(ValueError):
    """What a command needs is not installed here; the message says what in one sentence."""


class Unusable(ValueError):
    """What the packages above were given cannot be used; the message says why in one sentence."""


@dataclass(frozen=True)
class Remark:
    """What is to be said of one run, or of several that share it: ``problem`` or only worth knowing."""

    problem: bool
    text: str


@dataclass(frozen=True)
class Rescored:
    """Runs scored again: ``done`` of them, the largest differences in ``psnr`` (dB) and ``ssim`` of an image, and what
    is to be said of a run, by its place among those given."""

    done: int
    psnr: float
    ssim: float
    remarks: Sequence[tuple[int, Remark]]


@dataclass(frozen=True)
class Sought:
    """A run to be looked at again: its record, the sets it used and, to be scored, the file of its weights."""

    run: Run
    record: RunRecord
    data: Sequence[DataRecord]
    weights: Path | None = None


@dataclass(frozen=True)
class Own:
    """What the person at the command brings along: files of ``settings`` and of ``data_sets``, and ``networks``
    (``mypkg.net:Plain``) that may be imported."""

    settings: Sequence[Path] = ()
    data_sets: Sequence[Path] = ()
    networks: Sequence[str] = ()


class Above(Protocol):
    """What :data:`MODULE` offers."""

    def remarks(self, runs: Sequence[Sought], own: Own) -> list[tuple[int, Remark]]:
        """What the configurations, strategies and test images of runs are, measured by this version; by place."""
        ...

    def write_weights(self, run: Path, path: Path) -> None:
        """Write the final weights of the run in a folder, and nothing else of its checkpoint, to a file."""
        ...

    def images(self, runs: Sequence[Sought], data_root: Path, cache: Path, own: Own) -> list[tuple[int, Remark]]:
        """Whether runs on files were scored on the images below a folder; remarks by place."""
        ...

    def rescore(
        self, runs: Sequence[Sought], data_root: Path | None, cache: Path, device: str, tolerance: dict[str, float],
        own: Own,
    ) -> Rescored:  # fmt: skip
        """Score the weights of runs again and compare with what is recorded."""
        ...


def above(why: str) -> Above:
    """The module.

    Args:
        why: it is needed, for the message.

    Raises:
        Missing: if it cannot be imported.
    """
    try:
        return cast(Above, importlib.import_module(MODULE))
    except ImportError as error:
        raise Missing(f"{why} needs the whole project installed, with torch ({error}).") from error
