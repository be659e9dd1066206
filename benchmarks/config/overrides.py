"""``--set key=value``: one line each, read whole or refused.

The rule: an override, like a strategy's spec, ends in a configuration or in one sentence before training; nothing of it
is left out in silence. Of two values for one key the later one counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from art.specs import several_lines
from benchmarks.config.errors import UserError, nearest, quoted


def apply(content: dict[str, Any], override: str, sections: Mapping[str, type[BaseModel]]) -> None:
    """Set ``section.key=value`` in place.

    The value is read as TOML, else as text; what is to be text stays as it is typed unless it stands in quotes. Lists
    may also be given as ``a,b``.

    Raises:
        UserError: for an unknown key, or something that is no ``key=value`` on one line.
    """
    key, separator, text = override.partition("=")
    known = [f"{name}.{field}" for name, model in sections.items() for field in model.model_fields]
    known = [key for key in known if key not in ("data.fingerprint", "train.weights")]  # computed, not chosen
    if several_lines(override):
        raise UserError(f"--set {quoted(override)}: expected one line without control characters.")
    if not separator or not text.strip():
        raise UserError(f"--set {quoted(override)}: expected key=value, for example train.steps=200.")
    if key not in known:
        raise UserError(f"--set {quoted(key)}: no such key{nearest(key, known)} Known: {', '.join(known)}.")
    section, _, field = key.partition(".")
    content[section][field] = _value(text, sections[section].model_fields[field].annotation)


def _value(text: str, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        value = _parsed(text)
        return (
            value if isinstance(value, list) else [_value(part.strip(), get_args(kind)[0]) for part in text.split(",")]
        )
    value = _parsed(text)
    words = kind is str or any(alternative is str or isinstance(alternative, str) for alternative in get_args(kind))
    return text if words and not isinstance(value, str) else value


def _parsed(text: str) -> Any:
    """The TOML value that the whole text is, else the text: what follows a value (a comment) makes it no value."""
    try:
        value, inside = (tomllib.loads(f"value = {form}")["value"] for form in (text, f"[ {text} ]"))
        return value if repr(inside) == repr([value]) else text
    except (ValueError, RecursionError):  # ValueError: no TOML, or a number of thousands of digits
        return text
