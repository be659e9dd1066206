"""Pictures restored by several networks, side by side as papers show them.

A column each for the input, every network and, where it is known, the clean picture; below every picture its regions,
enlarged and framed in the colour that marks them in the whole. Scaling is bicubic, of what is made smaller with the
filter that this needs (Lanczos).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.figures.style import GREEN, ORANGE, SKY, VERMILION, look
from results import write_atomically
from results.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 200
COLUMN = 400
"""Pixels: two inches, as wide as three pictures beside each other are printed in a paper."""

TALLEST = 500
"""Pixels of a picture's height, and of a row of regions."""

GAP, MARGIN, LINE = 12, 20, 1.35  # pixels between pictures and around all; lines in multiples of the letters' size
PAGE = 7 * DPI  # wider sheets are scaled down to this in print, so that their letters must be larger
FRAMES = (VERMILION, SKY, GREEN, ORANGE)

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet, scaled to its columns.

    Attributes:
        name: of the picture.
        wholes: the columns' pictures, uint8 (h, w, 3), all of one size.
        details: by column, the enlarged regions.
        boxes: the regions in a whole, in its pixels, with fractions.
        scores: in dB, of the columns from the left; none where nothing is known.
    """

    name: str
    wholes: Sequence[np.ndarray]
    details: Sequence[Sequence[np.ndarray]]
    boxes: Sequence[tuple[float, float, float, float]]
    scores: Sequence[float]


def panel(name: str, pictures: Sequence[np.ndarray], scores: Sequence[float], regions: Sequence[Box]) -> Panel:
    """Scale pictures to the columns of a sheet.

    Args:
        name: of the picture.
        pictures: uint8 (H, W, 3), of one size, a column each.
        scores: PSNR in dB of as many of them, from the left, as have one.
        regions: to be enlarged, inside the pictures.
    """
    height, width = pictures[0].shape[:2]
    scale = min(COLUMN / width, TALLEST / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    across, down = size[0] / width, size[1] / height
    boxes = [(x * across, y * down, w * across, h * down) for x, y, w, h in regions]
    sizes = _sizes(regions)
    details = [
        [
            _scaled(picture[y : y + h, x : x + w], detail)
            for (x, y, w, h), detail in zip(regions, sizes, strict=True)
        ]
        for picture in pictures
    ]  # fmt: skip
    return Panel(name, [_scaled(picture, size) for picture in pictures], details, boxes, scores)


def _strips(regions: Sequence[Box] | Sequence[np.ndarray]) -> list[slice]:
    """Which regions stand beside each other: up to three, four two by two."""
    count = len(regions)
    return [slice(0, 2), slice(2, 4)] if count == 4 else [slice(0, count)] if count else []


def _sizes(regions: Sequence[Box]) -> list[tuple[int, int]]:
    """Width and height of the enlarged regions: those beside each other of one height, together as wide as a column."""
    found: list[tuple[int, int]] = []
    for strip in _strips(regions):
        beside = regions[strip]
        room = COLUMN - GAP // 2 * (len(beside) - 1)
        height = min(room / sum(w / h for _, _, w, h in beside), TALLEST)
        found += [(max(int(height * w / h), 1), max(int(height), 1)) for _, _, w, h in beside]
    return found


def _scaled(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    smaller = size[0] < picture.shape[1]
    way = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, way))


def draw(panels: Sequence[Panel], headings: Sequence[Sequence[str]], foot: str, paths: Sequence[Path]) -> None:
    """Write a sheet.

    Args:
        panels: from top to bottom.
        headings: lines above each column.
        foot: a sentence below all, or nothing.
        paths: the files, in the format that their ending says.

    Raises:
        OSError: if a file cannot be written.
    """
    with look(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # it stands as a box
        import matplotlib as mpl

        mpl.rcParams.update({"image.composite_image": False, "pdf.fonttype": 42})  # within look, which puts them back
        sheet = _Sheet(len(headings))
        sheet.headings(headings)
        for shown in panels:
            sheet.panel(shown)
        sheet.foot(foot)
        for path in paths:
            write_atomically(path, sheet.write)


class _Sheet:
    """Places things from top to bottom, in pixels, then draws them on a figure of the size that this took."""

    def __init__(self, columns: int):
        self.width = 2 * MARGIN + columns * COLUMN + (columns - 1) * GAP
        self.size = 9 * min(max(self.width / PAGE, 1), 1.6)  # of letters, in points
        self.line = LINE * self.size * DPI / 72
        self.bottom = float(MARGIN)
        self._texts: list[tuple[float, float, str, dict[str, Any]]] = []
        self._images: list[tuple[int, int, np.ndarray]] = []
        self._frames: list[tuple[tuple[float, float, float, float], str]] = []

    def headings(self, headings: Sequence[Sequence[str]]) -> None:
        """Names above the columns, all on one ground line."""
        fitted = [[(part, n == 0) for n, line in enumerate(lines) for part in self._fitted(line, COLUMN, n == 0)]
                  for lines in headings]  # fmt: skip
        most = max(map(len, fitted))
        for column, lines in enumerate(fitted):
            for number, (line, bold) in enumerate(lines, start=most - len(lines)):
                self._centred(column, self.bottom + number * self.line, line, bold)
        self.bottom += most * self.line + GAP

    def panel(self, shown: Panel) -> None:
        """A picture's row: its name, the wholes, the regions, the scores."""
        for line in self._fitted(shown.name, self.width - 2 * MARGIN):
            self._texts.append((MARGIN, self.bottom, line, {"color": "#666666", "ha": "left"}))
            self.bottom += self.line
        top = round(self.bottom)
        height, width = shown.wholes[0].shape[:2]
        for column, whole in enumerate(shown.wholes):
            left = self._left(column) + (COLUMN - width) // 2
            self._images.append((left, top, whole))
            for (x, y, w, h), colour in zip(shown.boxes, FRAMES, strict=False):
                self._frames.append(((left + x, top + y, w, h), colour))
        self.bottom = self._details(shown, top + height + GAP // 2)
        if shown.scores:
            self.bottom += GAP // 2
            restored = [round(value, 2) for value in shown.scores[1:]]
            for column, value in enumerate(shown.scores):
                best = column > 0 and round(value, 2) == max(restored)
                self._centred(column, self.bottom, f"{value:.2f} dB", best)
            self.bottom += self.line
        self.bottom += GAP

    def _details(self, shown: Panel, top: int) -> int:
        for strip in _strips(shown.details[0]):
            height = 0
            for column, details in enumerate(shown.details):
                beside = details[strip]
                taken = sum(detail.shape[1] for detail in beside) + GAP // 2 * (len(beside) - 1)
                left = self._left(column) + (COLUMN - taken) // 2
                for detail, colour in zip(beside, FRAMES[strip], strict=False):
                    height = detail.shape[0]
                    self._images.append((left, top, detail))
                    self._frames.append(((left, top, detail.shape[1], height), colour))
                    left += detail.shape[1] + GAP // 2
            top += height + GAP // 2
        return top

    def foot(self, text: str) -> None:
        """The last line, in grey."""
        for line in self._fitted(text, self.width - 2 * MARGIN) if text else ():
            self._texts.append((MARGIN, self.bottom, line, {"color": "#666666", "ha": "left"}))
            self.bottom += self.line
        self.bottom = round(self.bottom) + MARGIN

    def write(self, path: Path) -> None:
        """The figure as a file."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image

        height = round(self.bottom)
        figure = Figure(figsize=(self.width / DPI, height / DPI), dpi=DPI, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        self._fill(axes)
        axes.set(xlim=(0, self.width), ylim=(height, 0))
        axes.axis("off")
        if path.suffix == ".pdf":
            figure.savefig(path, metadata={"CreationDate": None})  # the same sheet is the same file
            return
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(path, dpi=(DPI, DPI))

    def _fill(self, axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        for left, top, image in self._images:
            height, width = image.shape[:2]
            axes.imshow(
                image, extent=(left, left + width, top + height, top), interpolation="none", aspect="auto", zorder=1
            )
        for (x, y, w, h), colour in self._frames:
            axes.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor=colour, linewidth=1.2, zorder=2))
        for x, y, line, looks in self._texts:
            axes.text(x, y, line, fontsize=self.size, va="top", **looks)

    def _left(self, column: int) -> int:
        return MARGIN + column * (COLUMN + GAP)

    def _centred(self, column: int, top: float, text: str, bold: bool = False) -> None:
        looks: dict[str, Any] = {"ha": "center", "fontweight": "bold" if bold else "normal"}
        self._texts.append((self._left(column) + COLUMN / 2, top, text, looks))

    def _fitted(self, text: str, width: float, bold: bool = False) -> list[str]:
        """``text`` in lines that are no wider than ``width`` pixels, broken behind a mark where there is one."""
        lines, rest = list[str](), visible(text)
        while self._wide(rest, bold) > width:
            end = next(n for n in range(len(rest), 0, -1) if n == 1 or self._wide(rest[:n], bold) <= width)
            mark = max(rest.rfind(mark, end // 3, end) for mark in " ,:;/_-") + 1
            lines.append(rest[: mark or end].rstrip())
            rest = rest[mark or end :].lstrip()
        return [*lines, rest] if rest or not lines else lines

    def _wide(self, text: str, bold: bool) -> float:
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import TextToPath

        font = FontProperties(size=self.size, weight="bold" if bold else "normal")
        return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] * DPI / 72
