"""One look for every figure: a colour and a line style a task, fonts, sizes, and files that rebuild identically.

Colours: Okabe and Ito, "Color Universal Design" (2008), without the yellow that vanishes on white. Line styles repeat
the distinction for print without colour.
"""

from __future__ import annotations

import re
import textwrap
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reports.numbers.model import REFERENCE
from results.visible import visible

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

T = TypeVar("T")
LineStyle = str | tuple[int, tuple[float, ...]]
"""As matplotlib takes it: ``-``, or offset and lengths of strokes and gaps."""

Styles = dict[str, tuple[str, LineStyle]]
"""Colour and line style by name."""

SKY, BLUE, BLACK, VERMILION, ORANGE, GREEN, PURPLE = (
    "#56B4E9",
    "#0072B2",
    "#000000",
    "#D55E00",
    "#E69F00",
    "#009E73",
    "#CC79A7",
)
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
LINES: tuple[LineStyle, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2, 1)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

TASKS: Styles = {
    "denoise_15": (SKY, LINES[0]),
    "denoise_25": (BLUE, LINES[1]),
    "denoise_50": (BLACK, LINES[2]),
    "derain": (VERMILION, LINES[3]),
    "dehaze": (ORANGE, LINES[4]),
    "deblur": (GREEN, LINES[5]),
    "low_light": (PURPLE, LINES[6]),
    "desnow": (SKY, LINES[0]),
    "rain_fog": (VERMILION, LINES[3]),
    "raindrop": (GREEN, LINES[1]),
}
"""Tasks that are shown together differ in both; every other task gets a pair from its name (:func:`task_styles`)."""

DPI = 150

KINDS = ("png", "svg")
"""Formats of figures."""

COLUMNS = 4
"""Strategies side by side in one figure."""


def task_styles(tasks: Iterable[str]) -> Styles:
    """``{task: (colour, line style)}``; a known task always looks the same, others avoid the looks taken."""
    tasks = list(dict.fromkeys(tasks))
    styles: Styles = {task: TASKS[task] for task in tasks if task in TASKS}
    for task in tasks:
        if task not in styles:
            used = [colour for colour, _ in styles.values()]
            rarest = min(map(used.count, COLOURS))
            free = [
                (colour, line)
                for colour in COLOURS
                for line in LINES
                if used.count(colour) == rarest and (colour, line) not in styles.values()
            ]
            styles[task] = free[zlib.crc32(task.encode()) % len(free)]
    return styles


def strategy_styles(strategies: Sequence[str]) -> dict[str, tuple[str, str]]:
    """``{strategy: (colour, marker)}`` in the given order."""
    return {
        name: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, name in enumerate(strategies)
    }


@contextmanager
def look() -> Generator[None]:
    """Draw inside this: fonts and lines for print, no window system, no random identifiers in SVG files, and no text
    read as anything but text."""
    import matplotlib as mpl

    with mpl.rc_context(
        {
            "font.size": 8,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "axes.grid": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "text.parse_math": False,  # a $ in somebody's name is a $, not the beginning of a formula
            "text.usetex": False,
            "svg.hashsalt": "reports",
            "svg.fonttype": "none",
        }
    ):
        yield


def canvas(width: float, height: float, fixed: bool = False) -> Figure:
    """A figure of this size in inches that belongs to no window and no global state.

    ``fixed`` leaves the layout to :func:`panels`; otherwise matplotlib fits it to the texts.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout=None if fixed else "constrained")


def panels(figure: Figure, rows: int, columns: int, place: Mapping[str, float]) -> NDArray[np.object_]:
    """Axes (rows x columns, shared y along rows, x along columns) at fixed margins.

    Args:
        figure: of :func:`canvas`, fixed.
        rows, columns: how many.
        place: inches ``left``, ``right``, ``top``, ``bottom`` of all panels, ``between`` columns, ``below`` rows.
    """
    width, height = figure.get_size_inches()
    panel_width = (width - place["left"] - place["right"] - (columns - 1) * place["between"]) / columns
    panel_height = (height - place["top"] - place["bottom"] - (rows - 1) * place["below"]) / rows
    figure.subplots_adjust(
        left=place["left"] / width,
        right=1 - place["right"] / width,
        bottom=place["bottom"] / height,
        top=1 - place["top"] / height,
        wspace=place["between"] / panel_width,
        hspace=place["below"] / panel_height,
    )
    return figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False)


def in_groups(items: Sequence[T], stem: Path, strategy: Callable[[T], str]) -> Iterator[tuple[Path, list[T]]]:
    """``(stem of the file, items)`` for figures of at most :data:`COLUMNS` strategies, the reference first in each."""
    first = [item for item in items if strategy(item) == REFERENCE]
    others = [item for item in items if strategy(item) != REFERENCE]
    size = COLUMNS - len(first)
    groups = [first + others[i : i + size] for i in range(0, len(others), size)] or ([first] if first else [])
    for i, group in enumerate(groups):
        yield stem if i == 0 else stem.with_name(f"{stem.name}-part{i + 1}"), group


def headline(figure: Figure, *sentences: str) -> None:
    """Title and what a reader must know about the data, a line each, wrapped to the figure's width."""
    characters = int(figure.get_size_inches()[0] * 14)
    figure.suptitle("\n".join(textwrap.fill(sentence, characters) for sentence in sentences), fontsize=9)


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], columns: int) -> None:
    """The names of ``handles`` below all panels; matplotlib would leave out those that begin with an underscore."""
    numbers = [str(number) for number in range(len(names))]
    legend = figure.legend(handles, numbers, loc="outside lower center", ncols=columns, frameon=False)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def file_name(text: str) -> str:
    """``text`` with nothing in it that a file name should not have; a long one is cut, with its digest in place."""
    name = re.sub(r"[^\w.-]+", "_", text)
    if len(name.encode()) <= 120:
        return name
    return f"{name.encode()[:110].decode(errors='ignore')}-{zlib.crc32(text.encode()):08x}"


def _only_text(figure: Figure) -> None:
    """Show control characters, which SVG files must not hold; names reach texts and the labels of ticks."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for text in figure.findobj(Text):
        text.set_text(visible(text.get_text(), lines=True))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FuncFormatter):
            formatter.func = lambda value, place, text=formatter.func: visible(text(value, place), lines=True)


def save(figure: Figure, stem: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Write ``<stem>.png`` (150 dots an inch, 256 colours: a third of the size) and ``<stem>.svg``, or one of them."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in kinds}
    _only_text(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it stands as a box; the page has the name
        if "png" in paths:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
            few = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(paths["png"], dpi=(DPI, DPI))
        if "svg" in paths:
            figure.savefig(paths["svg"], metadata={"Date": None})
    return list(paths.values())
