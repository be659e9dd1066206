"""Which runs there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from results import schema
from results.kept import kept_runs
from results.store import Run


def find_runs(output: Path | str, setting: str, wanted: Mapping[str, Collection[str | int]] | None = None) -> list[Run]:
    """Runs of ``setting`` below ``<output>/runs``, by path, whatever their state; or those kept in ``output``.

    Args:
        output: the results folder of the command that made them, or a folder of :func:`results.archive.pack`.
        setting: name of the setting.
        wanted: optional filter on top-level configuration values, such as ``{"baseline": ["airnet"]}``; it leaves out
            runs whose configuration is damaged.
    """
    folders = sorted(Path(output, "runs", setting).glob("*/*/*"))
    signs = (schema.CONFIG, schema.STATUS, schema.DIGESTS)
    runs = [Run(folder) for folder in folders if any((folder / name).exists() for name in signs)]
    runs = runs or kept_runs(Path(output), setting)
    return [run for run in runs if not wanted or _is_among(run, wanted)]


def _is_among(run: Run, wanted: Mapping[str, Collection[str | int]]) -> bool:
    record = run.legible().record
    return record is not None and all(getattr(record.config, key) in values for key, values in wanted.items())
