"""Optimization strategies: how the losses of several tasks become one update.

>>> from art import Art
>>> criterion = Art(tasks=5)                  # a torchjd Scalarizer, for anybody's training loop
>>> strategy = art.make("art:tau=1", tasks=["denoise_25", "derain"])   # what this project's trainer drives
"""

from typing import TYPE_CHECKING

from art.registry import canonical, definition, entries, make, names, parse

if TYPE_CHECKING:
    from art.active_reweighting import Art
    from art.strategy import Strategy

__all__ = ["Art", "Strategy", "canonical", "definition", "entries", "make", "names", "parse"]


def __getattr__(name: str):
    # torch is imported with the first class that needs it, so that names and help stay fast.
    if name == "Art":
        from art.active_reweighting import Art

        return Art
    if name == "Strategy":
        from art.strategy import Strategy

        return Strategy
    raise AttributeError(f"module 'art' has no attribute {name!r}")
