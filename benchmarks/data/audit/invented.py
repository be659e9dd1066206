"""Files with invented names in the layouts of a data set: whether it finds what it describes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.config.data_sets import DataSet, Layout
from benchmarks.data import layouts

SAMPLES = 2


def not_found(data_set: DataSet) -> list[str]:
    """Layouts of the set that do not find and pair invented files, with the places of one sample's."""
    problems: list[str] = []
    data_set = data_set.model_copy(update={"root": ""})
    for number, layout in enumerate(data_set.layouts):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            places = [_invent(data_set, layout, root, str(sample)) for sample in range(1, SAMPLES + 1)]
            located = layouts.locate(data_set, root)
            found = len(located.pairs) if located else 0
            if found != SAMPLES:
                problems.append(
                    f"layout {number}: of {SAMPLES} samples such as {' with '.join(places[0])} {found} are found"
                )
    return problems


def _invent(data_set: DataSet, layout: Layout, root: Path, number: str) -> list[str]:
    """Make the empty files of one sample below ``root``, where the layout expects them; returns their places."""
    folder, suffix = (layout.folders or data_set.folders)[0], (layout.suffixes or (".png",))[0]
    part = data_set.parts[data_set.part].input_name if data_set.part else None
    pattern = part or layout.input_name if layout.input else layout.target_name
    name = _name(pattern, number)
    match = re.fullmatch(pattern, name, re.IGNORECASE)
    files = [(layout.target, _name(layout.target_name, number, match["key"] if match else number))]
    files += [(layout.input, name)] if layout.input else []
    places = [f"{folder}/{place.format(part=data_set.part).replace('*', '1')}/{stem}{suffix}" for place, stem in files]
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    return places


def _name(pattern: str, number: str, key: str = "") -> str:
    """A short text that fits a regular expression: digits are ``number``, and its key is ``key`` where one is given."""
    tree = re._parser.parse(pattern, re.IGNORECASE)  # type: ignore[attr-defined]  # noqa: SLF001  # Python's own syntax
    return _text(tree, tree.state.groupdict["key"], number, key)


def _text(tree: Any, group: int, number: str, key: str) -> str:
    """What a parsed expression matches: of alternatives the first, of repetitions the fewest."""
    found = ""
    for operation, value in tree:
        kind = str(operation)
        if kind == "LITERAL":
            found += chr(value)
        elif kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            found += _text(value[2], group, number, key) * value[0]
        elif kind == "SUBPATTERN" and value[0] == group:
            found += key or _text(value[3], group, number, key) or number
        elif kind == "SUBPATTERN":
            found += _text(value[3], group, number, key)
        elif kind == "BRANCH":
            found += _text(value[1][0], group, number, key)
        elif kind == "IN":
            found += _member(value, number)
        elif kind == "ANY":
            found += number
    return found


def _member(alternatives: Any, number: str) -> str:
    """One character of a class such as ``[a-z]``."""
    kind, value = str(alternatives[0][0]), alternatives[0][1]
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[0])
    return "x" if kind == "NEGATE" or "NOT" in str(value) else number
