"""Checking data sets on disk: every file decoded, every defect told by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from benchmarks.data import layouts
from benchmarks.data.crops import digest_of
from benchmarks.data.images import attempts, decode
from benchmarks.data.layouts import DataSet, Located
from benchmarks.data.misplaced import fix

SHOWN = 10  # problems of a set that are told, unless all are asked for


@dataclass
class Report:
    """What was found of one set. ``problems`` must be mended before training; ``notes`` are for information."""

    data_set: DataSet
    located: Located | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        return len(self.located.pairs) if self.located else 0

    @property
    def state(self) -> str:
        """``complete``, ``partial``, ``surplus`` (more than published), ``missing``, or ``defective`` where there are
        problems."""
        if self.problems:
            return "defective"
        if not self.found:
            return "missing"
        if self.found == self.data_set.expected:
            return "complete"
        return "partial" if self.found < self.data_set.expected else "surplus"


def check(names: Iterable[str], root: Path) -> list[Report]:
    """Find and decode the sets of those names below ``root``, with a progress bar for slow ones.

    Told of each set: images found and expected, pairs without partner, files that cannot be decoded, pairs of
    different sizes, equal pictures under several names, inputs that equal their target, list files that do not fit,
    and for a set that was not found a layout that was recognised as nearly right.
    """
    reports = []
    for name in names:
        located = layouts.locate(name, root)
        report = Report(layouts.get(name), located)
        if located:
            report.problems += located.problems
            report.notes += located.notes
        if not report.found:
            advice = fix(name, root)
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
    return reports


def _seen(path: Path) -> tuple[tuple[int, int], bytes]:
    """Size and digest of the pixels of one file."""
    image = decode(path)
    return image.shape[:2], digest_of(image)


def _look(report: Report, located: Located, seen: dict, unusable: dict[Path, str]) -> None:
    shown = {path: path.relative_to(located.root).as_posix() for path in located.files()}
    report.problems += [f"{shown[path]}: {unusable[path]}" for path in shown if path in unusable]
    for pair in located.pairs:
        if pair.input in seen and pair.target in seen:
            (size, content), (target_size, target_content) = seen[pair.input], seen[pair.target]
            if size != target_size:
                told = " and ".join("x".join(map(str, sides)) for sides in (size, target_size))
                report.problems.append(
                    f"{shown[pair.input]} and {shown[pair.target]}: a pair of different sizes, {told}"
                )
            elif content == target_content:
                report.notes.append(f"{shown[pair.input]} equals its target {shown[pair.target]}")
    # Several inputs may share one clean scene; inputs, and the images of a clean set, are meant to differ.
    report.notes += _duplicates([pair.input or pair.target for pair in located.pairs], seen, shown)


def _duplicates(paths: Sequence[Path], seen: dict, shown: dict[Path, str]) -> list[str]:
    groups: dict[bytes, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if path in seen:
            groups.setdefault(seen[path][1], []).append(path)
    return [
        f"the same picture: {', '.join(shown[path] for path in group)}" for group in groups.values() if len(group) > 1
    ]


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
            lines += [f"    {layouts.get(whole).where()}", f"    parts: {parts}"]
            continue
        for report in several:
            lines += _told(report, width, everything)
    states = [report.state for report in reports]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    return "\n".join([*lines, f"{len(reports)} sets and parts of sets: {counted}."])


def _whole(report: Report) -> tuple[str, bool]:
    """The set a report's part belongs to, and whether it is missing: missing parts are told together."""
    return report.data_set.name.partition(":")[0], report.state == "missing"


def _line(name: str, found: int, expected: int, state: str, width: int) -> str:
    return f"{name:{width}}  {found:>7,} of {expected:>7,}  {state}"


def _told(report: Report, width: int, everything: bool) -> list[str]:
    lines = [_line(report.data_set.name, report.found, report.data_set.expected, report.state, width)]
    if report.state == "missing":
        lines.append(f"    {report.data_set.where()}")
    for mark, told in (("!", report.problems), ("-", report.notes)):
        shown = told if everything else told[:SHOWN]
        lines += [f"    {mark} {line}" for line in shown]
        if len(shown) < len(told):
            lines.append(f"    {mark} ... and {len(told) - len(shown):,} more; --all tells them all")
    return lines
