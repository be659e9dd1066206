"""Text from outside, made harmless for terminals and for spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from typing import TypeVar

T = TypeVar("T")

_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""They change the order in which the characters around them are shown."""

_FORMULA = re.compile("(^|;)(\\s*)(?=[=+@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH COMMERCIAL AT}"
                      "\N{FULLWIDTH HYPHEN-MINUS}\N{MINUS SIGN}-])")  # fmt: skip


def visible(text: object, lines: bool = False) -> str:
    r"""``text`` with control characters, escape sequences, half characters and changes of direction shown as ``\x1b``.

    Whatever is printed of names, reasons and answers that come from outside passes through this, so that it can
    neither colour nor move nor rename anything in a terminal.

    Args:
        text: anything that ``str`` takes.
        lines: leave line ends as they are; otherwise they are shown too.
    """
    return "".join(character if _harmless(character, lines) else _shown(character) for character in str(text))


def _harmless(character: str, lines: bool) -> bool:
    if character.isprintable() or (lines and character == "\n"):
        return True
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and character not in _DIRECTIONS


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def spreadsheet(value: T) -> T | str:
    """A table's cell as a spreadsheet shows it and does not compute it; numbers and everything else but text as it is.

    A text that begins like a formula (``= + - @``, also in their wide forms, behind blanks, or behind a ``;`` that some
    countries' spreadsheets take for the next cell) gets an apostrophe before that character.
    """
    if not isinstance(value, str):
        return value
    return _FORMULA.sub(r"\1\2'", visible(value))
