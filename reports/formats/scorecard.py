"""The table of one evaluated network, for a terminal and as Markdown."""

from __future__ import annotations

from reports.formats.layout import blocks, wrapped
from reports.formats.markdown import escaped, pipe_table
from reports.numbers.metrics import heading
from reports.numbers.scorecard import Scorecard
from results.visible import visible


def scorecard_text(card: Scorecard) -> str:
    """The card for a terminal: PSNR and SSIM in one table, every further metric in one of its own."""
    datasets, marks = zip(*card.headings, strict=True)
    head = [["", "", *datasets], *([["", "", *marks]] if any(marks) else [])]
    parts = [card.title, "\n".join(wrapped(f"  {label:<12}", value) for label, value in card.facts)]
    names = list(card.metrics)
    for group in (names[:2], *([name] for name in names[2:])):
        lines = [[label, "", *texts] for label, texts in card.texts(*group)]
        parts += blocks(" / ".join(heading(card.metrics[name]) for name in group), head, lines)
    parts.append("\n".join(wrapped("* ", note) for note in card.notes))
    return visible("\n\n".join(parts), lines=True) + "\n"


def scorecard_page(card: Scorecard) -> str:
    """The card as Markdown, a table a metric."""
    names = [f"{dataset} ({mark})" if mark else dataset for dataset, mark in card.headings]
    facts = "\n".join(f"- **{label}**: {escaped(value)}" for label, value in card.facts)
    parts = [f"# {escaped(card.title)}", facts]
    for name, metric in card.metrics.items():
        table = pipe_table(["", *names], [[label.strip(), *texts] for label, texts in card.texts(name)], left=1)
        parts += [f"## {escaped(heading(metric))}", table]
    parts += ["## Notes", "\n".join(f"- {escaped(note, first=True)}" for note in card.notes)]
    return "\n\n".join(parts) + "\n"
