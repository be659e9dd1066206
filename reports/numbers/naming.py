"""Names that a user gives to strategies: ``--label mypkg.opt:Temp=Ours``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from results.records import SINGLE

RESERVED = frozenset({"mix", "equal", "fixed", SINGLE})
"""Strategies that reports know by their names: references and controls."""

MARKS = ":=()"
"""Characters that tell parameters and terms of a strategy, which no label may hold."""


def parse(texts: Sequence[str]) -> dict[str, str]:
    """Labels by the spec they stand for.

    Raises:
        ValueError: for what is no ``SPEC=NAME``, a name that cannot be one, and anything that is given twice.
    """
    labels: dict[str, str] = {}
    for text in texts:
        spec, _, name = text.rpartition("=")
        spec, name = spec.strip(), name.strip()
        if not (spec and name) or not name.isprintable():
            raise ValueError(f"--label {text!r}: expected SPEC=NAME, for example mypkg.opt:Mine=Ours.")
        if set(name) & set(MARKS):
            raise ValueError(f"--label {text!r}: a name without any of {' '.join(MARKS)} is needed.")
        if spec in RESERVED or name in RESERVED:
            raise ValueError(f"--label {text!r}: {', '.join(sorted(RESERVED))} keep their names, and are no label.")
        if spec in labels or name in labels.values():
            raise ValueError(f"--label {text!r}: {spec if spec in labels else name} is given twice.")
        labels[spec] = name
    return labels


def named(spec: str, labels: Mapping[str, str]) -> str:
    """The strategy under its label, with the parameters that the label does not stand for: ``Ours:tau=1``."""
    fitting = [known for known in labels if spec == known or spec.startswith(f"{known}:")]
    longest = max(fitting, key=len, default="")
    return labels[longest] + spec[len(longest) :] if longest else spec


def check(labels: Mapping[str, str], specs: Iterable[str]) -> None:
    """Whether labels stand for strategies that there are, and make no two of them one.

    Raises:
        ValueError: if not.
    """
    known = sorted(set(specs))
    unused = [spec for spec in labels if not any(one == spec or one.startswith(f"{spec}:") for one in known)]
    if unused:
        raise ValueError(f"--label {unused[0]}: no run has that strategy; there are: {', '.join(known) or 'none'}.")
    shown: dict[str, list[str]] = {}
    for spec in known:
        shown.setdefault(named(spec, labels), []).append(spec)
    for name, several in shown.items():
        if len(several) > 1:
            raise ValueError(
                f"--label: {' and '.join(several)} would all be called {name!r}; give them names of their own."
            )
