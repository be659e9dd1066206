"""Lines at the bottom of a terminal that are redrawn in place, without colours.

The cursor rests on an empty line above them. So what another process prints lands on that line and stays. And where a
terminal wraps its lines again because the window became narrower, everything to be cleared is below the cursor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from results.command import has_cursor

_CLEAR_LINE, _CLEAR_BELOW, _UP = "\r\x1b[K", "\r\x1b[J", "\x1b[{}A"


class LiveLines:
    """While entered, keeps its lines below whatever this process prints.

    Args:
        stream: of the terminal.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.active = False
        self._lock = threading.RLock()
        self._replaced: dict[str, TextIO] = {}

    def __enter__(self) -> LiveLines:
        if os.name == "nt":
            subprocess.run("", shell=True)  # makes its console understand escape sequences
        self.active = True
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if has_cursor(stream):
                self._replaced[name] = stream
                setattr(sys, name, _Above(self, stream))
        return self

    def __exit__(self, *_: object) -> None:
        for name, stream in self._replaced.items():
            getattr(sys, name).end()
            setattr(sys, name, stream)
        with self._lock:
            self._send(_CLEAR_BELOW)
            self.active = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines that may be filled; one column stays free, as a full line moves the cursor on."""
        with suppress(OSError, ValueError):
            columns, lines = os.get_terminal_size(self.stream.fileno())
            if columns and lines:
                return max(columns - 1, 10), max(lines - 2, 1)
        return 79, 22

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the lines; each must fit into :attr:`size`."""
        if not self.active:
            return
        drawn = "".join(f"\n{_CLEAR_LINE}{line}" for line in lines)
        with self._lock:
            self._send(f"{_CLEAR_LINE}{drawn}\x1b[J{_UP.format(len(lines))}\r")

    def above(self, text: str, stream: TextIO | None = None) -> None:
        """Print whole lines above the others; they stay."""
        with self._lock:
            self._send(_CLEAR_BELOW)
            (stream or self.stream).write(text)
            (stream or self.stream).flush()

    def _send(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class _Above:
    """A stream of this process while lines are shown: what it prints goes above them, line by line."""

    def __init__(self, lines: LiveLines, stream: TextIO):
        self._lines, self._stream, self._rest = lines, stream, ""

    def write(self, text: str) -> int:
        if not self._lines.active:
            return self._stream.write(text)
        whole, found, self._rest = (self._rest + text).rpartition("\n")
        if found:
            self._lines.above(whole + found, self._stream)
        self._rest = self._rest.rpartition("\r")[2]  # of a bar only what it shows last
        return len(text)

    def end(self) -> None:
        """Print what has no end of line yet."""
        rest, self._rest = self._rest.strip(), ""
        if rest:
            self._lines.above(rest + "\n", self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def share_terminal() -> None:
    """In a worker process of a command that shows :class:`LiveLines`: print above them."""
    if has_cursor(sys.stderr):
        lines = LiveLines(sys.stderr)
        lines.active = True
        sys.stderr = _Above(lines, sys.stderr)


def clipped(text: str, width: int, ellipsis: str = "…") -> str:
    """At most ``width`` characters; of longer texts the middle is left out, as their ends tell them apart."""
    if len(text) <= width:
        return text
    length = max(width - len(ellipsis), 0)
    return text[: length - length // 2] + ellipsis + text[len(text) - length // 2 :]


def folded(text: str, width: int, indent: int = 4) -> str:
    """A sentence in lines of at most that width; all but the first are indented."""
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False)
