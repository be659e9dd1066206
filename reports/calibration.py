"""How often verdicts are wrong where there is nothing to find: ``python -m reports.calibration``.

Every trial invents runs that differ only by their seed and lets the code of the tables judge them. Three kinds:

* ``normal``: scores of runs scatter normally.
* ``skewed``: now and then a run is much worse (exponential tail downwards). Two runs with the same tail have a
  symmetric difference, so the test becomes careful rather than wrong.
* ``one-sided``: the *difference* has such a tail, with mean 0: a strategy that mostly loses a little and sometimes
  gains much. Student's t cannot see that with few seeds; these rates say how far to trust it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.numbers.statistics import GAIN, LEVEL, LOSS, holm, image_gain, paired_gain, verdict
from results.command import announce, framed, leave

KINDS = ("normal", "skewed", "one-sided")
SEEDS = (3, 5, 10)
STRATEGIES = 5
"""Strategies that are compared with the same mix runs in a family."""

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
    parts = [
        f"False verdicts over {trials} trials a line; {1 - LEVEL:.0%} is what the tables promise.",
        grid(rows),
        wrapped("  ", f"gain, loss, either: one comparison; of {STRATEGIES}: a table of {STRATEGIES} strategies with "
                "any false verdict, corrected as tables print it, and uncorrected"),
        wrapped("* ", f"The image-level view of two such trainings ({IMAGES} images, {BETWEEN:g} dB between trainings, "
                f"{WITHIN:g} dB an image) calls a difference in {images.interval:.0%} (interval) and "
                f"{images.wilcoxon:.0%} (Wilcoxon): it answers another question and gives no verdict."),
    ]  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    leave(main())
