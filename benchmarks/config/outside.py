"""What other packages bring by entry points: settings, data sets, degradations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from pydantic import JsonValue

from benchmarks.config.errors import UserError


@cache
def points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, by name."""
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))


def content_of(point: EntryPoint) -> Path | Mapping[str, JsonValue]:
    """The file, or the content of one, that an entry point names.

    Raises:
        UserError: if it cannot be imported, or is neither a path nor a mapping.
    """
    try:
        value = point.load()
    except (Exception, SystemExit) as error:  # somebody's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the entry point {point.name} = {point.value} cannot be imported ({reason}).") from error
    if isinstance(value, str | Path):
        return Path(value)
    if isinstance(value, Mapping):
        return value
    raise UserError(f"the entry point {point.name} = {point.value} is neither the path of a file nor a mapping.")
