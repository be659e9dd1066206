"""Regenerate a setting's published table with what was measured beside it: ``python -m reports.published --setting S``.

A measured row is ``reproduced`` or ``not reproduced`` only where it compares (same setting and protocol, real and
complete data, published size and training); otherwise it is ``not comparable``, with the reasons, and no difference is
printed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reports.build import NothingToReport, Report, check_output
from reports.formats.text import EMPTY, blocks, number, with_spread, wrapped
from reports.numbers.cohorts import AVERAGE, REFERENCE, Cohort, gather
from reports.numbers.comparability import Figure, disagreements, figures, obstacles, printings, run_obstacles, sources
from reports.numbers.metrics import OWN
from reports.numbers.tables import Cell, Row, gain_table
from results import Damaged, Run, find_runs, published, write_atomically, write_text
from results.command import announce, framed, leave
from results.visible import visible

TOLERANCE = 0.2
"""Mean absolute PSNR difference (dB) over the compared test sets up to which a row counts as reproduced."""

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NO_RUN = "reproduced", "not reproduced", "not comparable", "no run"
DIFFERING = "Rows that several sources print with different values"
DIGITS = {name: metric.digits for name, metric in OWN.items()}


@dataclass(frozen=True)
class Comparison:
    """One published baseline and strategy, and the measured row of the cohort that compares best (or is newest).

    ``differences``: measured minus published, by ``(dataset, metric)``, only where they compare.
    """

    baseline: str
    strategy: str
    figures: dict[tuple[str, str], Figure]
    cohort: Cohort | None = None
    row: Row | None = None
    differences: dict[tuple[str, str], float] = field(default_factory=dict)
    verdict: str = NO_RUN
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.baseline}, {self.strategy}"

    @property
    def told(self) -> str:
        """The verdict with its reasons."""
        return f"{self.verdict} ({'; '.join(self.reasons)})" if self.reasons else self.verdict

    def measured(self, dataset: str, metric: str) -> Cell | None:
        """The measured cell; no average over other test sets than the published one."""
        if self.row is None or (dataset == AVERAGE and not self.same_sets):
            return None
        return self.row.cells.get((dataset, metric))

    @property
    def same_sets(self) -> bool:
        """Whether the measured average is over the published test sets."""
        if self.cohort is None or not {*self.cohort.tested, AVERAGE} >= {dataset for dataset, _ in self.figures}:
            return False
        return all(self.figures[key].averages(self.cohort.tested) for key in self.figures if key[0] == AVERAGE)

    @property
    def source(self) -> str:
        return ", ".join(sources(self.figures))


@dataclass(frozen=True)
class Claim:
    """A gain over mix that was published, and the measured one of the same baseline and strategy.

    ``measured`` is the average gain in dB over ``pairs`` seeds, NaN without a pair.
    """

    baseline: str
    strategy: str
    what: str
    gain: float
    source: str
    measured: float
    pairs: int
    verdict: str


def compare(setting: str, output: Path | str = "results", tolerance: float = TOLERANCE) -> list[Comparison]:
    """Every published row of a setting with the measured one.

    Args:
        setting: name of the setting.
        output: the results folder.
        tolerance: see :data:`TOLERANCE`.

    Raises:
        NothingToReport: nothing is published for this setting.
    """
    known: dict[tuple[str, str], dict[tuple[str, str], Figure]] = {}
    names = {row.baseline.casefold(): row.baseline for row in published(setting).itertuples()}
    for (baseline, strategy, dataset, metric), figure in figures(setting).items():
        known.setdefault((names[baseline], strategy), {})[dataset, metric] = figure
    if not known:
        there = [name for name in published()["setting"].unique() if name != "headline"]
        raise NothingToReport(f"No published figures for setting {setting!r}; there are some for: {', '.join(there)}.")
    runs = find_runs(output, setting)
    measured: dict[str, list[tuple[Cohort, list[Row]]]] = {}
    comparisons = []
    for (baseline, strategy), values in sorted(known.items(), key=lambda item: (item[0][0].casefold(), _rank(item[0]))):
        protocol = next(iter(values.values())).protocol
        if protocol not in measured:
            measured[protocol] = _measured(runs, protocol)
        candidates = [
            _comparison(Comparison(baseline, strategy, values), cohort, row, tolerance)
            for cohort, rows in measured[protocol]
            for row in rows
            if row.n and (row.display.casefold(), row.strategy) == (baseline.casefold(), strategy)
        ]
        fair = [candidate for candidate in candidates if candidate.differences]
        comparisons.append((fair or candidates or [Comparison(baseline, strategy, values)])[0])
    return comparisons


def claims(
    setting: str, comparisons: Sequence[Comparison], output: Path | str, tolerance: float = TOLERANCE
) -> list[Claim]:
    """Published gains: those between two published rows of this setting, then the paper's headline averages.

    Of which setting a headline is the average is not stated, so a measured gain is put beside it without a judgement.
    """
    rows = {(c.baseline, c.strategy): c for c in comparisons}
    found = []
    for comparison in comparisons:
        reference = rows.get((comparison.baseline, REFERENCE))
        if comparison.strategy == REFERENCE or reference is None:
            continue
        shared = [key for key in comparison.figures if key in reference.figures and key[1] == "psnr"]
        keys = [key for key in shared if key[0] == AVERAGE and not comparison.figures[key].sets]
        keys = keys or [key for key in shared if key[0] != AVERAGE]
        if not keys:
            continue
        gain = sum(comparison.figures[key].value - reference.figures[key].value for key in keys) / len(keys)
        value, pairs = _measured_gain(comparison.row, [dataset for dataset, _ in keys])
        verdict = _within(value - gain, tolerance) if not comparison.reasons else comparison.told
        what = "average" if keys[0][0] == AVERAGE else f"mean of {len(keys)} test sets"
        told = (what, gain, comparison.source, value, pairs, verdict if pairs else NO_RUN)
        found.append(Claim(comparison.baseline, comparison.strategy, *told))
    newest = _measured(find_runs(output, setting), None)
    return found + [_headline(row, newest) for row in published("headline").itertuples()]


def report(setting: str, output: Path | str = "results", tolerance: float = TOLERANCE) -> Report:
    """Write ``published.md`` and ``published.csv`` below ``<output>/reports/<setting>``; see :func:`compare`."""
    comparisons = compare(setting, output, tolerance)
    told = claims(setting, comparisons, output, tolerance)
    folder = Path(output, "reports", setting)
    check_output(folder)
    text = _text(setting, comparisons, told, tolerance)
    contents = {
        "published.md": _page(setting, comparisons, told, tolerance),
        "published.csv": _csv(setting, comparisons),
    }
    for name, content in contents.items():
        write_atomically(folder / name, lambda path, content=content: write_text(path, content))
    return Report(visible(text, lines=True), [folder / name for name in contents])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, 2 if nothing is published (others: :mod:`results.command`)."""
    return framed(lambda: _main(arguments), (NothingToReport, Damaged))


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="python -m reports.published", description=__doc__.split(":")[0] + ".")
    parser.add_argument("--setting", required=True, help="name of the setting, such as three_task")
    parser.add_argument("--output", type=Path, default=Path("results"), help="the results folder (default: results)")
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"dB that count as reproduced (default: {TOLERANCE})"
    )
    options = parser.parse_args(arguments)
    announce(f"Comparing the published figures of {options.setting} with the runs in {options.output}.", beside=True)
    made = report(options.setting, options.output, options.tolerance)
    print(made.text)
    print("Written:\n" + "\n".join(f"  {path}" for path in made.files))
    return 0


def _rank(name: tuple[str, str]) -> tuple[bool, str]:
    return name[1] != REFERENCE, name[1]


def _measured(runs: Sequence[Run], protocol: str | None) -> list[tuple[Cohort, list[Row]]]:
    """Cohorts with their rows, newest first: under this protocol where they were scored with it, else their own."""
    own = {cohort.key: cohort for cohort in gather(runs)}
    asked = {cohort.key: cohort for cohort in gather(runs, protocol)} if protocol else own
    chosen = [asked[key] if asked[key].counted() else own[key] for key in own]
    return [(cohort, gain_table(cohort, images=False).rows) for cohort in chosen]


def _comparison(blank: Comparison, cohort: Cohort, row: Row, tolerance: float) -> Comparison:
    outcomes = cohort.counted(row.baseline, row.strategy)
    differences: dict[tuple[str, str], float] = {}
    reasons: list[str] = []
    for (dataset, metric), figure in blank.figures.items():
        cell = row.cells.get((dataset, metric))
        against = list(dict.fromkeys(r for outcome in outcomes for r in obstacles(cohort, outcome, dataset, figure)))
        if cell is None or math.isnan(cell.score.mean):
            against = against or [f"{dataset} not scored"]
        reasons += against
        if not against:
            differences[dataset, metric] = cell.score.mean - figure.value
    psnr = {dataset: abs(value) for (dataset, metric), value in differences.items() if metric == "psnr"}
    sets = [value for dataset, value in psnr.items() if dataset != AVERAGE] or list(psnr.values())
    verdict = _within(sum(sets) / len(sets), tolerance) if sets else NOT_COMPARABLE
    made = replace(blank, cohort=cohort, row=row, differences=differences, verdict=verdict)
    if not sets and not made.same_sets:
        average = number(row.cells[AVERAGE, "psnr"].score.mean, 2) if cohort.tested else EMPTY
        reasons.append(f"other test sets, {average} dB on average")
    return replace(made, reasons=tuple(dict.fromkeys(reasons)))


def _headline(published_row: Any, measured: Sequence[tuple[Cohort, list[Row]]]) -> Claim:
    baseline, strategy = published_row.baseline, published_row.strategy
    told = (baseline, strategy, "headline average", published_row.value, published_row.source)
    for cohort, rows in measured:
        for row in rows:
            if (row.display.casefold(), row.strategy) == (baseline.casefold(), strategy) and row.pairs:
                outcomes = cohort.counted(row.baseline, strategy)
                reasons = [r for outcome in outcomes for r in run_obstacles(outcome, None)]
                words = "; ".join(dict.fromkeys([published_row.note, *reasons]))
                return Claim(*told, *_measured_gain(row, [AVERAGE]), f"{NOT_COMPARABLE} ({words})")
    return Claim(*told, math.nan, 0, f"{NO_RUN} ({published_row.note})")


def _measured_gain(row: Row | None, datasets: Sequence[str]) -> tuple[float, int]:
    """Mean measured gain over test sets and the fewest pairs behind it; NaN and 0 where one is missing."""
    cells = [row.cells.get((dataset, "psnr")) for dataset in datasets] if row else []
    gains = [cell.gain for cell in cells if cell and cell.gain and cell.gain.n]
    if not gains or len(gains) < len(datasets):
        return math.nan, 0
    return sum(gain.mean for gain in gains) / len(gains), min(gain.n for gain in gains)


def _within(difference: float, tolerance: float) -> str:
    return REPRODUCED if abs(difference) <= tolerance else NOT_REPRODUCED


def _datasets(comparisons: Sequence[Comparison]) -> list[str]:
    names = list(dict.fromkeys(dataset for c in comparisons for dataset, _ in c.figures))
    return [name for name in names if name != AVERAGE] + [AVERAGE] * (AVERAGE in names)


def _title(setting: str, comparisons: Sequence[Comparison]) -> str:
    titles = [c.cohort.title for c in comparisons if c.cohort]
    return f"Published and measured: {f'{titles[0]} ({setting})' if titles else setting}"


def _rule(tolerance: float) -> str:
    return (
        f"reproduced: mean absolute PSNR difference over the compared test sets within {tolerance:g} dB; a difference "
        "is printed only where figures compare (same protocol, real and complete data, published size and training)"
    )


def _summary(comparisons: Sequence[Comparison]) -> str:
    """``11 published rows (protocol airnet_rgb): 1 not comparable, 10 no run``."""
    verdicts = [comparison.verdict for comparison in comparisons]
    told = [f"{verdicts.count(word)} {word}" for word in (REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NO_RUN)]
    protocols = sorted({figure.protocol for comparison in comparisons for figure in comparison.figures.values()})
    return f"{len(verdicts)} published rows (protocol {', '.join(protocols)}): {', '.join(told)}"


def _lines(comparison: Comparison, datasets: Sequence[str], spreads: bool = False) -> list[tuple[str, str, list[str]]]:
    """``(label, n, cells)`` of the published row, and of the measured one and their difference where there are any."""

    def cells(value: Any) -> list[str]:
        texts = [[value(dataset, metric) for metric in DIGITS] for dataset in datasets]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in texts]

    def measured(dataset: str, metric: str) -> str:
        cell = comparison.measured(dataset, metric)
        if cell is None:
            return EMPTY
        return with_spread(cell.score, DIGITS[metric]) if spreads else number(cell.score.mean, DIGITS[metric])

    def difference(dataset: str, metric: str) -> str:
        return number(comparison.differences.get((dataset, metric), math.nan), DIGITS[metric], signed=True)

    def printed(others: dict[tuple[str, str], Figure]) -> Callable[[str, str], str]:
        return lambda dataset, metric: (
            number(others[dataset, metric].value, DIGITS[metric]) if (dataset, metric) in others else EMPTY
        )

    lines = [("published", "", cells(printed(comparison.figures)))]
    lines += [("also printed", "", cells(printed(others))) for others in printings(comparison.figures).values()]
    if comparison.row and set(found := cells(measured)) != {EMPTY}:
        lines.append(("measured", comparison.row.count, found))
    if comparison.differences:
        lines.append(("difference", "", cells(difference)))
    return lines


def _text(setting: str, comparisons: Sequence[Comparison], told: Sequence[Claim], tolerance: float) -> str:
    datasets = _datasets(comparisons)
    lines = []
    for index, comparison in enumerate(comparisons):
        if index == 0 or comparisons[index - 1].baseline != comparison.baseline:
            lines.append([comparison.baseline] + [""] * (1 + len(datasets)))
        for label, n, cells in _lines(comparison, datasets):
            name = f"  {comparison.strategy}" if label == "published" else f"    {label}"
            lines.append([name, n, *cells])
    head = [_title(setting, comparisons), wrapped("  ", _summary(comparisons)), wrapped("  ", _rule(tolerance))]
    parts = ["\n".join(head)]
    parts += blocks("PSNR, dB / SSIM", [["", "n", *datasets]], lines)
    parts.append("\n".join(wrapped("* ", f"{c.name}: {c.told}. Source: {c.source}.") for c in comparisons))
    if differing := _differing(comparisons):
        parts.append("\n".join([DIFFERING, *(wrapped("* ", f"{line}.") for line in differing)]))
    head = "Gains over mix, average PSNR in dB: published, measured"
    parts.append("\n".join([head, *(wrapped("* ", _claim_words(claim)) for claim in told)]))
    return "\n\n".join(parts) + "\n"


def _differing(comparisons: Sequence[Comparison]) -> list[str]:
    """Rows that several sources print with different values; the first of them is the one that counts."""
    return [f"{c.name}: {sources(c.figures)[0]}; {told}" for c in comparisons for told in disagreements(c.figures)]


def _claim_words(claim: Claim) -> str:
    measured = "not measured"
    if claim.pairs:
        seeds = f"{claim.pairs} seed{'s' * (claim.pairs > 1)}"
        measured = f"measured {number(claim.measured, 2, signed=True)} ({seeds})"
    gain = number(claim.gain, 2, signed=True)
    who = f"{claim.baseline}, {claim.strategy}, {claim.what}"
    return f"{who}: published {gain}, {measured}: {claim.verdict}. Source: {claim.source}."


def _page(setting: str, comparisons: Sequence[Comparison], told: Sequence[Claim], tolerance: float) -> str:
    from reports.formats.markdown import escaped, pipe_table

    datasets = _datasets(comparisons)
    rows = [
        [comparison.baseline, comparison.strategy, label, n, *cells]
        for comparison in comparisons
        for label, n, cells in _lines(comparison, datasets, spreads=True)
    ]
    verdicts = [[c.baseline, c.strategy, c.told, c.source] for c in comparisons]
    gains = [
        [c.baseline, c.strategy, c.what, number(c.gain, 2, True), number(c.measured, 2, True), str(c.pairs), c.verdict,
         c.source]
        for c in told
    ]  # fmt: skip
    differing = _differing(comparisons)
    parts = [
        f"# {escaped(_title(setting, comparisons))}",
        f"{_summary(comparisons)}.",
        f"PSNR in dB / SSIM. {_rule(tolerance).replace('reproduced', 'Reproduced', 1)}.",
        pipe_table(["baseline", "strategy", "", "n", *datasets], rows, left=3),
        "## Verdicts and sources",
        pipe_table(["baseline", "strategy", "verdict", "source"], verdicts, left=4),
        *([f"## {DIFFERING}", "\n".join(f"- {line}." for line in differing)] if differing else []),
        "## Gains over mix, average PSNR in dB",
        pipe_table(["baseline", "strategy", "what", "published", "measured", "n", "verdict", "source"], gains, left=8),
    ]
    return "\n\n".join(parts) + "\n"


def _csv(setting: str, comparisons: Sequence[Comparison]) -> str:
    import pandas as pd

    from reports.formats.tidy import csv_text

    rows = []
    for comparison in comparisons:
        for (dataset, metric), figure in comparison.figures.items():
            cell = comparison.measured(dataset, metric)
            rows.append({
                "setting": setting, "baseline": comparison.baseline, "strategy": comparison.strategy,
                "dataset": dataset, "metric": metric, "protocol": figure.protocol, "published": figure.value,
                "also_printed": "; ".join(f"{other.value:g} ({other.source})" for other in figure.others),
                "measured": round(cell.score.mean, 6) if cell else math.nan,
                "std": round(cell.score.std, 6) if cell else math.nan, "n": comparison.row.n if comparison.row else 0,
                "difference": round(comparison.differences.get((dataset, metric), math.nan), 6),
                "verdict": comparison.verdict, "reasons": "; ".join(comparison.reasons),
                "cohort": comparison.cohort.key if comparison.cohort else "", "source": figure.source,
                "confidence": figure.confidence, "note": figure.note,
            })  # fmt: skip
    return csv_text(pd.DataFrame(rows))


if __name__ == "__main__":
    leave(main())
