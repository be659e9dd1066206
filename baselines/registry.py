"""Baselines by name: ``nafnet``, a name of the entry-point group ``baselines.networks``, ``package.module:Class``."""

from __future__ import annotations

import importlib
import importlib.util
import reprlib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue

from baselines.description import Description, Recipe, nearest, validated

if TYPE_CHECKING:
    from baselines.network import Network

_FOLDER = Path(__file__).parent
_Value = TypeVar("_Value")


def names() -> list[str]:
    """Names of this project's baselines and of those that installed packages add, sorted."""
    return sorted({*_inside(), *plugins()})


@cache
def plugins() -> dict[str, EntryPoint]:
    """What installed packages add by the entry-point group ``baselines.networks``, by name."""
    found = {point.name: point for point in entry_points(group="baselines.networks")}
    return {name: point for name, point in found.items() if name not in _inside()}


def describe(name: str) -> Description:
    """What is written about a baseline.

    Args:
        name: one of :func:`names`, or ``package.module:Class``. Its description is ``package/module.toml`` beside the
            module, or else a mapping of the same form in the class's attribute ``description``.

    Raises:
        ValueError: for an unknown name, naming the nearest known one, a module that is not there, and a description
            that is lacking or has mistakes.
    """
    return _described(name)[1]


def recipe(name: str, profile: str) -> Recipe:
    """How a baseline is trained under a profile, ``paper`` or ``demo``; a copy.

    Raises:
        ValueError: for an unknown baseline, or a profile that it has no recipe for.
    """
    return _chosen(name, "recipe", profile, describe(name).recipe).copy()


def arguments(name: str, size: str) -> dict[str, JsonValue]:
    """What a baseline's class is built with in a size, ``paper`` or ``tiny``; a copy.

    Raises:
        ValueError: for an unknown baseline, or a size that it lacks.
    """
    return _chosen(name, "size", size, describe(name).sizes).copy()


def build(name: str, size: str = "paper", **overrides: Any) -> Network:
    """A baseline's network, freshly initialised from torch's global generator.

    Args:
        name: as :func:`describe` takes it. Naming a class of your own imports its module, and so runs the code in it.
        size: ``paper`` (as published) or ``tiny`` (same structure, small widths).
        overrides: constructor arguments in place of the size's own.

    Raises:
        ValueError: as :func:`describe`; for a size that the baseline lacks, a class that cannot be imported or is no
            :class:`baselines.network.Network`, and arguments that it refuses.
    """
    chosen: dict[str, Any] = arguments(name, size) | overrides
    network = _imported(name, _described(name)[0])
    try:
        return network(**chosen)
    except (TypeError, ValueError) as error:
        raise ValueError(f"baseline {name!r}, size {size}: {error}") from error


@cache
def _inside() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def _described(name: str) -> tuple[str, Description]:
    """Where the class is, as ``module:Class``, and its description."""
    if name in _inside():
        path = _FOLDER / f"{name}.toml"
        description = validated(_toml(path), path.name)
        module, _, class_name = description.class_name.rpartition(":")
        return f"baselines.{module or name}:{class_name}", description
    target = plugins()[name].value if name in plugins() else name
    module, colon, class_name = target.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), class_name)):
        known = ", ".join(names())
        shown = reprlib.repr(name)
        raise ValueError(f"unknown baseline {shown}{nearest(name, names())} Known: {known}; or package.module:Class.")
    path = _beside(name, module)
    if path.is_file():
        content = _toml(path)
        if content.get("class", class_name) == class_name:
            return target, validated(content, str(path))
    content = getattr(_imported(name, target), "description", None)
    if content is None:
        raise ValueError(
            f"baseline {name!r} has no recipe: neither {path} nor an attribute `description` of the class."
        )
    return target, validated(content, f"the description of {name}")


def _beside(name: str, module: str) -> Path:
    """The path of the TOML file beside a module, found without importing the module itself."""
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # the package around it is imported and may raise anything
        raise ValueError(f"baseline {name!r}: cannot import {module!r} ({_reason(error, module)}).") from error
    if spec is None or spec.origin is None:
        raise ValueError(f"baseline {name!r}: there is no module {module!r}.")
    return Path(spec.origin).with_suffix(".toml")


def _imported(name: str, target: str) -> type[Network]:
    from baselines.network import Network  # imports torch

    module, _, class_name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), class_name)
    except (Exception, SystemExit) as error:  # a module of one's own may raise anything
        raise ValueError(f"baseline {name!r}: cannot import {target!r} ({_reason(error, module)}).") from error
    if not isinstance(found, type) or not issubclass(found, Network):
        raise ValueError(f"baseline {name!r}: {target} is no class derived from baselines.network.Network.")
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # tomllib's and Unicode's errors are ValueErrors
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _chosen(name: str, kind: str, wanted: str, known: Mapping[Any, _Value]) -> _Value:
    if wanted not in known:
        there = ", ".join(sorted(known))
        raise ValueError(f"baseline {name!r} has no {kind} {wanted!r}{nearest(wanted, known)} It has: {there}.")
    return known[wanted]


def _reason(error: BaseException, module: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return f"{error}; call the command in the folder that it lies in, or name that in PYTHONPATH"
    return str(error) if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
