"""A setting's published table with the measured rows beside it, as text, Markdown and CSV."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from reports.formats.layout import blocks, wrapped
from reports.formats.markdown import escaped, pipe_table
from reports.formats.tidy import csv_text
from reports.numbers.comparability import disagreements, printings, sources
from reports.numbers.model import AVERAGE, Figures
from reports.numbers.reproduction import NO_RUN, NOT_COMPARABLE, NOT_REPRODUCED, REPRODUCED, Claim, Comparison
from reports.numbers.words import EMPTY, number, plural, with_spread
from results.records import PROTOCOL_METRICS

DIFFERING = "Rows that several sources print with different values"
DIGITS = {name: metric.digits for name, metric in PROTOCOL_METRICS.items()}


def text(setting: str, comparisons: Sequence[Comparison], claims: Sequence[Claim], tolerance: float) -> str:
    """For a terminal."""
    datasets = _datasets(comparisons)
    lines: list[list[str]] = []
    for index, comparison in enumerate(comparisons):
        if index == 0 or comparisons[index - 1].baseline != comparison.baseline:
            lines.append([comparison.baseline] + [""] * (1 + len(datasets)))
        for label, n, cells in _lines(comparison, datasets):
            name = f"  {comparison.strategy}" if label == "published" else f"    {label}"
            lines.append([name, n, *cells])
    title = [_title(setting, comparisons), wrapped("  ", _summary(comparisons)), wrapped("  ", _rule(tolerance))]
    parts = ["\n".join(title)]
    parts += blocks("PSNR, dB / SSIM", [["", "n", *datasets]], lines)
    parts.append("\n".join(wrapped("* ", f"{c.name}: {c.judgement}. Source: {c.source}.") for c in comparisons))
    if differing := _differing(comparisons):
        parts.append("\n".join([DIFFERING, *(wrapped("* ", f"{line}.") for line in differing)]))
    head = "Gains over mix, average PSNR in dB: published, measured"
    parts.append("\n".join([head, *(wrapped("* ", _claim_words(claim)) for claim in claims)]))
    return "\n\n".join(parts) + "\n"


def _differing(comparisons: Sequence[Comparison]) -> list[str]:
    """Rows that several sources print with different values; the first of them is the one that counts."""
    return [f"{c.name}: {sources(c.figures)[0]}; {text}" for c in comparisons for text in disagreements(c.figures)]


def _claim_words(claim: Claim) -> str:
    measured = "not measured"
    if claim.pairs:
        seeds = f"{claim.pairs} {plural(claim.pairs, 'seed')}"
        measured = f"measured {number(claim.measured, 2, signed=True)} ({seeds})"
    gain = number(claim.gain, 2, signed=True)
    who = f"{claim.baseline}, {claim.strategy}, {claim.what}"
    return f"{who}: published {gain}, {measured}: {claim.verdict}. Source: {claim.source}."


def page(setting: str, comparisons: Sequence[Comparison], claims: Sequence[Claim], tolerance: float) -> str:
    """As Markdown."""
    datasets = _datasets(comparisons)
    rows = [
        [comparison.baseline, comparison.strategy, label, n, *cells]
        for comparison in comparisons
        for label, n, cells in _lines(comparison, datasets, spreads=True)
    ]
    verdicts = [[c.baseline, c.strategy, c.judgement, c.source] for c in comparisons]
    gains = [
        [c.baseline, c.strategy, c.what, number(c.gain, 2, True), number(c.measured, 2, True), str(c.pairs), c.verdict,
         c.source]
        for c in claims
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


def csv(setting: str, comparisons: Sequence[Comparison]) -> str:
    """As CSV, one row a published figure."""
    rows: list[dict[str, str | float]] = []
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
    counts = [f"{verdicts.count(word)} {word}" for word in (REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE, NO_RUN)]
    protocols = sorted({figure.protocol for comparison in comparisons for figure in comparison.figures.values()})
    return f"{len(verdicts)} published rows (protocol {', '.join(protocols)}): {', '.join(counts)}"


def _lines(comparison: Comparison, datasets: Sequence[str], spreads: bool = False) -> list[tuple[str, str, list[str]]]:
    """``(label, n, cells)`` of the published row, and of the measured one and their difference where there are any."""

    def cells(value: Callable[[str, str], str]) -> list[str]:
        texts = [[value(dataset, metric) for metric in DIGITS] for dataset in datasets]
        return [EMPTY if set(several) == {EMPTY} else " / ".join(several) for several in texts]

    def measured(dataset: str, metric: str) -> str:
        cell = comparison.measured(dataset, metric)
        if cell is None:
            return EMPTY
        return with_spread(cell.score, DIGITS[metric]) if spreads else number(cell.score.mean, DIGITS[metric])

    def difference(dataset: str, metric: str) -> str:
        return number(comparison.differences.get((dataset, metric), math.nan), DIGITS[metric], signed=True)

    def printed(others: Figures) -> Callable[[str, str], str]:
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
