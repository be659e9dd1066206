"""Checking data sets on disk: every file decoded, every defect reported by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from benchmarks.config.data_sets import Catalogue, DataSet
from benchmarks.data import layouts, opening
from benchmarks.data.audit.misplaced import fix
from benchmarks.data.decoding import attempts, decode, header_of
from benchmarks.data.images import digest_of
from benchmarks.data.layouts import Located

SHOWN = 10  # problems of a set that are listed, unless all are asked for


@dataclass
class Report:
    """What was found of one set. ``problems`` must be mended before training; ``notes`` are for information."""

    data_set: DataSet
    whole: DataSet  # of which it is a part, or itself
    located: Located | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Samples that are there."""
        return len(self.located.pairs) if self.located else 0

    @property
    def state(self) -> str:
        """``complete``, ``partial``, ``surplus`` (more than published), ``missing``, or ``defective`` where there are
        problems."""
        if self.problems:
            return "defective"
        if not self.found:
            return "missing"
        if self.found == self.data_set.expected or not self.data_set.expected:
            return "complete"
        return "partial" if self.found < self.data_set.expected else "surplus"


def check(
    names: Iterable[str], catalogue: Catalogue, root: Path | None, least: Mapping[str, tuple[int, str]] | None = None
) -> list[Report]:
    """Find and decode the sets of those names below ``root``, with a progress bar for slow ones.

    Told of each set: images found and expected, pairs without partner, files that cannot be decoded, pairs of
    different sizes, equal pictures under several names, inputs that equal their target, list files that do not fit,
    and for a set that was not found a layout that was recognised as nearly right.

    Args:
        names: of the sets.
        catalogue: where they stand, with the sets that a folder may belong to instead.
        root: the data root; without one, the sets lie in folders of their own.
        least: by test set, the pixels a side that its images need, and the protocol that needs them.
    """
    reports = []
    for name in names:
        data_set = catalogue.get(name)
        located = layouts.locate(data_set, root)
        report = Report(data_set, catalogue.get(data_set.whole), located)
        if located:
            report.problems += located.problems
            report.notes += located.notes
        if not report.found and root and not data_set.root:
            advice = fix(data_set, catalogue, root)
            if advice:
                report.notes.append(advice)
        reports.append(report)
    files = list(dict.fromkeys(path for report in reports if report.located for path in report.located.files()))
    seen, unusable = {}, {}
    for path, found, problem in attempts(_seen, files, "checking"):
        if problem:
            unusable[path] = problem
        else:
            seen[path] = found
    for report in reports:
        if report.located:
            _look(report, report.located, seen, unusable)
            size, protocol = (least or {}).get(report.data_set.name, (0, ""))
            targets = {pair.target: seen[pair.target].shape for pair in report.located.pairs if pair.target in seen}
            report.problems += opening.too_small(report.located, targets, size, protocol)
    return reports


class _Seen(NamedTuple):
    """Height, width and digest of the pixels of one file, and a note on what of it is not used."""

    shape: tuple[int, int]
    digest: str
    note: str


def _seen(path: Path) -> _Seen:
    image = decode(path)
    return _Seen(image.shape[:2], digest_of(image), header_of(path).note)


def _look(report: Report, located: Located, seen: dict[Path, _Seen], unusable: dict[Path, str]) -> None:
    shown = opening.names(located)
    report.problems += [f"{shown[path]}: {unusable[path]}" for path in shown if path in unusable]
    files = {path: seen[path] for path in shown if path in seen}
    report.problems += opening.different_sizes(located, {path: found.shape for path, found in files.items()})
    report.notes += [f"{shown[path]}: {found.note}" for path, found in files.items() if found.note]
    report.notes += opening.equal_pictures(located, {path: found.digest for path, found in files.items()})


def text(reports: Sequence[Report], everything: bool = False) -> str:
    """The reports for a terminal; at most :data:`SHOWN` problems and notes of a set unless ``everything``."""
    width = max(len(report.data_set.name) for report in reports)
    lines = []
    for (whole, missing), group in groupby(reports, _whole):
        several = list(group)
        if missing and len(several) > 1 and not any(report.notes for report in several):
            expected = sum(report.data_set.expected for report in several)
            parts = ", ".join(report.data_set.part for report in several)
            lines.append(_line(whole, 0, expected, "missing", width))
            lines += [f"    {several[0].whole.where()}", f"    parts: {parts}"]
            continue
        for report in several:
            lines += _described(report, width, everything)
    states = [report.state for report in reports]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    what = "sets and parts of sets" if len(reports) > 1 else "set"
    return "\n".join([*lines, f"{len(reports)} {what}: {counted}."])


def _whole(report: Report) -> tuple[str, bool]:
    """The set a report's part belongs to, and whether it is missing: missing parts are listed together."""
    return report.whole.name, report.state == "missing"


def _line(name: str, found: int, expected: int, state: str, width: int) -> str:
    published = f"of {expected:>7,}" if expected else " " * 10
    return f"{name:{width}}  {found:>7,} {published}  {state}"


def _described(report: Report, width: int, everything: bool) -> list[str]:
    lines = [_line(report.data_set.name, report.found, report.data_set.expected, report.state, width)]
    if report.state == "missing":
        lines.append(f"    {report.data_set.where()}")
    for mark, texts in (("!", report.problems), ("-", report.notes)):
        shown = texts if everything else texts[:SHOWN]
        lines += [f"    {mark} {line}" for line in shown]
        if len(shown) < len(texts):
            lines.append(f"    {mark} ... and {len(texts) - len(shown):,} more; --all lists them all")
    return lines
