r"""The frame around every command: what it says first, how it stops, and with which exit code.

Exit codes: 0; 1 where a part failed (a run, a file) or the system refused (disk, memory); 2 for a mistake in the
command or its data; 129, 130, 143 after the terminal was closed, Ctrl-C, SIGTERM; 141 where nobody read to the end.

* A signal is answered at once, also while an import or a tensor operation keeps Python busy, with what is waited for;
  a second one, after a second, stops at once.
* A reader that goes away (``| head``, a closed terminal) ends the words, not the work.
* What the encoding of a terminal lacks, names that are not UTF-8 included, is printed as ``\udcff``.
* No mistake of a user, no signal, no full or read-only disk ends in a traceback.
"""

from __future__ import annotations

import _thread
import errno
import functools
import io
import math
import os
import shutil
import signal
import socket
import sys
import textwrap
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Protocol, TextIO

AGAIN = 1.0
"""Seconds after which a further signal means "at once": ``timeout`` and ``torchrun`` send the first one twice."""

_GRACE = 3.0  # seconds that a second signal leaves before the process ends without any cleaning up
_REPEAT = 3.0  # seconds after which an interruption is raised again: some module or library may have swallowed it
_ECHO = 0.05  # seconds in which a terminal still drops what is written, and shows ^C
_CLOSED = 141  # 128 + SIGPIPE, as of a program that the closed pipe has killed
_HEEDED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_GONE = (errno.EPIPE, errno.EIO, errno.EINVAL, errno.ESHUTDOWN)  # of a stream without a reader; EINVAL: Windows
_HELP = {
    errno.EROFS: "choose another folder",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
    errno.ENOSPC: "make room, then give the same command again",
    errno.EDQUOT: "make room, then give the same command again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

_waits: list[str] = []
_Mistakes = type[Exception] | tuple[type[Exception], ...]
_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def waits_for(what: str) -> Generator[None]:
    """While entered, a signal is answered by ``stopping: <what>``."""
    _waits.append(what)
    try:
        yield
    finally:
        _waits.remove(what)


def _what() -> str:
    return f": {_waits[-1]}" if _waits else ""


def announce(what: str, beside: bool = False) -> None:
    """Say at once what the command is about to do, before imports that take seconds.

    ``beside``: standard output is the result and nothing else, so this goes to standard error, and to people only.
    """
    stream = sys.stderr if beside else sys.stdout
    if stream.isatty() or not beside:
        print(_folded(what, stream), file=stream, flush=True)


def _folded(text: str, stream: TextIO) -> str:
    """In a terminal, in lines that fit."""
    return textwrap.fill(text, max(shutil.get_terminal_size().columns - 1, 20)) if stream.isatty() else text


def has_cursor(stream: TextIO) -> bool:
    """Whether escape sequences that move the cursor are understood: a terminal, but for ``TERM=dumb``."""
    return stream.isatty() and (os.name == "nt" or os.environ.get("TERM", "dumb") != "dumb")


class Main(Protocol):
    """The entry of a command: takes its arguments (by default those of the process), returns its exit code."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the command."""
        ...


def command(
    parser: Callable[[], ArgumentParser],
    mistakes: type[Exception] | tuple[type[Exception], ...] = (),
    interrupted: str = "interrupted.",
    leads: bool = True,
    again: bool = True,
) -> Callable[[Callable[[Namespace], int]], Main]:
    """Turn a function of the parsed options into the ``main`` of a command, in the frame of this module.

    Args:
        parser: makes the command line.
        mistakes: as the other arguments, see :func:`framed`.
    """

    def decorate(work: Callable[[Namespace], int]) -> Main:
        @functools.wraps(work)
        def main(arguments: Sequence[str] | None = None) -> int:
            return framed(lambda: work(parser().parse_args(arguments)), mistakes, interrupted, leads, again)

        return main

    return decorate


def framed(
    work: Callable[[], int],
    mistakes: _Mistakes = (),
    interrupted: str = "interrupted.",
    leads: bool = True,
    again: bool = True,
) -> int:
    """Do the work of a command; returns its exit code, as the module says.

    Args:
        work: parses the arguments and does what they ask for; returns its exit code.
        mistakes: exceptions whose message is for the user; it is printed without a traceback.
        interrupted: printed when a signal has stopped the command.
        leads: whether this process answers signals: of several that ``torchrun`` started only one does.
        again: whether a second signal stops at once.

    Raises:
        Exception: a mistake in this project, with its traceback.
        SystemExit: of the parser.
    """
    with _streams() as streams, _Signals(leads, again) as signals:
        try:
            code = _outcome(work, mistakes, interrupted if leads else "", signals)
        except KeyboardInterrupt:  # one more, in the middle of telling the first
            code = 128 + signals.settled()
    return _CLOSED if code in (0, 1) and any(stream.gone for stream in streams) else code


def leave(code: int) -> NoReturn:
    """End the process of a command; from here on a signal ends it at once, without a traceback."""
    for number in _HEEDED:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, lambda number, _: os._exit(128 + number))
    exec("")  # forgets an interruption in an earlier exec, for which Python would end by SIGINT and not with this code
    sys.exit(code)


def _outcome(work: Callable[[], int], mistakes: _Mistakes, interrupted: str, signals: _Signals) -> int:
    try:
        return work()
    except BaseException as error:
        # while modules are imported, an interruption may come out as another exception
        if isinstance(error, KeyboardInterrupt) or signals.asked:
            code = 128 + signals.settled()
            if interrupted:
                print(interrupted, file=sys.stderr, flush=True)
            return code
        if isinstance(error, mistakes):
            message, code = str(error), 2
        elif isinstance(error, MemoryError):
            message, code = "there is not enough memory; close other programs, or do less at a time.", 1
        elif isinstance(error, OSError):
            message, code = _of_system(error), 1
        else:
            raise
        print(f"error: {message}", file=sys.stderr)
        return code


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    link = " " if reason.startswith("cannot") else ": "
    message = f"{os.fsdecode(error.filename)}{link}{reason}" if error.filename else reason
    advice = _HELP.get(error.errno or 0)
    return f"{message}; {advice}." if advice else f"{message}."


class _Signals:
    """While entered, signals become :class:`KeyboardInterrupt` in the main thread, and are answered by another one:
    the main thread may be in the middle of an import or a tensor operation."""

    def __init__(self, leads: bool, again: bool):
        self.leads, self.again = leads, again
        self.received: list[int] = []
        self._first = self._raised = -math.inf  # when
        self._over = self._settled = False
        self._answered = threading.Event()
        self._what = ""  # is waited for, where the first signal met the command
        self._own = 0  # signals that are repetitions of ours
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._mouth, self._ear = socket.socketpair()
        self._mouth.setblocking(False)
        self._old = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in _HEEDED:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._heed)
        threading.Thread(target=self._listen, daemon=True, name="signals").start()
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        if not self._before and not hasattr(self, "_ear"):
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old)
        sys.unraisablehook = self._hook
        self._mouth.close()  # which ends the listener

    @property
    def asked(self) -> bool:
        """Whether the command has been asked to stop; its listener may learn so a moment later."""
        return bool(self.received) or self._raised > 0

    def settled(self) -> int:
        """The interruption has reached the end of the command; returns the first signal, which has been answered."""
        self._settled = True
        if self._before:
            self._answered.wait(1)
        return self.received[0] if self.received else signal.SIGINT

    def _heed(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        echo = now - self._raised < AGAIN or (len(self.received) > 1 and now - self._first < AGAIN)
        self._what = self._what or _what()
        if not self._over and not echo and (self.again or self._raised < 0):
            self._raised = now
            raise KeyboardInterrupt

    def _listen(self) -> None:
        with self._ear:
            while numbers := self._ear.recv(16):
                for number in numbers:
                    if self._own:
                        self._own -= 1
                    elif number in self._before:
                        self._answer(number)

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """An interruption in the middle of a destructor, which Python only prints: it is raised again at once."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook(unraisable)
            return
        self._raised = -math.inf
        threading.Timer(_ECHO, self._raise_again).start()

    def _repeat(self) -> None:
        while not self._settled and not self._over:
            time.sleep(_REPEAT)
            if not _waits:
                self._raise_again()

    def _raise_again(self) -> None:
        if self._settled or self._over:
            return
        self._own += 1
        number = signal.Signals(self.received[0] if self.received else signal.SIGINT)
        main = threading.main_thread().ident
        if main is not None and hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, number)
        else:
            _thread.interrupt_main(signal.Signals(number))

    def _answer(self, number: int) -> None:
        if not self.received:
            self._first = time.monotonic()
        self.received.append(number)
        if len(self.received) == 1:
            what = self._what or _what()
            time.sleep(_ECHO)
            self._say(f"stopping{what}{'; Ctrl-C again stops at once' * self.again}.")
            self._answered.set()
            threading.Thread(target=self._repeat, daemon=True, name="repeat").start()
        elif self.again and time.monotonic() - self._first >= AGAIN:
            self._say("stopping at once.")
            timer = threading.Timer(_GRACE, os._exit, [128 + self.received[0]])
            timer.daemon = True
            timer.start()

    def _say(self, words: str) -> None:
        if not self.leads:
            return
        start = ""
        if sys.stderr.isatty():  # over the ^C, or a bar
            start = "\r\x1b[K" if has_cursor(sys.stderr) else "\n"
        with suppress(Exception):
            sys.stderr.write(f"{start}{_folded(words, sys.stderr)}\n")
            sys.stderr.flush()


class _Words:
    """A stream that takes every character, and goes silent where its reader has gone."""

    def __init__(self, stream: TextIO):
        self._stream, self.gone = stream, False
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        if not self.gone:
            self._guarded(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            self._guarded(self._stream.flush)

    def _guarded(self, call: Callable[..., object], *arguments: str) -> None:
        try:
            call(*arguments)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.gone = True
            with suppress(OSError, ValueError):  # what is left in its buffer must not fail at the interpreter's end
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _streams() -> Generator[list[_Words]]:
    before = sys.stdout, sys.stderr  # None where they were closed by who started the command
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = words = [_Words(stream or nowhere) for stream in before]
        try:
            yield words
        finally:
            for stream in words:
                stream.flush()
            sys.stdout, sys.stderr = before
