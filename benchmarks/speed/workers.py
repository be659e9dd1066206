"""Processes that measure one thing each, asked one question after another: none can end, stop or fill the others.

A question is a line of JSON on the worker's standard input, ``{"do": NAME, ...}``: the method of its module's
``Station`` and its arguments; the answer is a line of JSON on its standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import Any

Answer = dict[str, Any]


SHOWN = 12  # lines of what a worker has printed, where it fails


class Failed(RuntimeError):
    """A worker that could not answer; the message says why."""


class Worker:
    """One such process, with what it prints in a file.

    Args:
        module: of ``benchmarks.speed``, with a class ``Station``.
        log: for what the process prints.
        environment: variables besides this process's own.
    """

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None):
        self._log = log
        self._answers: Queue[str | None] = Queue()
        with log.open("a", encoding="utf-8") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, f"{__package__}.{module}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed, text=True, encoding="utf-8",
                env={**os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip
        Thread(target=self._listen, daemon=True).start()

    def tell(self, do: str, **arguments: object) -> None:
        """Ask without waiting; :meth:`answer` brings the answers, in order."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: the answer will say so
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()

    def answer(self, patience: float) -> Answer:
        """The next answer, within so many seconds.

        Raises:
            Failed: if it does not come in time, or the process could not give it.
        """
        try:
            line = self._answers.get(timeout=max(patience, 0))
        except Empty:
            raise Failed(f"no answer within {patience:.0f} s") from None
        if line is None:
            raise Failed(f"its process ended with exit code {self._process.wait()}: {self._printed(1)[:300]}")
        answer = json.loads(line)
        if "error" in answer:
            print(f"{self._log.stem}: {self._printed(SHOWN)}", file=sys.stderr)
            raise Failed(answer["error"])
        return answer

    def ask(self, patience: float, do: str, **arguments: object) -> Answer:
        """Ask and wait for the answer; as :meth:`answer`."""
        self.tell(do, **arguments)
        return self.answer(patience)

    def stop(self) -> None:
        """End the process and those that it has started."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _printed(self, lines: int) -> str:
        """The last lines that it has printed."""
        return "\n".join(self._log.read_text("utf-8", "replace").strip().splitlines()[-lines:])


def serve(module: str) -> None:
    """Answer the questions on standard input until it ends; what anything prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # also for what compilers, which are other processes, print
    station: Any = importlib.import_module(module).Station()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = getattr(station, question.pop("do"))(**question)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
