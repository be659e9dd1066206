"""Training steps as they were measured on a GPU (``python -m benchmarks.speed gpu``), and whose measurement it is."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import results

MEASURED = Path(results.__file__).parent / "measured" / "speed-gpu.csv"
"""Where the measurements are kept."""

# the fields' own code, which is measured beside ours, has other words at the end
_CASE = re.compile(
    r"(?P<baseline>\S+) (?P<size>tiny|paper), batch (?P<batch>\d+), patch (?P<patch>\d+), "
    r"(?P<way>(?P<precision>fp32|tf32|bf16)( compiled)?( with CUDA graphs)?)"
)


@dataclass(frozen=True)
class Rate:
    """How fast a baseline trained.

    Attributes:
        baseline, size: what was trained.
        batch, patch: of its steps.
        precision: ``fp32``, ``tf32`` or ``bf16``.
        way: the same with what was used besides, ``bf16 compiled``.
        images_per_s: samples that steps took a second.
        peak_mib: GPU memory at most; ``None`` where it is not known.
        device, torch, commit: where, and with which versions.
    """

    baseline: str
    size: str
    batch: int
    patch: int
    precision: str
    way: str
    images_per_s: float
    peak_mib: float | None
    device: str
    torch: str
    commit: str

    @property
    def whose(self) -> str:
        """``NVIDIA H200, torch 2.11.0, commit 7b1e11c``."""
        return f"{self.device}, torch {self.torch}, commit {self.commit}"


def measured(baseline: str, precision: str | None = None, size: str = "paper", path: Path = MEASURED) -> Rate | None:
    """The fastest training of a baseline that was measured.

    Args:
        baseline: its name.
        precision: in which it trained; by default any.
        size: of the network.
        path: the table; of several rows for one case the last one counts.

    Returns:
        ``None`` where nothing is measured.
    """
    found = [
        rate
        for rate in _rates(path)
        if (rate.baseline, rate.size) == (baseline, size) and precision in (None, rate.precision)
    ]
    return max(found, key=lambda rate: rate.images_per_s, default=None)


def _rates(path: Path) -> list[Rate]:
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    except OSError:
        return []
    memory: dict[str, float] = {}
    rates: dict[str, Rate] = {}
    for row in rows:
        case = _CASE.fullmatch(row["case"])
        if case is None:
            continue
        values = _values(row["medians"])
        mib = values.get("peak_mib", values.get("mib"))
        if mib is not None:
            memory[row["case"]] = mib
        if speed := values.get("images_per_s"):
            rates[row["case"]] = Rate(
                batch=int(case["batch"]), patch=int(case["patch"]), images_per_s=speed, peak_mib=None,
                **{key: case[key] for key in ("baseline", "size", "precision", "way")},
                **{key: row[key] for key in ("device", "torch", "commit")},
            )  # fmt: skip
    return [replace(rate, peak_mib=memory.get(case)) for case, rate in rates.items()]


def _values(medians: str) -> dict[str, float]:
    """``ms=56.3; images_per_s=142`` by name."""
    parts = (part.partition("=") for part in medians.split(";"))
    return {name.strip(): float(value) for name, _, value in parts if value}
