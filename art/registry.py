"""Strategies by name: ``art``, ``art:tau=1``, ``package.module:Class:param=value``."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art.strategy import Strategy


@dataclass(frozen=True)
class Entry:
    """One known strategy. ``defaults`` are its parameters; ``cost`` is ``losses`` (task losses only)."""

    target: str
    about: str
    defaults: dict[str, Any] = field(default_factory=dict)
    cost: str = "losses"


_KNOWN = {
    "mix": Entry("art.strategy:MixStrategy", "one loss over the shuffled mixture, equal weight per sample"),
    "equal": Entry("art.strategy:Equal", "mean of the task losses, equal weight per task"),
    "art": Entry(
        "art.active_reweighting:Art",
        "active reweighting (Wu et al., ACM MM 2024)",
        {"tau": 0.1, "momentum": 0.01, "start": 0.1, "released": False},
    ),
}


@cache
def entries() -> dict[str, Entry]:
    """All named strategies: this project's and those of the entry-point group ``art.strategies``."""
    plugged = {
        point.name: Entry(point.value, f"from {point.dist.name if point.dist else point.value}")
        for point in entry_points(group="art.strategies")
    }
    return plugged | _KNOWN


def names() -> list[str]:
    """Names that :func:`make` knows."""
    return sorted(entries())


def parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Split a spec into the strategy's name (or ``package.module:Class``) and its parameters.

    ``art:released`` is short for ``art:released=true``.

    Raises:
        ValueError: for an unknown name or parameter or a malformed spec, naming the nearest known one.
    """
    head, *rest = spec.split(":")
    if head not in entries() and "." in head and rest and "=" not in rest[0]:
        head, rest = f"{head}:{rest[0]}", rest[1:]
    if ":" not in head and head not in entries():
        raise ValueError(f"unknown strategy {head!r}{_nearest(head, names())} Known: {', '.join(names())}; or "
                         "package.module:Class.")  # fmt: skip
    parameters = {}
    for part in rest:
        key, separator, text = part.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", key) or (separator and not text):
            raise ValueError(f"strategy {spec!r}: expected parameter=value, found {part!r}.")
        parameters[key] = _value(text) if separator else True
    known = entries().get(head)
    if known and known.target.startswith("art."):
        for key in parameters.keys() - known.defaults.keys():
            raise ValueError(f"strategy {head!r} has no parameter {key!r}{_nearest(key, known.defaults)} "
                             f"It has: {', '.join(known.defaults) or 'none'}.")  # fmt: skip
    return head, parameters


def canonical(spec: str) -> str:
    """The one spelling of a spec: parameters sorted, those at their default left out (``art:tau=0.1`` is ``art``)."""
    name, parameters = parse(spec)
    defaults = entries()[name].defaults if name in entries() else {}
    told = {key: value for key, value in sorted(parameters.items()) if key not in defaults or defaults[key] != value}
    return ":".join([name, *(key if value is True else f"{key}={_text(value)}" for key, value in told.items())])


def make(spec: str, tasks: Sequence[str]) -> Strategy:
    """Build the strategy that ``spec`` names for these tasks, ready for a training loop.

    Args:
        spec: ``name``, ``name:param=value:...`` or ``package.module:Class:param=value``.
        tasks: names of the K tasks, in the order of the loss vector.

    Raises:
        ValueError: for an unknown name or parameter, a class that cannot be imported, or parameters it refuses.
    """
    from art.strategy import wrap

    name, parameters = parse(spec)
    if name == "art" and parameters.get("released") is True and "desnow" in tasks:
        parameters["released"] = list(tasks).index("desnow")  # the task that the defect hits in the release
    target = entries()[name].target if name in entries() else name
    module, _, attribute = target.partition(":")
    try:
        method = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"strategy {spec!r}: cannot import {target!r} ({error}).") from error
    try:
        return wrap(method, tasks, parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(f"strategy {spec!r}: {error}") from error


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
