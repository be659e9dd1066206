"""Mistakes of a user, told in words."""

from __future__ import annotations

import difflib
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


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or a full stop."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
