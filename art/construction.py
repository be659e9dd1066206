"""Strategies built from their specs: ``make("art:tau=1", tasks)``."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence

from torchjd.aggregation import Aggregator
from torchjd.scalarization import Scalarizer

from art.adapters import AggregatorStrategy, ScalarizerStrategy
from art.ranges import Parameter
from art.registry import defaults
from art.specs import INNER, is_wrapper, load, parse, reason
from art.strategy import Strategy


def make(spec: str, tasks: Sequence[str]) -> Strategy:
    """Build the strategy that ``spec`` names for these tasks, ready for a training loop.

    Args:
        spec: ``name``, ``name:param=value:...`` or ``package.module:Class:param=value``.
        tasks: names of the K tasks, in the order of the loss vector.

    Raises:
        ValueError: for an unknown name or parameter, a class that cannot be imported, or parameters it refuses. Naming
            a class of your own imports its module, and so runs the code in it.
    """
    name, parameters = parse(spec)
    method = load(spec)
    inner = {INNER: make(str(parameters[INNER]), tasks)} if is_wrapper(name) else {}
    try:
        return wrap(method, tasks, defaults(name) | parameters | inner)
    except (Exception, SystemExit) as error:  # an import that fails here is a solver's, with advice
        raise ValueError(f"strategy {spec!r}: {reason(error)}") from error


def wrap(method: object, tasks: Sequence[str], parameters: Mapping[str, Parameter | Strategy]) -> Strategy:
    """An instance of the class ``method`` as a strategy.

    ``method`` is a :class:`Strategy` (built with the task names), a TorchJD ``Scalarizer`` or a TorchJD ``Aggregator``.
    Of these two, a parameter called ``tasks``, ``shape`` or ``n_tasks`` gets the number of tasks K, and one called
    ``task_names`` their names.

    Raises:
        TypeError: if ``method`` is none of these, or does not take these parameters.
        ValueError: for a parameter's value that its annotation or the class refuses.
        ImportError: if it needs a package that is not installed.
    """
    if not isinstance(method, type) or not issubclass(method, Strategy | Scalarizer | Aggregator):
        raise TypeError(f"{method!r} is neither an art.Strategy nor a torchjd Scalarizer or Aggregator.")
    _check_words(method, parameters)
    if issubclass(method, Strategy):
        return method(tasks, **parameters)
    available = {"tasks": len(tasks), "shape": len(tasks), "n_tasks": len(tasks), "task_names": tuple(tasks)}
    accepted = inspect.signature(method).parameters
    built = method(**{key: value for key, value in available.items() if key in accepted}, **parameters)
    return ScalarizerStrategy(tasks, built) if isinstance(built, Scalarizer) else AggregatorStrategy(tasks, built)


def _check_words(method: type, parameters: Mapping[str, object]) -> None:
    """Refuse a value that is not among the literals of its parameter's annotation: some classes only look at it when it
    is used."""
    try:
        hints = typing.get_type_hints(method.__init__)
    except Exception:  # annotations of a user's class may name what does not exist
        return
    for key, value in parameters.items():
        if typing.get_origin(hints.get(key)) is typing.Literal and value not in typing.get_args(hints[key]):
            raise ValueError(f"{key} is one of {', '.join(map(str, typing.get_args(hints[key])))}, not {value!r}.")
