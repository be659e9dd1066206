"""Small tables beside the main one, each said once for text, Markdown and the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.numbers.contest import Control
from reports.numbers.findings import Findings
from reports.numbers.model import Cell, GainTable, Row
from reports.numbers.race import race, terms_of, together
from reports.numbers.statistics import GAIN, LOSS
from reports.numbers.words import EMPTY, number, with_spread


@dataclass(frozen=True)
class Entry:
    """A cell of a section: ``text``; ``verdict``, the statistics' word for it; ``value``, what it is sorted by."""

    text: str
    verdict: str = ""
    value: float = math.nan

    @property
    def words(self) -> str:
        """``+0.12 ± 0.03, gain``."""
        return f"{self.text}, {self.verdict}" if self.verdict in (GAIN, LOSS) else self.text


@dataclass(frozen=True)
class Section:
    """A small table.

    Attributes:
        anchor: short name.
        title: above it.
        names: headings; the first two are the baseline's and the strategy's.
        rows: baseline, strategy and the other cells.
        caption: how to read it, below.
        detail: whether it is one of the details, which a terminal does not show.
    """

    anchor: str
    title: str
    names: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Entry]]]
    caption: str
    detail: bool = False


def sections(findings: Findings) -> list[Section]:
    """What there are runs for: the race first, then what tasks cost each other, and what Art's weights follow."""
    found = [_race(findings), *([_together(findings.table)] if findings.cohort.tested else []), _score(findings)]
    return [section for section in found if section.rows]


def _race(findings: Findings) -> Section:
    terms = terms_of(findings.table)
    held = {(row.baseline, row.strategy): row for row in findings.held.rows}
    names = ["baseline", "strategy", *(", ".join(words) or "defaults" for words in terms)]
    names += ["over the best fixed"] * bool(held)
    rows = [
        (
            racer.display,
            racer.strategy,
            [
                *(_gain(racer.rows.get(words)) for words in terms),
                *[_over_fixed(held.get((racer.baseline, racer.strategy)))] * bool(held),
            ],
        )
        for racer in race(findings.table)
    ]
    caption = (
        "Average gain in dB over mix on the same terms; of mix itself, over mix at its defaults. Equal cost: as many "
        "steps as fit into mix's cost; tuned: the best of equally many trials each, mix included"
    ) + "; over the best fixed: at its defaults, over the best of the fixed weightings" * bool(held)
    return Section("race", "On which terms does it gain?", names, rows, caption)


def _over_fixed(control: Control | None) -> Entry:
    if control is None or not control.best.n:
        return Entry(EMPTY)
    return Entry(with_spread(control.best, 2, signed=True), control.best_verdict, control.best.mean)


def _gain(row: Row | None) -> Entry:
    if row is None:
        return Entry(EMPTY)
    if row.is_reference:
        return Entry("reference", value=0.0)
    gain = row.average.gain
    return Entry(with_spread(gain, 2, signed=True) if gain.n else row.remark or EMPTY, row.average.verdict, gain.mean)


def _together(table: GainTable) -> Section:
    names = ["baseline", "apart", *(table.heading(name) for name in [*table.cohort.tested, "average"]), "delta-m"]
    rows = [
        (
            found.display,
            found.apart,
            [*map(_turned, found.cells.values()), Entry(f"{number(found.delta, 2, signed=True)} %", value=found.delta)],
        )
        for found in together(table)
    ]
    caption = (
        "PSNR in dB of mix, one network for all tasks, less that of one network for each task, which saw as many "
        "samples of it (single:full: took as many steps): below 0 a task loses by being trained together. delta-m: "
        "mean relative change, as the literature defines it"
    )
    return Section("together", "What do tasks lose or gain by being trained together?", names, rows, caption)


def _turned(cell: Cell) -> Entry:
    """The gain of mix, of a cell that holds the gain over it."""
    gain = cell.gain
    word = {GAIN: LOSS, LOSS: GAIN}.get(cell.verdict, cell.verdict)
    mean = number(-gain.mean, 2, signed=True)
    return Entry(mean if math.isnan(gain.std) else f"{mean} ± {number(gain.std, 2)}", word, -gain.mean)


def _score(findings: Findings) -> Section:
    names = [
        "baseline", "strategy", "batch", "signal", "noise", "ratio", "from step to step", "score follows noise",
        "shares of the tasks (if nothing moved)",
    ]  # fmt: skip
    rows = [
        (
            one.display,
            one.strategy,
            [
                Entry(str(one.batch), value=one.batch),
                *(Entry(number(value, 2), value=value) for value in (one.signal, one.noise, one.ratio)),
                Entry(EMPTY if math.isnan(one.shared) else f"{1 - one.shared:.0%}", value=1 - one.shared),
                Entry(number(one.by_noise, 2, signed=True), value=one.by_noise),
                Entry(", ".join(f"{t.task} {number(t.weight, 2)} ({number(t.still, 2)})" for t in one.tasks)),
            ],
        )
        for one in findings.noises
    ]
    caption = (
        "Of Art's score before the division by tau, second half of the training, mean over seeds. Noise: standard "
        "deviation from batch to batch; signal: between the tasks, of their mean scores; from step to step: share of "
        "the weights' variance that is neither between tasks nor between tenths of that half; score follows noise: "
        "correlation over the tasks of the mean score with the batch noise of the loss. In brackets the shares that "
        "Art gives to losses that stand still, scattering as these do from batch to batch: where they agree, the "
        "weights follow which images came, and not which task is behind"
    )
    return Section("score", "What do Art's weights follow?", names, rows, caption, detail=True)
