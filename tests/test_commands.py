"""The frame of the commands and the view of their runs, in this process."""

import errno
import io
import os
import signal
import sys
import threading
import time

import pytest

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.execution.plan import Plan
from benchmarks.execution.progress import ProgressFile, ProgressView, run_lines
from benchmarks.execution.terminal import clipped
from benchmarks.training.interrupts import interrupts_wait
from results.command import framed, waits_for
from results.records import Progress, State, Status, TaskProgress


def failing(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (UserError("unknown setting 'x'."), 2, "error: unknown setting 'x'."),
        (
            OSError(errno.EROFS, "Read-only file system", "/r/x"),
            1,
            "error: /r/x: Read-only file system; choose another",
        ),
        (
            OSError(errno.ENOSPC, "cannot be written (No space)", "/r/x"),
            1,
            "/r/x cannot be written (No space); make room",
        ),
        (MemoryError(), 1, "error: there is not enough memory"),
        (KeyboardInterrupt(), 130, "stopped."),
    ],
)
def test_what_goes_wrong_is_a_sentence(error, code, told, capsys):
    assert framed(failing(error), UserError, "stopped.") == code
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        framed(lambda: 1 // 0, UserError)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_answered_with_what_is_waited_for(number, capsys):
    before = signal.getsignal(number)

    def work():
        with waits_for("the last image"):
            for _ in range(2):  # as `timeout` does, which must not count as "at once"
                os.kill(os.getpid(), number)
            time.sleep(30)

    assert framed(work, interrupted="nothing is lost.") == 128 + number
    told = capsys.readouterr().err.splitlines()
    assert told == ["stopping: the last image; Ctrl-C again stops at once.", "nothing is lost."]
    assert signal.getsignal(number) == before


def test_an_interruption_that_a_library_swallows_is_raised_again(monkeypatch, capsys):
    monkeypatch.setattr("results.command._REPEAT", 1.1)
    swallowed = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)
        except KeyboardInterrupt:
            swallowed.append(1)
        time.sleep(30)

    assert framed(work) == 130 and swallowed
    assert "at once.\ninterrupted.\n" in capsys.readouterr().err


class Interrupting:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_an_interruption_in_a_destructor_counts_and_is_not_printed(capsys):
    def work():
        Interrupting()
        time.sleep(30)

    assert framed(work) == 130
    assert capsys.readouterr().err == "stopping; Ctrl-C again stops at once.\ninterrupted.\n"


def test_an_interruption_that_comes_out_as_another_exception(capsys):
    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except KeyboardInterrupt:
            raise ImportError("numpy C-extensions failed") from None

    assert framed(work) == 143 and "numpy" not in capsys.readouterr().err


def test_training_takes_a_doubled_signal_for_one():
    with interrupts_wait(twice=True) as received:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert set(received) == {signal.SIGTERM}


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_who_does_not_read_stops_no_work(monkeypatch):
    done = []
    monkeypatch.setattr(sys, "stdout", Gone())
    assert framed(lambda: print("lost") or done.append(1) or 0) == 141 and done
    monkeypatch.setattr(sys, "stdout", None)  # closed by who started the command
    assert framed(lambda: print("lost") or 0) == 0


def test_every_name_can_be_printed_everywhere(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert framed(lambda: print(os.fsdecode(b"caf\xe9"), "±") or 0) == 0
    ascii_only.flush()
    assert ascii_only.buffer.getvalue().split() == [b"caf\\udce9", b"\\xb1"]


TITLE = "TransWeather art:momentum=0.05:tau=1 seed 0"
PROGRESS = Progress(
    phase="training", done=20, total=400, left=3700.0,
    tasks={name: TaskProgress(loss=0.0123, weight=0.2) for name in ("a", "b", "c")},
)  # fmt: skip


@pytest.mark.parametrize("columns", [12, 39, 60, 79, 100, 200])
def test_a_run_fits_into_every_window(columns):
    lines = run_lines(TITLE, PROGRESS, columns, aligned=len(TITLE) + 3)
    assert all(len(line) <= columns for line in lines)
    if columns >= 39:
        assert "seed 0" in lines[0] and "20/400, 1:01 h left" in lines[-1]
    assert ("loss 0.012" in lines[-1]) == (columns == 200)
    plain = run_lines(TITLE, PROGRESS, columns, plain=True)
    assert "".join(plain).isascii()


def test_long_names_keep_both_ends():
    assert clipped("abcdefghij", 7) == "abc…hij" and clipped("abc", 3) == "abc" and clipped("abcdef", 1) == "…"


@pytest.fixture
def plans(tmp_path):
    setting = load("three_task")
    return [Plan.of(setting, resolve(setting, "transweather", "mix", seed=seed), tmp_path) for seed in (0, 1)]


def test_trouble_with_showing_is_told_once_and_stops_nothing(plans, monkeypatch, capsys):
    with ProgressView(plans) as view:
        plans[0].run.write_status(Status(State.RUNNING))
        plans[0].run.write_progress(PROGRESS)
        monkeypatch.setattr("benchmarks.execution.progress._words", lambda progress: 1 // 0)
        monkeypatch.setattr(view, "_next_lines", 0)
        for _ in range(3):
            view._look()
    assert capsys.readouterr().err.count("warning: progress cannot be shown (ZeroDivisionError: ") == 1
    assert threading.active_count() < 10


def test_progress_is_written_at_most_twice_a_second(plans, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("benchmarks.execution.progress.time.monotonic", lambda: clock[0])
    run, other = (plan.run for plan in plans)
    file, written = ProgressFile(run), []
    for step, clock[0] in enumerate((1000.0, 1000.4, 1000.6)):
        file.write(Progress(phase="training", done=step, total=9))
        written.append(run.progress().done)
    assert written == [0, 0, 2]
    ProgressFile(other).write(PROGRESS)  # another run's is its own
    assert other.progress() == PROGRESS


def test_lines_without_a_terminal(plans, monkeypatch, capsys):
    with ProgressView(plans) as view:
        for item in plans:
            item.run.write_status(Status(State.RUNNING))
            item.run.write_progress(PROGRESS)
        monkeypatch.setattr(view, "_next_lines", 0)
        view._look()
        plans[0].run.write_status(Status(State.FAILED, "no room"))
        plans[1].run.write_status(Status(State.DONE))
        view._look()
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "  TransWeather mix seed 0: training 20/400, 1:01 h left"
    assert told[2].startswith("  0 of 2 runs done, 2 at work, about 1:01 h left")
    assert told[3:] == [
        "  TransWeather mix seed 0: failed, no room",
        "  TransWeather mix seed 1: done (training 0 s, scoring 0 s)",
    ]
