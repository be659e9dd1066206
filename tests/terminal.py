"""A command in a terminal of its own, which notes what it is shown and draws it as a terminal would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 90  # seconds; generous, as machines may be loaded


class Terminal:
    """Runs ``python ARGUMENTS`` as the leader of a pseudo-terminal's foreground group; ``text`` is what came so far."""

    def __init__(self, *arguments: object, columns: int = 80, lines: int = 24, **environment: str):
        self.main, side = pty.openpty()
        self.columns, self.lines = columns, lines
        self._size()
        self.started, self.text, self.first = time.monotonic(), "", None
        self.resized: list[tuple[int, int]] = []  # where in the text, and to how many columns
        names = {
            "TERM": "xterm-256color",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
            "PYTHONUTF8": "1",
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdin=side, stdout=side, stderr=side, cwd=ROOT,
            env=os.environ | names, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(side)
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _size(self) -> None:
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

    def _read(self) -> None:
        data = b""
        try:
            while not self._closed:
                if not select.select([self.main], [], [], 0.1)[0]:
                    continue
                if not (part := os.read(self.main, 65536)):
                    break
                data += part
                self.text = data.decode("utf-8", "replace")
                self.first = self.first or time.monotonic() - self.started
        except OSError:  # the last process that had it open has ended
            pass
        os.close(self.main)

    def type(self, keys: str) -> None:
        with suppress(OSError):  # it has ended
            os.write(self.main, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.resized.append((len(self.text), columns))
        self._size()  # the kernel sends SIGWINCH

    def hang_up(self) -> None:
        """Close the window."""
        self._closed = True
        self._reader.join()

    def until(self, pattern: str, start: int = 0) -> int:
        """Wait for a pattern in what came after ``start``; returns where it ends."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text[start:])):
            assert time.monotonic() < deadline and (self.process.poll() is None or self._reader.is_alive()), self.text
            time.sleep(0.02)
        return start + found.end()

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=5)
        return code


def screen(text: str, columns: int, resized: Sequence[tuple[int, int]] = ()) -> list[str]:
    """All lines that a terminal of that width holds after ``text``, also those that were scrolled away; where its width
    changes on the way it breaks its lines anew."""
    rows, row, column, changes = [""], 0, 0, list(resized)
    for found in re.finditer(r"\x1b\[[\d;?]*[A-Za-z]|.", text, re.DOTALL):
        part = found[0]
        while changes and found.start() >= changes[0][0]:
            columns = changes.pop(0)[1]
            broken = [[line[k : k + columns] for k in range(0, max(len(line), 1), columns)] for line in rows]
            row = sum(map(len, broken[:row])) + column // columns
            rows, column = [piece for line in broken for piece in line], column % columns
        if part[0] == "\x1b":
            count, kind = int(re.search(r"\d*", part[2:])[0] or 0), part[-1]
            if kind == "A":
                row = max(row - max(count, 1), 0)
            elif kind in "KJ":
                assert count == 0, part
                rows[row] = rows[row][:column]
                del rows[row + 1 : len(rows) if kind == "J" else row + 1]
            else:
                raise AssertionError(f"{part!r}: not a movement that every terminal knows, or a colour")
        elif part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part not in "\x07":
            if column == columns:
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            rows[row] = f"{rows[row][:column]:{column}}{part}{rows[row][column + 1 :]}"
            column += 1
    return [line.rstrip() for line in rows]
