"""How far runs are: written by each into its folder, read there for a live view of them all."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property

from benchmarks.execution.cost import estimate
from benchmarks.execution.plan import Plan
from benchmarks.execution.terminal import LiveLines, clipped, folded
from results import Run
from results.command import has_cursor
from results.records import Progress, State
from results.schema import PROGRESS

EVERY = 20  # seconds between lines where there is no terminal
_INTERVAL = 0.5  # seconds between two writes of a run, and between two looks
_BAR = 24  # columns at most
_ENDED = (State.DONE, State.FAILED)


class ProgressFile:
    """Where a run says how far it is, at most twice a second."""

    def __init__(self, run: Run):
        self._run, self._next = run, 0.0

    def write(self, progress: Progress) -> None:
        """Write it, unless the last one is younger than half a second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _INTERVAL
            self._run.write_progress(progress)


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
    """How far a run is: its name, phase and time left; losses and weights of its tasks where they fit.

    Args:
        title: of the run.
        progress: what it says.
        columns: the largest length of a line.
        aligned: columns that the titles of all runs take.
        plain: draw with ASCII only.
    """
    done, total = progress.done, max(progress.total, 1)
    words, name = _words(progress), f"  {title:{aligned}}  "
    if len(name) + len(words) > columns:
        dots = "..." if plain else "…"
        return [clipped(f"  {title}", columns, dots), clipped(f"    {words}", columns, dots)]
    line, room = name + words, columns - len(name) - 35
    if room >= 8:
        full, empty = "#-" if plain else "━─"
        width = min(room, _BAR)
        filled = min(width * done // total, width)
        line = f"{name}{full * filled}{empty * (width - filled)} {words:34}"
    tasks = progress.tasks.values()
    for key, digits in (("loss", 3), ("weight", 2)):
        values = f" {key} {' '.join(f'{getattr(row, key):.{digits}f}' for row in tasks)}"
        if tasks and len(line) + len(values) <= columns:
            line += values
    return [line.rstrip()[:columns]]


def _words(progress: Progress) -> str:
    return f"{progress.phase} {progress.done}/{progress.total}, {duration(progress.left)} left"


class ProgressView:
    """While entered, shows every run at work: lines drawn in place in a terminal, a line now and then elsewhere.

    Trouble with showing them is printed once and never reaches the runs.
    """

    def __init__(self, plans: Sequence[Plan]):
        self.plans = plans
        self._lines = LiveLines(sys.stderr) if has_cursor(sys.stderr) else None
        self._started: dict[Plan, float] = {}  # when a run was first seen at work
        self._seconds: dict[Plan, float] = {}  # how long those runs took that have ended
        self._next_lines = time.monotonic() + EVERY
        self._troubled = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress")
        self._leaving = ExitStack()

    def __enter__(self) -> ProgressView:
        for plan in self.plans:  # what an interrupted run has left says nothing of this one
            with suppress(OSError):
                (plan.folder / PROGRESS).unlink(missing_ok=True)
        if self._lines is not None:
            self._leaving.enter_context(self._lines)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._leaving:
            self._stop.set()
            self._thread.join()
            self._look(last=True)

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._look()

    def _look(self, last: bool = False) -> None:
        try:
            self._show(self._at_work(last))
        except Exception as error:  # no run is worth losing over a line that cannot be read or drawn
            if not self._troubled:
                self._troubled = True
                reason = f"{type(error).__name__}: {error}"
                print(f"warning: progress cannot be shown ({reason}); the runs go on.", file=sys.stderr, flush=True)

    def _at_work(self, last: bool) -> dict[Plan, Progress]:
        """How far the runs at work are; of those that have ended since, the end is printed."""
        working: dict[Plan, Progress] = {}
        now = time.monotonic()
        for plan in self.plans:
            progress, state = plan.run.progress(), plan.status.state
            if progress is not None and state not in _ENDED and not last:
                working[plan] = progress
                self._started.setdefault(plan, now)
                self._seconds.pop(plan, None)
            elif plan in self._started and plan not in self._seconds and (last or state in _ENDED):
                self._seconds[plan] = now - self._started[plan]
                self._print_end(plan)
        return working

    def _show(self, working: Mapping[Plan, Progress]) -> None:
        if self._lines is None:
            if time.monotonic() >= self._next_lines:
                self._next_lines = time.monotonic() + EVERY
                lines = [f"  {plan.title}: {_words(progress)}" for plan, progress in working.items()]
                print("\n".join([*lines, *self._summary(working)]), file=sys.stderr, flush=True)
            return
        columns, height = self._lines.size
        plain = not _encodes("━─…", sys.stderr.encoding)
        aligned = max((len(plan.title) for plan in working), default=0)
        lines: list[str] = []
        for plan, progress in working.items():
            lines += run_lines(plan.title, progress, columns, aligned, plain)
        summary = [line for sentence in self._summary(working) for line in folded(sentence, columns, 2).splitlines()]
        self._lines.draw([*lines[: max(height - len(summary), 0)], *summary][:height])

    def _summary(self, working: Mapping[Plan, Progress]) -> list[str]:
        """For several runs one line on all of them: how many are in which state, and the time left."""
        if len(self.plans) == 1:
            return []
        states = [plan.status.state for plan in self.plans if plan not in working]
        done, failed, starting = (states.count(state) for state in (State.DONE, State.FAILED, State.RUNNING))
        waiting = len(states) - done - failed - starting
        line = f"  {done} of {len(self.plans)} runs done"
        counts = {"failed": failed, "at work": len(working), "starting": starting, "waiting": waiting}
        line += "".join(f", {count} {what}" for what, count in counts.items() if count)
        left = self._left(working)
        return [line if left is None else f"{line}, about {duration(left)} left"]

    def _left(self, working: Mapping[Plan, Progress]) -> float | None:
        """Seconds until all runs are done; ``None`` while nothing is known."""
        now = time.monotonic()
        left = {plan: progress.left for plan, progress in working.items()}
        total = self._seconds | {plan: now - self._started[plan] + seconds for plan, seconds in left.items()}
        expected = sum(self._costs.get(plan, 0) for plan in total)
        if not left or not expected:
            return None
        pace = sum(total.values()) / expected
        waiting = sum(cost for plan, cost in self._costs.items() if plan not in total)
        return max(*left.values(), (sum(left.values()) + pace * waiting) / len(left))

    @cached_property
    def _costs(self) -> dict[Plan, float]:
        """Seconds that each run was expected to take; only their ratios count."""
        return {plan: estimate(plan) for plan in self.plans}

    def _print_end(self, plan: Plan) -> None:
        status = plan.status
        line = f"  {plan.title}: {'interrupted' if status.state == State.RUNNING else status.state}"
        line += f", {status.words}" if status.words else ""
        if status.state == State.DONE:
            record = plan.run.environment
            train, score = (duration(seconds or 0) for seconds in (record.train_seconds, record.evaluate_seconds))
            line += f" (training {train})" if plan.trial else f" (training {train}, scoring {score})"
        if self._lines is not None:
            line = folded(line, self._lines.size[0])
        print(line, file=sys.stderr, flush=True)


def _encodes(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
