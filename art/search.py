"""What may be searched of a strategy: its parameters, each with a range, and the spec of a trial."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TypeVar

from art.ranges import Choice, Parameter, Range, declared, listed
from art.registry import KNOWN, defaults
from art.specs import INNER, canonical, is_wrapper, load, of_signature, parse, spelt
from art.task_weights import weights_of

Space = dict[str, Range | Choice]
Value = TypeVar("Value")


def search_space(spec: str, tasks: Sequence[str]) -> Space:
    """The parameters of a strategy that may be searched, with their ranges.

    A strategy of this project declares them in its registry entry; one's own class, in an attribute ``search``: a
    dictionary from a parameter of its constructor to ``(low, high)``, ``(low, high, "log")`` (equal factors are equal
    steps), ``(low, high, "whole")``, a list of values to choose from, or an :class:`art.Range` or :class:`art.Choice`.
    ``fixed`` has one range a task, though a common factor of its weights changes nothing. Of a wrapper, parameters of
    the strategy it wraps are searched too, as ``of.tau``.

    Args:
        spec: what it fixes is not searched: of ``art:tau=1``, only ``momentum`` is.
        tasks: names of the K tasks.

    Returns:
        Ranges by parameter; empty where nothing is declared, or for the weights of a single task.

    Raises:
        ValueError: for a spec that cannot be, a class that cannot be imported, or a declaration that cannot be read,
            naming class and parameter.
    """
    name, given = parse(spec)
    space = _declared(spec, name, given, tasks)
    inner = search_space(str(given[INNER]), tasks) if is_wrapper(name) else {}
    return {key: values for key, values in space.items() if key not in given} | _prefixed(inner)


def _prefixed(inner: Mapping[str, Value]) -> dict[str, Value]:
    return {f"{INNER}.{key}": value for key, value in inner.items()}


def start(spec: str, tasks: Sequence[str]) -> dict[str, Parameter]:
    """Where a search begins: the default of every parameter in :func:`search_space`; 1 for each weight of ``fixed``,
    which makes it ``equal``; the middle of the range for a parameter of one's own class without a default.

    Raises:
        ValueError: as :func:`search_space`.
    """
    name, given = parse(spec)
    space = search_space(spec, tasks)
    if is_wrapper(name):
        own = {key: value for key, value in defaults(name).items() if key in space}
        return own | _prefixed(start(str(given[INNER]), tasks))
    if name not in KNOWN:
        known = of_signature(load(spec)) if space else {}
        return {key: known.get(key, values.at(0.5)) for key, values in space.items()}
    return {key: defaults(name).get(key, 1.0) for key in space}


def with_parameters(spec: str, values: Mapping[str, Parameter], tasks: Sequence[str]) -> str:
    """The canonical spec with values for parameters of its :func:`search_space`; the others stay as they are.

    Raises:
        ValueError: for a parameter that is not searched or a value out of its range, and as :func:`search_space`.
    """
    name, given = parse(spec)
    space = search_space(spec, tasks)
    for key, value in values.items():
        if key not in space:
            raise ValueError(f"strategy {spec!r}: {key!r} is not searched; these are: {listed(space)}.")
        if not space[key].holds(value):
            raise ValueError(f"strategy {spec!r}: {key}={value!r} is not in {space[key]}.")
    if is_wrapper(name):
        prefix = f"{INNER}."
        inner = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
        values = {key: value for key, value in values.items() if not key.startswith(prefix)}
        given[INNER] = with_parameters(str(given[INNER]), inner, tasks)
    return canonical(spelt(name, {**given, **values}), tasks)


def _declared(spec: str, name: str, given: Mapping[str, Parameter], tasks: Sequence[str]) -> Space:
    if name not in KNOWN:
        return _of_class(load(spec))
    space = dict(KNOWN[name].search)
    if (each := KNOWN[name].of_tasks) is None:
        return space
    if weights := {task: weight for task, weight in given.items() if task not in defaults(name)}:
        try:
            weights_of(weights, tasks)
        except ValueError as error:
            raise ValueError(f"strategy {spec!r}: {error}") from None
    return dict.fromkeys(tasks, each) | space if len(tasks) > 1 else space


def _of_class(method: object) -> Space:
    """The search space that one's own class declares."""
    called = f"{getattr(method, '__module__', '')}.{getattr(method, '__qualname__', method)}"
    search: object = getattr(method, "search", {})
    if not isinstance(search, Mapping):
        raise ValueError(f"{called}.search must be a dictionary from parameters to ranges; it is {search!r}.")
    try:
        accepted = inspect.signature(method).parameters if callable(method) else {}
    except ValueError:  # a class without a signature
        accepted = {}
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    known, space = of_signature(method), Space()
    for key, value in search.items():
        try:
            if key not in accepted and not anything:
                raise ValueError("its constructor has no such parameter.")
            space[key] = declared(value)
            if key in known and not space[key].holds(known[key]):
                raise ValueError(f"its default {known[key]!r} is not in {space[key]}.")
        except ValueError as error:
            raise ValueError(f"{called}.search, {key!r}: {error}") from None
    return space
