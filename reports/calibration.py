"""How often verdicts are wrong where there is nothing to find: ``python -m reports.calibration``.

Every trial invents runs that differ only by their seed and lets the code of the tables judge them. Three kinds:

* ``normal``: scores of runs scatter normally.
* ``skewed``: now and then a run is much worse (exponential tail downwards). Two runs with the same tail have a
  symmetric difference, so the test becomes careful rather than wrong.
* ``one-sided``: the *difference* has such a tail, with mean 0: a strategy that mostly loses a little and sometimes
  gains much. Student's t cannot see that with few seeds; these rates say how far to trust it.

Tables with tuned rows and rows by equal cost, and verdicts over baselines, are invented with normal scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from reports.numbers.model import AVERAGE, REFERENCE, TUNED, Cell, Cohort, Row
from reports.numbers.outcome import Images, Outcome
from reports.numbers.pooled import pooled
from reports.numbers.statistics import GAIN, LEVEL, LOSS, holm, image_gain, paired_gain, verdict
from reports.numbers.tables import gain_table
from results import DataRecord, Run, RunRecord
from results.command import announce, framed, leave
from results.records import Environment, Role, RunConfig, Terms

KINDS = ("normal", "skewed", "one-sided")
SEEDS = (3, 5, 10)
STRATEGIES = 5
"""Strategies that are compared with the same mix runs in a family."""

TERMS = {"x": Terms(), "x (tuned)": Terms(tuned="x"), "x (equal cost)": Terms(budget="cost")}
"""Rows of one strategy in a table with terms, beside mix and mix tuned."""

TUNING = 4.0
"""What tuning gives any strategy, in standard deviations of a score over seeds."""

PLANTED = 2.0
"""Gain to be found over baselines, in standard deviations of a score over seeds."""

POOLED_SEEDS, POOLED_BASELINES = (2, 3, 5), (2, 4)

IMAGES, BETWEEN, WITHIN = 68, 0.1, 0.3
"""Images of a test set; standard deviations in dB of a score between trainings, and of a single image's within one."""


@dataclass(frozen=True)
class Rates:
    """Shares of trials with a false verdict.

    ``gain``, ``loss``: of a table with one strategy; ``family``: any false verdict among the strategies of a table,
    Holm-corrected as tables print it; ``uncorrected``: the same had nobody corrected.
    """

    gain: float
    loss: float
    family: float
    uncorrected: float

    @property
    def single(self) -> float:
        """Share of tables with one strategy and a false verdict."""
        return self.gain + self.loss


@dataclass(frozen=True)
class ImageRates:
    """Shares of trials in which the image-level view of one training each calls a difference."""

    interval: float
    wilcoxon: float


def verdict_rates(kind: str, seeds: int, trials: int, strategies: int = STRATEGIES, start: int = 0) -> Rates:
    """False verdicts over ``trials`` tables of runs without a difference.

    Args:
        kind: one of :data:`KINDS`.
        seeds: paired seeds of every comparison.
        trials: tables to invent.
        strategies: rows beside mix in a table.
        start: seed of the generator.
    """
    generator = np.random.default_rng(start)
    false = {GAIN, LOSS}
    single: list[str] = []
    family = uncorrected = 0
    for _ in range(trials):
        mix, others = _scores(kind, seeds, strategies, generator)
        reference = {str(seed): float(score) for seed, score in enumerate(mix)}
        gains = [paired_gain({str(s): float(score) for s, score in enumerate(row)}, reference) for row in others]
        alone = [verdict(gain) for gain in gains]
        single.append(alone[0])
        uncorrected += not false.isdisjoint(alone)
        corrected = holm([gain.p for gain in gains])
        family += not false.isdisjoint(verdict(gain, p) for gain, p in zip(gains, corrected, strict=True))
    return Rates(single.count(GAIN) / trials, single.count(LOSS) / trials, family / trials, uncorrected / trials)


def term_rates(seeds: int, trials: int, gain: float = 0.0, start: int = 0) -> dict[str, float]:
    """Shares of tables in which each of :data:`TERMS`' rows is called a gain, and under ``any`` at least one is.

    Whole tables are made, of a strategy that has in all three rows the same ``gain`` over its reference, in standard
    deviations of a score over seeds. Tuning lifts mix and the strategy alike, by :data:`TUNING`: measured against mix
    as it is, a useless tuned strategy would gain.
    """
    generator = np.random.default_rng(start)
    found: dict[str, int] = dict.fromkeys([*TERMS, "any"], 0)
    for _ in range(trials):
        outcomes: list[Outcome] = []
        for label, terms in {REFERENCE: Terms(), TUNED: Terms(tuned=REFERENCE), **TERMS}.items():
            mean = TUNING * bool(terms.tuned) + gain * (label in TERMS)
            outcomes += _outcomes(label.partition(" ")[0], terms, mean + generator.standard_normal(seeds))
        columns = [DataRecord(role=Role.TEST, task="task", dataset="set")]
        table = gain_table(Cohort("0", "invented", "invented", "invented", outcomes, columns), images=False)
        called = {row.strategy for row in table.rows if row.average.verdict == GAIN} & TERMS.keys()
        for label in [*called, *["any"] * bool(called)]:
            found[label] += 1
    return {label: count / trials for label, count in found.items()}


@dataclass(frozen=True)
class PooledRates:
    """Shares of trials with verdicts over baselines.

    ``family``: any verdict among the strategies without a gain, Holm-corrected as it is printed; ``found``: the planted
    gain; ``single``: the planted gain on one baseline, corrected as the table of all baselines prints it, mean over
    them; ``covered``: the interval of the mean gain holds the planted one.
    """

    family: float
    found: float
    single: float
    covered: float


def pooled_rates(
    seeds: Sequence[int], trials: int, gain: float = 0.0, strategies: int = STRATEGIES, start: int = 0
) -> PooledRates:
    """Verdicts over baselines on strategies of which the first has a gain.

    Args:
        seeds: paired seeds on each baseline.
        trials: families to invent.
        gain: of the first strategy, in standard deviations of a score over seeds; of the others it is 0, and of the
            first too where none is given.
        strategies: beside mix.
        start: seed of the generator.
    """
    generator = np.random.default_rng(start)
    family, found, single, covered = 0, 0, 0.0, 0
    for _ in range(trials):
        rows: list[Row] = []
        for place, count in enumerate(seeds):
            mix, others = _scores("normal", count, strategies, generator)
            others[0] += gain
            reference = {str(seed): float(score) for seed, score in enumerate(mix)}
            for number, row in enumerate(others):
                paired = paired_gain({str(seed): float(score) for seed, score in enumerate(row)}, reference)
                cells = {(AVERAGE, "psnr"): Cell(gain=paired)}
                rows.append(Row(str(place), str(place), str(number), tuple(range(count)), count, "", cells))
        planted, *useless = pooled(rows)
        family += any(one.verdict in (GAIN, LOSS) for one in (useless if gain else (planted, *useless)))
        found += planted.verdict == GAIN
        covered += planted.gain.low <= gain <= planted.gain.high
        corrected = holm([row.average.gain.p for row in rows])
        alone = [verdict(row.average.gain, p) for row, p in zip(rows, corrected, strict=True) if row.strategy == "0"]
        single += alone.count(GAIN) / len(alone)
    return PooledRates(family / trials, found / trials, single / trials, covered / trials)


_IMAGE = pd.Index(["image"])


@dataclass
class _Invented(Outcome):
    """A run that has a score on one set and no files."""

    score: float = 0.0

    @cached_property
    def environment(self) -> Environment:
        return Environment()

    @cached_property
    def data(self) -> list[DataRecord]:
        return []

    @cached_property
    def images(self) -> dict[tuple[str, str], Images]:
        values, names = np.array([self.score]), self.shared("set", _IMAGE)
        return {("set", "psnr"): Images("task", names, values, np.zeros(1), np.array([""], dtype=object))}

    def rhythm(self) -> pd.DataFrame:
        return pd.DataFrame()


def _outcomes(strategy: str, terms: Terms, scores: np.ndarray) -> list[Outcome]:
    return [
        _Invented(
            Run(Path("invented")),
            RunRecord(
                pair=str(seed),
                config=RunConfig(setting="invented", baseline="network", strategy=strategy, seed=seed, terms=terms),
            ),
            score=float(score),
        )
        for seed, score in enumerate(scores)
    ]


def image_rates(trials: int, images: int = IMAGES, start: int = 0) -> ImageRates:
    """What the image-level view says of two trainings that differ only by their seed."""
    generator = np.random.default_rng(start)
    interval = wilcoxon = 0
    for _ in range(trials):
        offset = BETWEEN * np.sqrt(2) * generator.standard_normal()
        view = image_gain(offset + WITHIN * np.sqrt(2) * generator.standard_normal(images))
        interval += not view.low <= 0 <= view.high
        wilcoxon += view.p < 1 - LEVEL
    return ImageRates(interval / trials, wilcoxon / trials)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code (:mod:`results.command`)."""
    return framed(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reports.calibration", description="False verdicts on runs that differ only by their seed."
    )
    parser.add_argument("--trials", type=int, default=1000, help="tables to invent for every line (default: 1000)")
    options = parser.parse_args(arguments)
    if options.trials < 1:
        parser.error("--trials must be at least 1")
    announce(f"Judging {options.trials} invented tables a line.", beside=True)
    print(_text(options.trials))
    return 0


def _scores(kind: str, seeds: int, strategies: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of mix (seeds,) and of the strategies (strategies, seeds) with the same mean."""
    if kind == "normal":
        return generator.standard_normal(seeds), generator.standard_normal((strategies, seeds))
    if kind == "skewed":
        return -generator.standard_exponential(seeds), -generator.standard_exponential((strategies, seeds))
    if kind == "one-sided":
        mix = generator.standard_normal(seeds)
        return mix, mix + generator.standard_exponential((strategies, seeds)) - 1
    raise ValueError(f"unknown kind {kind!r}; there are: {', '.join(KINDS)}")


def _text(trials: int) -> str:
    from reports.formats.layout import grid, wrapped

    rows = [["runs differ by seed", "seeds", "gain", "loss", "either", f"of {STRATEGIES}, Holm", "uncorrected"]]
    for kind in KINDS:
        for seeds in SEEDS:
            rates = verdict_rates(kind, seeds, trials)
            shares = (rates.gain, rates.loss, rates.single, rates.family, rates.uncorrected)
            rows.append([kind, str(seeds), *(f"{share:.1%}" for share in shares)])
    images = image_rates(trials)
    terms = [["useless strategy, called a gain", "seeds", *TERMS, "any"]]
    for seeds in SEEDS:
        terms.append(["normal", str(seeds), *(f"{share:.1%}" for share in term_rates(seeds, trials).values())])
    across = [["over baselines", "seeds each", "baselines", f"of {STRATEGIES}, Holm", "found", "on one", "covered"]]
    for seeds in POOLED_SEEDS:
        for baselines in POOLED_BASELINES:
            useless = pooled_rates([seeds] * baselines, trials)
            useful = pooled_rates([seeds] * baselines, trials, gain=PLANTED)
            shares = (useless.family, useful.found, useful.single, useful.covered)
            across.append(["normal", str(seeds), str(baselines), *(f"{share:.1%}" for share in shares)])
    parts = [
        f"False verdicts over {trials} trials a line; {1 - LEVEL:.0%} is what the tables promise.",
        grid(rows),
        wrapped("  ", f"gain, loss, either: one comparison; of {STRATEGIES}: a table of {STRATEGIES} strategies with "
                "any false verdict, corrected as tables print it, and uncorrected"),
        "",
        grid(terms),
        wrapped("  ", "the rows of one strategy in a table with mix and mix (tuned); any: at least one of them"),
        "",
        grid(across),
        wrapped("  ", f"of {STRATEGIES}: any false verdict among so many strategies; found: a gain planted in one, "
                f"{PLANTED:g} standard deviations of a score over seeds; on one: the same by the table, on a single "
                "baseline; covered: the interval of the mean gain holds it"),
        wrapped("* ", f"The image-level view of two such trainings ({IMAGES} images, {BETWEEN:g} dB between trainings, "
                f"{WITHIN:g} dB an image) calls a difference in {images.interval:.0%} (interval) and "
                f"{images.wilcoxon:.0%} (Wilcoxon): it answers another question and gives no verdict."),
    ]  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    leave(main())
