"""Mixings: how much of every batch each task has, read from one line of text.

``shuffled``, ``balanced`` and ``stratified`` follow the published training lists or share alike (see
:class:`benchmarks.config.settings.Setting`). The others give each task a rate, its expected share of a batch, by the
step alone:

``temperature:T``
    p_k proportional to n_k^(1/T), with n_k the distinct samples of task k in the published list, without its repeats:
    T = 1 draws by size, ``temperature:inf`` draws all tasks alike. Repeats are a hand-made version of it.
``cooldown:FROM:TO``
    The temperature falls from FROM at the first step to TO at the last, evenly in its logarithm. That a temperature
    should fall is from Li et al., Upsample or Upweight?, NAACL 2025; this shape, and any values, are ours.
``rates:TASK=SHARE:...``
    The named tasks have these shares, the others share the rest alike. Where all tasks are named, only the ratios
    count. A task of rate 0 is never trained.
``sequential`` or ``sequential:TASK,TASK,...``
    MiOIR's sequential learning: stage i draws alike from the first i tasks, in the order of the setting or the one
    given. Of K tasks, each of the first K - 1 stages has 1 / (K + 3) of the steps and the last one the rest: for
    MiOIR's seven a tenth each and four tenths. There every stage begins with a new optimizer and a new cosine; here one
    optimizer and the recipe's schedule run through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from benchmarks.config.errors import nearest, quoted

FORMS = {
    "shuffled": "shuffled",
    "balanced": "balanced",
    "stratified": "stratified",
    "temperature": "temperature:T",
    "cooldown": "cooldown:FROM:TO",
    "rates": "rates:TASK=SHARE:TASK=SHARE",
    "sequential": "sequential or sequential:TASK,TASK",
}
"""How each mixing is written, by its first word."""

_ROUNDING = 1e-5  # shares that sum to 1 up to this are left as they are typed
_MOST = 1e9  # of a share, where only ratios count


class Mixing:
    """One way to mix tasks; ``str`` of it is its one spelling. :mod:`benchmarks.config.shares` computes with it.

    ``by_rates``: batches are drawn by rates; otherwise from lists.
    """

    by_rates: ClassVar[bool] = True

    @staticmethod
    def parse(text: str) -> Mixing:
        """The mixing that a text names.

        Raises:
            ValueError: for a text that names none; names of tasks are not looked at before :meth:`within`.
        """
        head, separator, rest = text.partition(":")
        if head not in FORMS:
            forms = ", ".join(FORMS.values())
            raise ValueError(f"unknown mixing {quoted(text)}{nearest(head, FORMS)} Known: {forms}.")
        if not separator:
            match head:
                case "shuffled" | "stratified":
                    return ByList(head)
                case "balanced":
                    return Balanced()
                case "sequential":
                    return Sequential(())
                case _:
                    raise ValueError(f"mixing {head} is written as {FORMS[head]}")
        match head:
            case "temperature":
                return Temperature(_temperature(rest, infinite=True))
            case "cooldown":
                return _cooldown(rest)
            case "rates":
                return Rates(_shares(rest))
            case "sequential":
                return Sequential(_order(rest))
            case _:
                raise ValueError(f"mixing {head} takes nothing after it (got {quoted(text)})")

    def within(self, names: Sequence[str]) -> Mixing:
        """The same mixing in its one spelling among tasks of these names, which stand in the setting's order.

        Raises:
            ValueError: for names that are no task's, or that lack some, and for shares that cannot be.
        """
        return self


def _one_spelling(text: str) -> str:
    return str(Mixing.parse(text))


MixingText = Annotated[str, AfterValidator(_one_spelling)]
"""A field that holds a mixing in its one spelling, as far as that is without the tasks."""


@dataclass(frozen=True)
class ByList(Mixing):
    """``shuffled`` or ``stratified``: the shares of the published list."""

    by_rates: ClassVar[bool] = False
    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Balanced(Mixing):
    """``balanced``: the same share for all."""

    by_rates: ClassVar[bool] = False

    def __str__(self) -> str:
        return "balanced"


@dataclass(frozen=True)
class Temperature(Mixing):
    """``temperature:T``, T > 0, perhaps infinite."""

    temperature: float

    def __str__(self) -> str:
        return f"temperature:{_text(self.temperature)}"


@dataclass(frozen=True)
class Cooldown(Mixing):
    """``cooldown:FROM:TO``, finite, FROM > TO > 0."""

    first: float
    last: float

    def __str__(self) -> str:
        return f"cooldown:{_text(self.first)}:{_text(self.last)}"


@dataclass(frozen=True)
class Rates(Mixing):
    """``rates``: the shares of some tasks, each >= 0."""

    shares: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return ":".join(["rates", *(f"{name}={_text(share)}" for name, share in self.shares)])

    def within(self, names: Sequence[str]) -> Mixing:
        """In the order of the names; all of them sum to 1."""
        given = dict(self.shares)
        total = math.fsum(given.values())
        problems = _strangers(given, names)
        if not problems and given.keys() >= set(names):
            if total <= 0:
                problems.append("rates of 0 for all tasks train nothing")
            elif abs(total - 1) > _ROUNDING:
                given = {name: float(f"{share / total:.6g}") for name, share in given.items()}
        elif not problems and total > 1 + 1e-9:
            problems.append(f"rates sum to {total:.6g}, and those of some of the tasks may sum to 1 at most")
        if problems:
            raise ValueError("; ".join(problems))
        return Rates(tuple((name, given[name]) for name in names if name in given))


@dataclass(frozen=True)
class Sequential(Mixing):
    """``sequential``: the tasks in the order in which they join in."""

    order: tuple[str, ...]  # empty: the setting's

    def __str__(self) -> str:
        return f"sequential:{','.join(self.order)}" if self.order else "sequential"

    def within(self, names: Sequence[str]) -> Mixing:
        """With every name; the given order is none."""
        problems = _strangers(self.order, names) if self.order else []
        if self.order and (missing := [name for name in names if name not in self.order]):
            problems.append(f"sequential:{','.join(self.order)} leaves out {', '.join(missing)}; name every task")
        if problems:
            raise ValueError("; ".join(problems))
        return Sequential(() if self.order == tuple(names) else self.order)


def _cooldown(text: str) -> Mixing:
    ends = text.split(":")
    if len(ends) != 2:
        raise ValueError(f"mixing cooldown is written as {FORMS['cooldown']}, as in cooldown:5:1")
    first, last = (_temperature(end, infinite=False) for end in ends)
    if first <= last:
        raise ValueError(f"cooldown:{text}: the temperature falls; give the higher one first, or use temperature:T")
    return Cooldown(first, last)


def _temperature(text: str, infinite: bool) -> float:
    value = _number(text)
    if math.isnan(value) or value <= 0 or (math.isinf(value) and not infinite):
        raise ValueError(f"{quoted(text)} is no temperature: a number above 0{', or inf' if infinite else ''}")
    return value


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    shares: dict[str, float] = {}
    for part in text.split(":"):
        name, _, number = part.rpartition("=")
        name, share = name.strip(), _number(number)
        if not name or not 0 <= share <= _MOST:
            raise ValueError(f"rates: {quoted(part)} is no TASK=SHARE with a number of at least 0, such as derain=0.3")
        if name in shares:
            raise ValueError(f"rates: {name} is there twice")
        shares[name] = share
    return tuple(shares.items())


def _order(text: str) -> tuple[str, ...]:
    order = tuple(name.strip() for name in text.split(","))
    if "" in order or len(set(order)) < len(order):
        raise ValueError("sequential names every task once, as in sequential:derain,dehaze")
    return order


def _strangers(given: Sequence[str] | dict[str, float], names: Sequence[str]) -> list[str]:
    return [f"no task {quoted(name)}{nearest(name, names)} Tasks: {', '.join(names)}" for name in given
            if name not in names]  # fmt: skip


def _number(text: str) -> float:
    """The number, NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(value: float) -> str:
    return repr(value).removesuffix(".0")
