"""Weights of tasks by their names, for the strategy ``fixed``: checked, and scaled to one form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction

from art.ranges import is_number
from art.registry import nearest

DESIGN = "design"  # in place of a task's name: that many strategies
_FARTHEST = 1e6  # ratio of the largest to the smallest weight: names hold 6 digits, and weights are float32
_SIX_DIGITS = Context(prec=6)


def weights_of(given: Mapping[str, object], tasks: Sequence[str]) -> dict[str, float]:
    """The weight of each task, in their order: as given, 1 for those that are not named.

    Args:
        given: weights by name, finite and >= 0.
        tasks: names of the K tasks.

    Raises:
        ValueError: with all that is wrong: no weight given, unknown names, weights out of range or all 0.
    """
    if not given:
        raise ValueError(
            "fixed needs weights: fixed:derain=2 (tasks not named weigh 1), or fixed:design=16 for 16 sets of them; "
            "equal weights are the strategy equal."
        )
    if DESIGN in given:
        raise ValueError(
            f"{DESIGN}={given[DESIGN]} stands for several strategies: it takes no weights beside it, and only "
            "--strategies of benchmarks.run knows it. Here, name the weight of each task."
        )
    wrong = [f"no task is called {name!r}{nearest(name, tasks)}" for name in given if name not in tasks]
    wrong += [f"The tasks: {', '.join(tasks)}."] * bool(wrong)
    weights = {task: given.get(task, 1.0) for task in tasks}
    numbers = {task: float(weight) for task, weight in weights.items() if is_number(weight) and 0 <= weight < math.inf}
    wrong += [f"{task} weighs {weights[task]!r}: give a number, 0 or more." for task in tasks if task not in numbers]
    positive = [weight for weight in numbers.values() if weight]
    if numbers and not positive:
        wrong.append("all tasks weigh 0; give at least one a weight.")
    if positive and max(positive) > _FARTHEST * min(positive):
        wrong.append(f"weights differ by more than a factor of {_FARTHEST:g}; for a task left untrained say 0.")
    if wrong:
        raise ValueError(" ".join(wrong))
    return numbers


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights up to a factor: the most frequent one (of several, the smallest) is 1, with 6 digits.

    Weights that differ by a factor only give the same, and what this gave before stays as it is. Weights of 0 stay 0.

    Args:
        weights: by task, >= 0, not all 0.
    """
    exact = {task: Fraction(repr(float(weight))) for task, weight in weights.items()}  # as typed: 0.1 is a tenth
    while True:  # rounding may make two weights equal, at most once a task
        counts = Counter(weight for weight in exact.values() if weight)
        usual = min(counts, key=lambda weight: (-counts[weight], weight))
        rounded = {task: _rounded(weight / usual) for task, weight in exact.items()}
        if rounded == exact:
            return {task: float(weight) for task, weight in exact.items()}
        exact = rounded


def _rounded(weight: Fraction) -> Fraction:
    return Fraction(_SIX_DIGITS.divide(Decimal(weight.numerator), Decimal(weight.denominator)))


def sayable(task: str) -> bool:
    """Whether a spec can name this task."""
    return bool(task) and task != DESIGN and not {*task} & {*":="}
