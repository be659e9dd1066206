"""The training loop, what it keeps, and what it notes while it goes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.training.loop import Training, task_losses

__all__ = ["Training", "task_losses"]


def __getattr__(name: str) -> object:
    # imported when it is used: the command's first words need schedules and processes, and torch takes seconds
    if name in __all__:
        from benchmarks.training import loop

        return getattr(loop, name)
    raise AttributeError(f"module 'benchmarks.training' has no attribute {name!r}")
