"""Figures of the gain against the length of the training: one line a strategy, over steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures import style
from reports.figures.labels import label_ends
from reports.numbers import header
from reports.numbers.lengths import BENDS, GROWS, LEVELS, NO_TREND, SHRINKS, TURNS, Course, Point
from reports.numbers.model import REFERENCE, Cohort

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8
"""Strategies in a figure; of more there are several."""

GREY = "#8A8A8A"
"""Of the eighth, which would have the colour of the first."""

BANDED = 3
"""Strategies up to which intervals are bands; those of more would hide each other and are bars side by side."""

ASIDE, WIDEST = 0.03, 0.13
"""Between bars side by side, and of all of them at most: shares of a tenfold length."""


def length_figures(
    cohort: Cohort, courses: Sequence[Course], stem: Path, kinds: Sequence[str] = style.KINDS
) -> list[Path]:
    """The rows of a baseline; writes ``<stem>.png``/``.svg``, of more than :data:`MOST` strategies further ones as
    ``<stem>-part2``, ..."""
    looks = style.strategy_styles([course.strategy for course in courses])
    looks |= {course.strategy: (GREY, looks[course.strategy][1]) for course in courses[len(style.COLOURS) :: MOST]}
    parts = -(-len(courses) // MOST)
    size = -(-len(courses) // parts)
    paths: list[Path] = []
    for place in range(parts):
        name = stem if place == 0 else stem.with_name(f"{stem.name}-part{place + 1}")
        paths += _figure(cohort, courses[place * size : (place + 1) * size], looks, name, kinds)
    return paths


def _figure(
    cohort: Cohort, courses: Sequence[Course], looks: Mapping[str, tuple[str, str]], stem: Path, kinds: Sequence[str]
) -> list[Path]:
    names = [_label(course) for course in courses]
    with style.look():
        room = 0.45 + 0.056 * max(map(len, names))
        figure = style.canvas(0.75 + 4.9 + room, 4.2, fixed=True)
        place = {"left": 0.75, "right": room, "top": 0.88, "bottom": 0.55, "between": 0.0, "below": 0.0}
        axis = style.panels(figure, 1, 1, place)[0, 0]
        _axes(axis, courses)
        for course, aside in zip(courses, _asides(len(courses)), strict=True):
            _draw(axis, course, looks[course.strategy], aside, banded=len(courses) <= BANDED)
        style.headline(figure, *_title(cohort, courses))
        ends = {REFERENCE: 0.0} | {course.strategy: course.last.gain.mean for course in courses}
        colours: style.Styles = {name: (colour, "-") for name, (colour, _) in looks.items()}
        label_ends(axis, ends, colours | {REFERENCE: (style.BLACK, "-")}, [REFERENCE, *names])
        return style.save(figure, stem, kinds)


def _axes(axis: Axes, courses: Sequence[Course]) -> None:
    """Steps, logarithmic, with a tick at every length; limits from means and seeds, as the interval of two seeds may be
    many times as wide as all that is to be seen."""
    steps = sorted({point.steps for course in courses for point in course.points})
    places = [math.log10(at) for at in steps]
    margin = max(0.04 * (places[-1] - places[0]), WIDEST / 2 + 0.02)
    axis.set_xlim(places[0] - margin, places[-1] + margin)
    axis.set_xticks(places, [f"{at:,}" for at in steps])
    points = [point for course in courses for point in course.points]
    values = [0.0, *(value for point in points for value in (point.gain.mean, *point.seeds.values()))]
    room = 0.08 * max(max(values) - min(values), 0.05)
    axis.set_ylim(min(values) - room, max(values) + room)
    axis.axhline(0, color="black", linewidth=0.8, zorder=1.5)
    axis.set_xlabel("length of the training, steps (logarithmic)")
    axis.set_ylabel("average gain over mix, PSNR in dB")


def _asides(count: int) -> list[float]:
    """By how much the bars of each strategy stand aside, so that none hides another."""
    if count <= BANDED:
        return [0.0] * count
    gap = min(ASIDE, WIDEST / (count - 1))
    return [gap * (place - (count - 1) / 2) for place in range(count)]


def _draw(axis: Axes, course: Course, look: tuple[str, str], aside: float, banded: bool) -> None:
    colour, marker = look
    across = [math.log10(point.steps) + aside for point in course.points]
    means = [point.gain.mean for point in course.points]
    if course.trend and _straight(course):
        axis.plot(across, [course.trend.at(p.steps) for p in course.points], color=colour, linewidth=0.9,
                  linestyle=(0, (4, 3)), alpha=0.75, zorder=2)  # fmt: skip
    for x, point in zip(across, course.points, strict=True):
        if point.gain.n > 1:
            axis.plot([x] * len(point.seeds), list(point.seeds.values()), "o", color="white", alpha=0.85,
                      markeredgecolor=colour, markeredgewidth=0.6, markersize=3.2, zorder=3)  # fmt: skip
    _intervals(axis, across, course.points, colour, banded)
    axis.plot(across, means, color=colour, linewidth=1.5, zorder=4)
    axis.plot(across, means, marker, color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.8, zorder=5)


def _intervals(axis: Axes, across: Sequence[float], points: Sequence[Point], colour: str, banded: bool) -> None:
    """95 % t-intervals as a band, or as bars; a length of one seed has none."""
    known = [(x, point.gain) for x, point in zip(across, points, strict=True) if point.gain.n > 1]
    places, low, high = [x for x, _ in known], [gain.low for _, gain in known], [gain.high for _, gain in known]
    if banded:
        axis.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0, zorder=1)
    else:
        axis.vlines(places, low, high, color=colour, linewidth=1.1, alpha=0.55, zorder=2.5)


def _straight(course: Course) -> bool:
    """Whether a straight line says something of the points."""
    return course.trend is not None and course.word != NO_TREND and course.bend != BENDS


def _label(course: Course) -> str:
    """Name and, from three lengths on, what is seen of the trend."""
    if not course.trend:
        return course.strategy
    if course.bend == BENDS:
        return f"{course.strategy}: {BENDS}"
    seen = {SHRINKS: f"{course.what} shrinks", GROWS: f"{course.what} grows", TURNS: f"turns into a {course.becomes}"}
    return f"{course.strategy}: {seen.get(course.word, course.word)}" + ", levels off" * (course.bend == LEVELS)


def _title(cohort: Cohort, courses: Sequence[Course]) -> tuple[str, ...]:
    several = any(point.gain.n > 1 for course in courses for point in course.points)
    marks = "one seed, spread unknown"
    if several:
        kind = "bands" if len(courses) <= BANDED else "bars"
        marks = f"marks: mean over seeds; rings: single seeds; {kind}: 95 % t-intervals, cut at the frame"
    line = "; dashed: straight line over log10(steps)" if any(map(_straight, courses)) else ""
    return (
        f"Gain against length of the training: {courses[0].display}, {cohort.title}",
        header.context(cohort),
        f"{marks}{line}; 0 is mix, trained as long",
    )
