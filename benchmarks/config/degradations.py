"""The degradations by name, known without importing torch: each name leads to a ``module:attribute``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.config.outside import points

FOLDER = Path(__file__).parents[1] / "data" / "degradations"
"""A file there that has the name of a degradation holds it, under that name."""

_PACKAGE = "benchmarks.data.degradations"
_MIXTURES = ("low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow", "low_haze_rain", "low_haze_snow")


@cache
def known() -> dict[str, str]:
    """Where every degradation stands: our own, and those of the entry-point group ``benchmarks.degradations``."""
    plugged = {point.name: point.value for point in points("benchmarks.degradations")}
    files = sorted({path.stem for path in FOLDER.glob("[a-z]*.py")} - {"conformance"})
    mixtures = {name: f"{_PACKAGE}._mixtures:{name}" for name in _MIXTURES}
    return plugged | {name: f"{_PACKAGE}.{name}:{name}" for name in files} | mixtures
