"""Invented tables of fixed weightings and strategies, to count the verdicts of the control: tests and a big count.

``python tests/reports/front_tables.py [TABLES]`` prints the share of tables with a verdict.

Tasks answer smoothly to the logarithm of their weights, each to its own most, a little to those of others; every seed
shifts all runs of a baseline, and every run, task and seed scatters by ``noise`` dB. A *useless* strategy is one more
random fixed weighting, drawn like those of the design; a *planted* one is a fixed weighting that is good in some
direction, and better by ``gain`` dB in all tasks.
"""

from __future__ import annotations

import sys

import numpy as np

from reports.numbers.contest import control_rows
from reports.numbers.controls import Front, Trained

KINDS = {
    "three kinds": {"denoise": ["denoise_15", "denoise_25", "denoise_50"], "derain": ["derain"], "dehaze": ["dehaze"]},
    "five kinds": {name: [name] for name in ("denoise", "derain", "dehaze", "deblur", "low_light")},
}
TASKS = 5


def draw(count: int, chance: np.random.Generator) -> np.ndarray:
    """Weights (count, K), as a design spreads them."""
    return 0.9 * chance.dirichlet(np.ones(TASKS), count) + 0.1 / TASKS


class Response:
    """PSNR (N, K) to weights (N, K)."""

    def __init__(self, chance: np.random.Generator):
        self.level, self.reach = chance.uniform(25, 32, TASKS), chance.uniform(0.2, 2, TASKS)
        self.bend, self.top = chance.uniform(0, 0.6, TASKS), chance.normal(0, 0.4, TASKS)
        self.others = 0.07 * chance.standard_normal((TASKS, TASKS))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        ample = np.log10(TASKS * weights)
        return self.level + self.reach * ample - self.bend * (ample - self.top) ** 2 + ample @ self.others.T


def invent(
    chance: np.random.Generator, *, kind: str = "three kinds", noise: float = 0.05, seeds: int = 3, count: int = 16,
    strategies: int = 1, gain: float | None = None, baselines: int = 2,
) -> list[Front]:  # fmt: skip
    """A table: ``gain`` of planted strategies, ``None`` for useless ones."""
    groups = KINDS[kind]
    fronts = []
    for baseline in range(baselines):
        respond = Response(chance)
        fixed = respond(draw(count, chance))
        fixed[0] = respond(np.full((1, TASKS), 1 / TASKS))[0]
        own = respond(draw(strategies, chance))
        if gain is not None:
            for place in range(strategies):
                candidates = respond(draw(60, chance))
                own[place] = candidates[(candidates @ chance.dirichlet(np.ones(TASKS))).argmax()] + gain
        shift = noise * chance.standard_normal((1, seeds, 1))
        scores, validation = (
            np.concatenate([fixed, own])[:, None]
            + shift
            + noise * chance.standard_normal((count + strategies, seeds, TASKS))
            for _ in range(2)
        )
        runs = [Trained(np.arange(seeds), one, one.mean(axis=1)) for one in scores]
        fronts.append(
            Front(
                baseline=str(baseline),
                display=str(baseline),
                tasks=[task for tasks in groups.values() for task in tasks],
                groups=groups,
                seeds=list(range(seeds)),
                fixed={f"fixed:{place}": run for place, run in enumerate(runs[:count])},
                strategies={f"strategy {place}": run for place, run in enumerate(runs[count:])},
                inputs=np.full(TASKS, 18.0),
                validation=validation[:count].mean(axis=2),
            )
        )
    return fronts


def rate(tables: int, start: int = 0, each: bool = False, **how) -> dict[str, float]:
    """Share of tables in which any strategy gets a verdict, or with ``each`` share of strategies that get it."""
    chance = np.random.default_rng(start)
    found = [control_rows(invent(chance, **how)) for _ in range(tables)]

    def share(verdict: str) -> float:
        hits = [[verdict in (row.best_verdict, row.verdict) for row in rows] for rows in found]
        return float(np.mean(hits)) if each else float(np.mean([any(row) for row in hits]))

    return {verdict: share(verdict) for verdict in ("gain", "beyond", "loss", "behind")}


if __name__ == "__main__":
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    cases = {"useless": {}, "6 useless": {"strategies": 6}, "planted": {"gain": 0.5, "each": True}}
    for kind in KINDS:
        for noise in (0.02, 0.05, 0.1, 0.2):
            for words, how in cases.items():
                shares = rate(tables, kind=kind, noise=noise, **how)
                print(f"{kind}, {noise} dB, {words}: " + ", ".join(f"{k} {v:.1%}" for k, v in shares.items()))
    for count in (5, 8, 10, 32):
        print(f"{count} weightings, useless: {rate(tables, count=count, noise=0.02)}")
    for seeds in (5, 10):
        print(f"{seeds} seeds, useless: {rate(tables, seeds=seeds)}, 6: {rate(tables, seeds=seeds, strategies=6)}")
