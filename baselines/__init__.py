"""The restoration networks that strategies are compared on, their recipes and their published checkpoints.

A baseline is one module with a `Network` and, beside it, a TOML file of the same name: what it is, its sizes, its
recipes and what a step costs. Torch is imported only when a network is built.

    import baselines

    baselines.names()                               # ["adair", "airnet", ...]
    network = baselines.build("transweather")       # published size, freshly initialised
    network.load_published(torch.load("best.pth"))  # the authors' names, with or without wrappers
    network.restore(image)                          # (B, 3, H, W) in [0, 1], any H and W
"""

import copy
import difflib
import functools
import importlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .network import Network

__all__ = ["build", "describe", "names", "recipe"]

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The baselines' names, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def describe(name: str) -> dict[str, Any]:
    """A baseline's TOML file: display name, paper, sizes, recipes, cost.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    _known(name, names(), "baseline")
    return copy.deepcopy(_read(name))


def recipe(name: str, profile: str) -> dict[str, Any]:
    """How a baseline is trained under a profile ("paper" or "demo"): the ``train`` section of a run's configuration,
    where ``epochs`` of a setting's list decide the ``steps`` and ``each``, samples of every task, the ``batch`` (those
    beside them are three_task's), and ``mixing`` is the baseline's own.

    Raises:
        ValueError: for an unknown name or profile, with the nearest known ones.
    """
    recipes = describe(name)["recipe"]
    _known(profile, recipes, f"profile of {name}")
    return recipes[profile]


def build(name: str, size: str = "paper", **overrides: Any) -> "Network":
    """A baseline's network, freshly initialised from torch's global generator.

    Args:
        name: one of `names()`.
        size: "paper" (as published) or "tiny" (same structure, small widths).
        overrides: constructor arguments in place of the size's own.

    Raises:
        ValueError: for an unknown name or size, with the nearest known ones.
    """
    description = describe(name)
    _known(size, description["sizes"], f"size of {name}")
    network = getattr(importlib.import_module(f".{name}", __name__), description["class"])
    return network(**(description["sizes"][size] | overrides))


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def _known(word: str, words: Iterable[str], kind: str) -> None:
    """Raise a ValueError that names the words nearest to an unknown one."""
    words = sorted(words)
    if word in words:
        return
    near = difflib.get_close_matches(str(word).lower(), words) or words
    raise ValueError(f"unknown {kind} {word!r}; did you mean {' or '.join(near)}?")
