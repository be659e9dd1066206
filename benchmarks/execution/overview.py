"""A live view of the runs of a grid, read from the words they leave in their folders."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property

from benchmarks.execution.display import Display, clipped, folded
from benchmarks.execution.grid import Plan
from results import Damaged, Status
from results.command import has_cursor
from results.records import Progress, State
from results.schema import PROGRESS

EVERY = 20  # seconds between lines where there is no terminal
_BAR = 24  # columns at most
_ENDED = (State.DONE, State.FAILED)


def duration(seconds: float) -> str:
    """``42 s``, ``3:07 min``, ``2:05 h``, ``3.1 days``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    if seconds < 172800:
        return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"
    return f"{seconds / 86400:.1f} days"


def run_lines(title: str, progress: Progress, columns: int, aligned: int = 0, plain: bool = False) -> list[str]:
    """What a run is at, in lines of at most so many columns: its name, phase and time left, and what else has room.

    Args:
        title: of the run.
        progress: what it says.
        columns: that may be filled.
        aligned: columns that the titles of all runs take.
        plain: draw with ASCII.
    """
    done, total = progress.done, max(progress.total, 1)
    told, name = _words(progress), f"  {title:{aligned}}  "
    if len(name) + len(told) > columns:
        dots = "..." if plain else "…"
        return [clipped(f"  {title}", columns, dots), clipped(f"    {told}", columns, dots)]
    line, room = name + told, columns - len(name) - 35
    if room >= 8:
        full, empty = "#-" if plain else "━─"
        width = min(room, _BAR)
        filled = min(width * done // total, width)
        line = f"{name}{full * filled}{empty * (width - filled)} {told:34}"
    tasks = progress.tasks.values()
    for key, digits in (("loss", 3), ("weight", 2)):
        values = f" {key} {' '.join(f'{getattr(row, key):.{digits}f}' for row in tasks)}"
        if tasks and len(line) + len(values) <= columns:
            line += values
    return [line.rstrip()[:columns]]


def _words(progress: Progress) -> str:
    return f"{progress.phase} {progress.done}/{progress.total}, {duration(progress.left)} left"


class Overview:
    """While entered, shows every run at work: lines drawn in place in a terminal, a line now and then elsewhere.

    Trouble with showing is told once and never reaches the runs.
    """

    def __init__(self, plans: Sequence[Plan]):
        self.plans = plans
        self.display = Display(sys.stderr) if has_cursor(sys.stderr) else None
        self._since: dict[Plan, float] = {}  # runs that were seen at work: when first
        self._over: dict[Plan, float] = {}  # of these, how long those took that have ended
        self._next_lines = time.monotonic() + EVERY
        self._troubled = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="overview")
        self._leaving = ExitStack()

    def __enter__(self) -> Overview:
        for plan in self.plans:  # words of an interrupted run are not those of this one
            with suppress(OSError):
                (plan.folder / PROGRESS).unlink(missing_ok=True)
        if self.display is not None:
            self._leaving.enter_context(self.display)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._leaving:
            self._stop.set()
            self._thread.join()
            self._look(last=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self, last: bool = False) -> None:
        try:
            self._show(self._at_work(last))
        except Exception as error:  # a word that cannot be read or drawn is worth no run
            if not self._troubled:
                self._troubled = True
                told = f"{type(error).__name__}: {error}"
                print(f"warning: progress cannot be shown ({told}); the runs go on.", file=sys.stderr, flush=True)

    def _at_work(self, last: bool) -> dict[Plan, Progress]:
        """What the runs at work say; those that have ended are told."""
        working, now = {}, time.monotonic()
        for plan in self.plans:
            progress, state = plan.run.progress(), _status(plan).state
            if progress is not None and state not in _ENDED and not last:
                working[plan] = progress
                self._since.setdefault(plan, now)
                self._over.pop(plan, None)
            elif plan in self._since and plan not in self._over and (last or state in _ENDED):
                self._over[plan] = now - self._since[plan]
                self._tell_end(plan)
        return working

    def _show(self, working: Mapping[Plan, Progress]) -> None:
        if self.display is None:
            if time.monotonic() >= self._next_lines:
                self._next_lines = time.monotonic() + EVERY
                lines = [f"  {plan.title}: {_words(told)}" for plan, told in working.items()]
                print("\n".join([*lines, *self._summary(working)]), file=sys.stderr, flush=True)
            return
        columns, height = self.display.size
        plain = not _encodes("━─…", sys.stderr.encoding)
        aligned = max((len(plan.title) for plan in working), default=0)
        lines = []
        for plan, told in working.items():
            lines += run_lines(plan.title, told, columns, aligned, plain)
        summary = [part for told in self._summary(working) for part in folded(told, columns, 2).splitlines()]
        self.display.draw([*lines[: max(height - len(summary), 0)], *summary][:height])

    def _summary(self, working: Mapping[Plan, Progress]) -> list[str]:
        """One line on the whole grid, where it has several runs: how many are in which state, and the time left."""
        if len(self.plans) == 1:
            return []
        states = [_status(plan).state for plan in self.plans if plan not in working]
        done, failed = (states.count(wanted) for wanted in _ENDED)
        starting = states.count(State.RUNNING)
        waiting = len(states) - done - failed - starting
        told = f"  {done} of {len(self.plans)} runs done"
        counts = {"failed": failed, "at work": len(working), "starting": starting, "waiting": waiting}
        told += "".join(f", {count} {what}" for what, count in counts.items() if count)
        left = self._left(working)
        return [told if left is None else f"{told}, about {duration(left)} left"]

    def _left(self, working: Mapping[Plan, Progress]) -> float | None:
        """Seconds until the whole grid is done; ``None`` while nothing is known."""
        now = time.monotonic()
        left = {plan: told.left for plan, told in working.items()}
        took = self._over | {plan: now - self._since[plan] + more for plan, more in left.items()}
        expected = sum(self._costs.get(plan, 0) for plan in took)
        if not left or not expected:
            return None
        pace = sum(took.values()) / expected
        waiting = sum(cost for plan, cost in self._costs.items() if plan not in took)
        return max(*left.values(), (sum(left.values()) + pace * waiting) / len(left))

    @cached_property
    def _costs(self) -> dict[Plan, float]:
        """Seconds that each run was expected to take; only their ratios count."""
        from benchmarks.execution.cost import estimate

        return {plan: estimate(plan) for plan in self.plans}

    def _tell_end(self, plan: Plan) -> None:
        status = _status(plan)
        line = f"  {plan.title}: {'interrupted' if status.state == State.RUNNING else status.state}"
        line += f", {status.words}" if status.words else ""
        if status.state == State.DONE:
            facts = plan.run.environment
            seconds = facts.train_seconds or 0, facts.evaluate_seconds or 0
            line += f" (training {duration(seconds[0])}, scoring {duration(seconds[1])})"
        if self.display is not None:
            line = folded(line, self.display.size[0])
        print(line, file=sys.stderr, flush=True)


def _status(plan: Plan) -> Status:
    try:
        return plan.run.status
    except Damaged as damaged:
        return Status(State.DAMAGED, str(damaged))


def _encodes(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
