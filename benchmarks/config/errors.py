"""Mistakes of a user, told in words."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

from results.visible import visible


class UserError(Exception):
    """Something the user can mend; commands print it without a traceback and exit with code 2.

    Args:
        message: one sentence: what is wrong and what to do.
        problems: where several things are wrong, each by name.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()):
        self.problems = [visible(problem, lines=True) for problem in problems]  # with names that others gave
        super().__init__("\n  - ".join([visible(message, lines=True), *self.problems]))


def tell_notes(notes: Iterable[str]) -> None:
    """Print what people should know and need not mend."""
    for note in notes:
        print(f"note: {note}", flush=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or a full stop."""
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def quoted(value: object) -> str:
    """A value from outside for a message: its ``repr`` on one line, the middle left out where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python prints no number of more than 4,300 digits
        return f"a very long {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
