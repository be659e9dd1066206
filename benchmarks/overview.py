"""A live view of the runs of a grid, read from the words they leave in their folders."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.grid import Plan
from results.schema import PROGRESS


def duration(seconds: float) -> str:
    """``42 s``, ``3:07 min``, ``2:05 h``, ``3.1 days``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    if seconds < 172800:
        return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d} h"
    return f"{seconds / 86400:.1f} days"


class Overview:
    """While entered, shows every run at work: a bar each in a terminal, a line now and then elsewhere."""

    def __init__(self, plans: Sequence[Plan]):
        self.plans = plans
        self.terminal = sys.stderr.isatty()
        self._bars: dict[Plan, tqdm] = {}
        self._grid: tqdm | None = None
        self._told: dict[Plan, str] = {}
        self._next_lines = time.monotonic() + 20
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Overview:
        for plan in self.plans:  # words of an interrupted run are not those of this one
            (plan.folder / PROGRESS).unlink(missing_ok=True)
            self._told[plan] = ""
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._look(last=True)
        for bar in filter(None, [*self._bars.values(), self._grid]):
            bar.close()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self, last: bool = False) -> None:
        lines = time.monotonic() >= self._next_lines
        if lines:
            self._next_lines = time.monotonic() + 20
        working = {}
        for plan in self.plans:
            progress = plan.run.progress()
            if progress is not None:
                self._show(plan, progress, lines)
                working[plan] = progress
            elif self._told[plan] and (last or plan.run.status.state in ("done", "failed")):
                self._finished(plan)
        if len(self.plans) > 1:
            self._summary(working, lines)

    def _summary(self, working: dict[Plan, dict[str, Any]], lines: bool) -> None:
        """One line for the whole grid: how many runs are in which state, and the time left."""
        states = [plan.run.status.state for plan in self.plans if plan not in working]
        done, failed = (sum(state == wanted for state in states) for wanted in ("done", "failed"))
        waiting = len(self.plans) - len(working) - done - failed
        told = f"{done} of {len(self.plans)} runs done, {failed} failed, {len(working)} at work, {waiting} waiting"
        if self.terminal:
            self._grid = self._grid or tqdm(bar_format="{desc}", leave=False, dynamic_ncols=True)
            self._grid.set_description_str(told)
        elif lines:
            print(f"  {told}", file=sys.stderr, flush=True)

    def _show(self, plan: Plan, progress: dict[str, Any], lines: bool) -> None:
        self._told[plan] = progress["phase"]
        if self.terminal:
            self._bar(plan, progress)
        elif lines:
            done, total, left = progress["done"], progress["total"], duration(progress["left"])
            print(f"  {plan.title}: {progress['phase']} {done}/{total}, {left} left", file=sys.stderr, flush=True)

    def _bar(self, plan: Plan, progress: dict[str, Any]) -> None:
        if plan not in self._bars:
            self._bars[plan] = tqdm(
                total=progress["total"],
                leave=False,
                dynamic_ncols=True,
                bar_format="{desc} {bar} {n_fmt}/{total_fmt} {postfix}",
            )
        bar = self._bars[plan]
        bar.total, bar.n = progress["total"], progress["done"]
        bar.set_description_str(f"{plan.title} {progress['phase']}", refresh=False)
        tasks = progress.get("tasks", {})
        losses = " ".join(f"{row['loss']:.3f}" for row in tasks.values())
        weights = " ".join(f"{row['weight']:.2f}" for row in tasks.values())
        shown = f" loss {losses} weight {weights}" if tasks else ""
        bar.set_postfix_str(f"{duration(progress['left'])} left{shown}", refresh=True)

    def _finished(self, plan: Plan) -> None:
        self._told[plan] = ""
        bar = self._bars.pop(plan, None)
        if bar is not None:
            bar.close()
        status = plan.run.status
        line = f"  {plan.title}: {status.state}" + (f", {status.reason}" if status.reason else "")
        if status.state == "done":
            facts = plan.run.environment
            seconds = facts.get("train_seconds", 0), facts.get("evaluate_seconds", 0)
            line += f" (training {duration(seconds[0])}, scoring {duration(seconds[1])})"
        tqdm.write(line, file=sys.stderr)
