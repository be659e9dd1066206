"""Strategies as they are typed: ``art``, ``art:tau=1``, ``package.module:Class:param=value``."""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import re
import reprlib
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from art.ranges import Parameter
from art.registry import KNOWN, Entry, defaults, entries, nearest, weights_only
from art.task_weights import sayable, scaled, weights_of

_LONGEST = 1000  # characters of a spec
INNER = "of"  # parameter of a strategy that wraps another: its spec, with all that follows


def parse(spec: str) -> tuple[str, dict[str, Parameter]]:
    """Split a spec into the strategy's name (or ``package.module:Class``) and its parameters.

    ``art:released`` is short for ``art:released=true``. Whether tasks have the names that ``fixed`` weighs, only
    :func:`check` says. In ``crmogm:alpha=0.5:of=art:tau=1``, all behind ``of=`` is another strategy, in its
    canonical spelling.

    Raises:
        ValueError: for an unknown name or parameter or a malformed spec, naming the nearest known one.
    """
    if several_lines(spec) or len(spec) > _LONGEST:
        raise ValueError(
            f"strategy {reprlib.repr(spec)}: expected one line of at most {_LONGEST} printable characters."
        )
    head, *rest = spec.split(":")
    mistyped = "." not in head and difflib.get_close_matches(head[:100], list(entries()), n=1)
    if head not in entries() and rest and "=" not in rest[0] and not mistyped:
        head, rest = f"{head}:{rest[0]}", rest[1:]
    if head not in entries() and not _is_class(head):
        known = sorted(entries())
        raise ValueError(
            f"unknown strategy {head!r}{nearest(head, known)} Known: {', '.join(known)}; or package.module:Class."
        )
    rest, inner = _inner(spec, head, rest) if is_wrapper(head) else (rest, {})
    parameters: dict[str, Parameter] = {}
    for part in rest:
        key, separator, text = part.partition("=")
        if not (key if weighs_tasks(head) else re.fullmatch(r"[A-Za-z_]\w*", key)) or (separator and not text):
            raise ValueError(f"strategy {spec!r}: expected parameter=value, found {part!r}.")
        if key in parameters:
            raise ValueError(f"strategy {spec!r}: {key} is given twice.")
        parameters[key] = _value(spec, text) if separator else True
    if head in KNOWN:
        parameters = _written_out(spec, head, parameters)
        parameters = {key: _checked(spec, head, key, value) for key, value in parameters.items()}
    return head, parameters | inner


def is_wrapper(name: str) -> bool:
    """Whether this strategy changes what another does."""
    return name in entries() and entries()[name].wraps


def _inner(spec: str, name: str, parts: Sequence[str]) -> tuple[list[str], dict[str, Parameter]]:
    """The parts of a wrapper's spec before the strategy it wraps, and that one as a parameter.

    Raises:
        ValueError: if there is none, or one whose weights are constant, or what is wrong with it.
    """
    first = next((place for place, part in enumerate(parts) if part.startswith(f"{INNER}=")), None)
    if first is None:
        raise ValueError(
            f"strategy {spec!r}: {name} needs another strategy, last and with its own parameters: "
            f"{name}:{INNER}=art, {name}:{INNER}=art:tau=1."
        )
    text = ":".join(parts[first:]).removeprefix(f"{INNER}=")
    try:
        inner, _ = parse(text)
        text = canonical(text)
    except ValueError as error:
        raise ValueError(f"strategy {spec!r}: {error}") from None
    known = entries().get(inner)
    if known and (weights_only(inner) or known.apart or known.wraps):
        raise ValueError(f"strategy {spec!r}: {inner} has no weights of its own that {name} could change.")
    return list(parts[:first]), {INNER: text}


def _written_out(spec: str, name: str, given: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The parameters with what :attr:`Entry.short` has words for written out.

    Raises:
        ValueError: for another word, or a parameter that is given beside its word.
    """
    parameters: dict[str, Parameter] = {}
    for key, value in given.items():
        words = KNOWN[name].short.get(key)
        if words and value not in words:
            raise ValueError(f"strategy {spec!r}: {key} is one of {', '.join(words)}, not {value!r}.")
        for meant, number in words[str(value)].items() if words else [(key, value)]:
            if meant in parameters or (words and meant in given):
                raise ValueError(f"strategy {spec!r}: {key}={value} means {meant}={number}, which is given too.")
            parameters[meant] = number
    return parameters


def weighs_tasks(name: str) -> bool:
    """Whether the parameters of this strategy are named after the tasks."""
    return name in entries() and entries()[name].of_tasks is not None


def several_lines(text: str) -> bool:
    """Whether a text holds line breaks, other control characters, or what no encoding can write."""
    return any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def _is_class(head: str) -> bool:
    """Whether this has the form ``package.module:Class``."""
    module, _, name = head.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), name))


def _checked(spec: str, name: str, key: str, value: Parameter) -> Parameter:
    """A parameter of one of this project's names, of the same kind as its default.

    Raises:
        ValueError: for an unknown one, or a value of another kind.
    """
    known = defaults(name)
    if key not in known and weighs_tasks(name):
        known = {key: 1.0}
    if key not in known:
        raise ValueError(
            f"strategy {name!r} has no parameter {key!r}{nearest(key, known)} It has: {', '.join(known) or 'none'}."
        )
    default, number = known[key], value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if isinstance(default, bool):
        kind, fits = "true or false", isinstance(value, int)  # or a task's number
    elif isinstance(default, int):
        kind, fits = "a whole number", number == number // 1
        value = int(number) if fits else value
    elif isinstance(default, float):
        kind, fits = "a finite number", abs(number) <= sys.float_info.max
    else:
        kind, fits = "a word", isinstance(value, str)
    if not fits:
        raise ValueError(f"strategy {spec!r}: {key} takes {kind}, not {reprlib.repr(value)}.")
    return value


def check(spec: str, tasks: Sequence[str]) -> None:
    """Say what of a spec can be known to be wrong without building the strategy, for these tasks.

    Raises:
        ValueError: as :func:`parse`; for ``fixed``, with all that is wrong with its weights.
    """
    name, parameters = parse(spec)
    if weighs_tasks(name):
        _weights(spec, parameters, tasks)
    if is_wrapper(name):
        check(str(parameters[INNER]), tasks)


def known(spec: str) -> Entry | None:
    """What the registry knows of a strategy, of a wrapper with the other's cost, solver and epochs; ``None`` of a class
    by its path.

    Raises:
        ValueError: as :func:`parse`.
    """
    name, parameters = parse(spec)
    entry = entries().get(name)
    if entry is None or not entry.wraps:
        return entry
    inner = known(str(parameters[INNER]))
    return inner and replace(entry, cost=inner.cost, solver=inner.solver, epochs=inner.epochs)


def canonical(spec: str, tasks: Sequence[str] | None = None) -> str:
    """The one spelling of a spec: parameters sorted, those at their default left out (``art:tau=0.1`` is ``art``).

    Defaults of one's own class are those of its constructor's signature; to see them its module is imported.

    Args:
        spec: as typed.
        tasks: names of the K tasks. With them, weights of tasks have one spelling too: they are divided by the most
            frequent one (of several, the smallest) and have 6 digits; if those of ``fixed`` are all equal it is
            ``equal``, whose updates are the same bit for bit.

    Raises:
        ValueError: as :func:`check`; for a task whose name no spec can hold.
    """
    name, parameters = parse(spec)
    if tasks is None or not (weighs_tasks(name) or is_wrapper(name)):
        return spelt(name, parameters)
    own = {key: value for key, value in parameters.items() if key in defaults(name)}
    if is_wrapper(name):
        return spelt(name, own | {INNER: canonical(str(parameters[INNER]), tasks)})
    weights = {task: weight for task, weight in scaled(_weights(spec, parameters, tasks)).items() if weight != 1}
    if wrong := [task for task in weights if not sayable(task) or task in defaults(name)]:
        raise ValueError(f"strategy {spec!r}: no spec can name the task {wrong[0]!r}; rename it in the setting.")
    return spelt(name, own | weights) if weights or not weights_only(name) else "equal"


def spelt(name: str, parameters: Mapping[str, Parameter]) -> str:
    """The spec with this name and these parameters, sorted and without those at their default."""
    known = _settled(name) if parameters else {}
    ordered = sorted(parameters, key=lambda key: (is_wrapper(name) and key == INNER, key))
    changed = {key: parameters[key] for key in ordered if key not in known or not _same(known[key], parameters[key])}
    return ":".join([name, *(key if value is True else f"{key}={_text(value)}" for key, value in changed.items())])


def parameters(spec: str) -> dict[str, Parameter]:
    """All parameters of a strategy that have a value: those given, and the others at their defaults.

    Raises:
        ValueError: as :func:`parse`.
    """
    name, given = parse(spec)
    return _settled(name) | given


def _settled(name: str) -> dict[str, Parameter]:
    """The parameters at their defaults; of one's own class by its signature, if it can be imported: a run whose class
    cannot is refused elsewhere."""
    if name in KNOWN:
        return defaults(name)
    try:
        return of_signature(load(name))
    except ValueError:
        return {}


def of_signature(method: object) -> dict[str, Parameter]:
    """Defaults of the constructor's parameters that have one which a spec can say."""
    try:
        accepted = inspect.signature(method).parameters if callable(method) else {}
    except ValueError:  # a class without a signature
        return {}
    return {key: value.default for key, value in accepted.items() if isinstance(value.default, Parameter)}


def _same(default: Parameter, value: Parameter) -> bool:
    """Whether a value is the default: 1 is 1.0, but neither is true."""
    return isinstance(default, bool) == isinstance(value, bool) and default == value


def _weights(spec: str, parameters: Mapping[str, Parameter], tasks: Sequence[str]) -> dict[str, float]:
    name, _ = parse(spec)
    given = {task: weight for task, weight in parameters.items() if task not in defaults(name)}
    if not given and not weights_only(name):
        return dict.fromkeys(tasks, 1.0)
    try:
        return weights_of(given, tasks)
    except ValueError as error:
        raise ValueError(f"strategy {spec!r}: {error}") from None


def load(spec: str) -> object:
    """What the target of a spec names, a class as a rule; imports its module, and so runs the code in it.

    Raises:
        ValueError: if it cannot be imported.
    """
    name, _ = parse(spec)
    target = entries()[name].target if name in entries() else name
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise ValueError(f"strategy {spec!r}: cannot import {target!r} ({reason(error, module)}).") from error


def reason(error: BaseException, module: str = "") -> str:
    """An error in words: its own where they are meant for people, else with its type.

    Where the package of the ``module`` that was to be imported is not found, with what to do.
    """
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return f"{error}; call the command in the folder that it lies in, or name that in PYTHONPATH"
    usual = isinstance(error, ImportError | AttributeError | TypeError | ValueError) and str(error)
    return str(error) if usual else f"{type(error).__name__}: {error}".rstrip(": ")


def definition(spec: str) -> int:
    """Which definition of its strategy a spec has today (:attr:`Entry.definition`); 1 for a class by its path. That
    of a wrapper rises with that of the strategy it wraps."""
    name, parameters = parse(spec)
    own = entries()[name].definition if name in entries() else 1
    return own + definition(str(parameters[INNER])) - 1 if is_wrapper(name) else own


def _value(spec: str, text: str) -> Parameter:
    """The truth value, number or text that a parameter is; numbers keep all their digits.

    Raises:
        ValueError: for a number that a float cannot hold, such as 1e999.
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if value in (math.inf, -math.inf) and any(letter.isdigit() for letter in text):
            break
        return value
    else:
        return text
    raise ValueError(f"strategy {reprlib.repr(spec)}: {reprlib.repr(text)} is too large a number.")


def _text(value: Parameter) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return "0" if not value else short if float(short) == value else repr(value)
    return str(value)
