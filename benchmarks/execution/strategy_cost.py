"""What a strategy's step costs over mix's, where that was measured: in the output folder, else by this project."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import art
import results
from benchmarks.config.configuration import Config
from benchmarks.execution.step_cost import COSTS, StepCosts

MEASURED = Path(results.__file__).parent / "measured" / "speed-cpu.csv"
"""Where the ratios that this project has measured are kept (``python -m benchmarks.speed``)."""

_CASE = re.compile(r"(?P<strategy>\S+) over mix, transweather tiny")
_AS_MIX = ("mix", "fixed", "single")  # whose step is mix's


class Ratio(NamedTuple):
    """A strategy's step over mix's; ``source`` says whose measurement it is, empty where there is none."""

    value: float
    source: str


def ratio(config: Config, output: Path) -> Ratio:
    """Of a run's strategy; 1 without a source where nobody has measured it.

    Raises:
        UserError: where the output folder's ratios cannot be read.
    """
    name, _ = art.parse(config.strategy)
    if name in _AS_MIX:
        return Ratio(1.0, "mix's own")
    if config.terms.budget == "cost" and config.terms.ratio != 1:
        return Ratio(config.terms.ratio, "as planned")
    if kept := _kept(output).ratio(config):
        return Ratio(kept, f"measured, {COSTS}")
    if name in (table := _measured(MEASURED)):
        return Ratio(*table[name])
    return Ratio(1.0, "")


def _kept(output: Path) -> StepCosts:
    path = output / COSTS
    return _read((output, path.stat().st_mtime_ns if path.exists() else 0))


@lru_cache(maxsize=4)
def _read(state: tuple[Path, int]) -> StepCosts:
    """Of a folder whose file was last changed then."""
    return StepCosts(state[0], {})


@lru_cache(maxsize=4)
def _measured(path: Path) -> Mapping[str, tuple[float, str]]:
    """Ratio and device by name of the strategy, on tiny TransWeather; of several rows for one the last one counts."""
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    except OSError:
        return {}
    found = [(case["strategy"], row) for row in rows if (case := _CASE.fullmatch(row["case"]))]
    return {name: (float(row["ratio"]), f"tiny TransWeather on {row['device']}") for name, row in found if row["ratio"]}
