"""Mistakes of a user, in words."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from results.visible import visible


class UserError(Exception):
    """Something the user can correct; commands print it without a traceback and exit with code 2.

    Args:
        message: one sentence: what is wrong and what to do.
        problems: where several things are wrong, each by name.
    """

    def __init__(self, message: str, problems: Iterable[str] = ()):
        self.problems = [visible(problem, lines=True) for problem in problems]  # with names that others gave
        super().__init__("\n  - ".join([visible(message, lines=True), *self.problems]))


def tell_notes(notes: Iterable[str]) -> None:
    """Print what people should know and need not correct."""
    for note in notes:
        print(f"note: {note}", flush=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: ``; did you mean 'x'?``, or a full stop where nothing is close."""
    close = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Say that a word is not among the known ones, which are listed, and name the nearest."""
    known = list(known)
    return f"unknown {kind} {quoted(word)}{nearest(word, known)} Known: {', '.join(known) or 'none'}."


def mistakes(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Every mistake that validation by ``model`` found, as ``key.of.the.field: what is wrong``."""
    lines = []
    for mistake in error.errors():
        place, kind = mistake["loc"], mistake["type"]
        if kind == "extra_forbidden":
            problem = f"unknown key{nearest(str(place[-1]), _fields(model, place[:-1]))}"
        elif kind == "missing":
            problem = "missing"
        else:
            problem = mistake["msg"].removeprefix("Value error, ")
            problem += f" (got {quoted(mistake['input'])})" if place and kind != "value_error" else ""
        lines.append(f"{'.'.join(map(str, place)) or 'together'}: {problem}")
    return lines


def _fields(model: type[BaseModel], place: Iterable[int | str]) -> Iterable[str]:
    """Names of the fields of the model that stands at ``place`` below ``model``."""
    kind: Any = model
    for part in place:
        fields = getattr(kind, "model_fields", {})
        kind = fields[part].annotation if part in fields else get_args(kind)[-1 if isinstance(part, str) else 0]
    return getattr(kind, "model_fields", ())


def quoted(value: object) -> str:
    """A value from outside for a message: its ``repr`` on one line, the middle left out where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python prints no number of more than 4,300 digits
        return f"a very long {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
