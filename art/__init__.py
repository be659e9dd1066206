"""Optimization strategies: how the losses of several tasks become one update.

>>> from art import Art
>>> criterion = Art(tasks=5)                  # a torchjd Scalarizer, for anybody's training loop
>>> strategy = art.make("art:tau=1", tasks=["denoise_25", "derain"])   # what this project's trainer drives
"""

import importlib
from typing import TYPE_CHECKING

from art.ranges import Choice, Range
from art.registry import entries, names
from art.search import search_space, start, with_parameters
from art.specs import canonical, check, definition, parameters, parse

if TYPE_CHECKING:
    from art.active_reweighting import Art
    from art.construction import make
    from art.simplex import design, expand
    from art.strategy import Conditions, Strategy
    from art.task_losses import TaskLosses

__all__ = [
    "Art",
    "Choice",
    "Conditions",
    "Range",
    "Strategy",
    "TaskLosses",
    "canonical",
    "check",
    "definition",
    "design",
    "entries",
    "expand",
    "make",
    "names",
    "parameters",
    "parse",
    "search_space",
    "start",
    "with_parameters",
]

# These need torch or NumPy, which are imported with the first of them that is used, so that names and help stay fast.
_MODULES = {
    "Art": "art.active_reweighting",
    "Conditions": "art.strategy",
    "Strategy": "art.strategy",
    "TaskLosses": "art.task_losses",
    "design": "art.simplex",
    "expand": "art.simplex",
    "make": "art.construction",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'art' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
