"""The real commands in a real terminal, and without anybody who reads them."""

import os
import re
import subprocess
import sys
import time

import pytest
from small_network import SLOW
from terminal import PATIENCE, ROOT, Terminal, screen

from results import find_runs
from results.command import AGAIN

AT_WORK = "2 at work"
SHOWN = r"\x1b\[\dA\r"  # the end of a drawing


@pytest.fixture(scope="module")
def data(three_task_root):
    return three_task_root


def run(data, output, steps):
    return ["-m", "benchmarks.run", "--setting", "three_task", "--data-root", data, "--output", output, "--jobs", 2,
            "--baselines", SLOW, "--strategies", "mix", "art:momentum=0.05", "--device", "cpu",
            "--tracking-uri", "none", "--set", f"train.steps={steps}", "train.batch=5", "train.patch=16"]  # fmt: skip


def test_two_runs_in_a_window_that_is_resized(data, tmp_path):
    with Terminal(*run(data, tmp_path / "out", 40), columns=80, NO_COLOR="1") as terminal:
        terminal.until(f"Preparing runs on three_task: {SLOW} with mix")
        assert terminal.first < 10  # 0.3 s; torch alone would take longer on the machine that needs 10
        place = terminal.until(AT_WORK)
        for columns in (40, 100, 50):
            place = terminal.until(SHOWN, place)
            terminal.resize(columns, 12)
        assert terminal.end() == 0
    shown = screen(terminal.text, 80, terminal.resized)  # which knows no colours
    assert max(map(len, shown)) <= 80 and "Traceback" not in terminal.text
    assert sum("done (" in line or line.endswith(": done") for line in shown) == 2
    assert not [line for line in shown if re.search(r"at work|\d left|━", line)]  # nothing of a drawing stays
    told = terminal.text
    assert told.index("2 runs, 0 done already") < told.index("Slow mix") < told.index("Gains over mix")
    assert "Written to" in told and all(run.status.state == "done" for run in find_runs(tmp_path / "out", "three_task"))


def test_ctrl_c_saves_and_the_same_command_goes_on_though_nobody_reads(data, tmp_path, monkeypatch):
    command = run(data, tmp_path / "out", 70)
    with Terminal(*command, TERM="dumb") as terminal:
        while len(list(tmp_path.glob("out/runs/**/progress.json"))) < 2 and terminal.process.poll() is None:
            time.sleep(0.05)
        terminal.type("\x03")
        asked = terminal.until("stopping: runs at work finish their step and save; Ctrl-C again stops at once")
        terminal.until("interrupted; the same command continues", asked)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text and "\x1b" not in terminal.text
    runs = find_runs(tmp_path / "out", "three_task")
    assert [run.status.state for run in runs] == ["running"] * 2
    assert all((run.folder / "checkpoint.pt").exists() for run in runs)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"), prepend=os.pathsep)
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert "Preparing" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE) == 141  # the words are lost, the work is not
    assert [run.status.state for run in runs] == ["done"] * 2
    assert (tmp_path / "out/reports/three_task/gains.md").exists()


BEGINNINGS = {
    "benchmarks.run --setting three_task --strategies mix pcgrad --output {0}": "Preparing runs",
    "benchmarks.tune --setting three_task --output {0}": "Preparing searches",
    "benchmarks.evaluate --checkpoint x --baseline nafnet --setting three_task --output {0}": "Scoring x on three_task",
    "benchmarks.restore x.png --checkpoint x --baseline nafnet --output {0}": "Restoring x.png",
    "benchmarks.data show --setting three_task --output {0}": "Drawing a sheet",
    "benchmarks.speed art": "Measuring art",
    "reports.build --setting three_task --output {0}": "Building reports",
    "reports.calibration --trials 100000": "Judging",
    "art.conformance equal": "Checking strategies",
}


@pytest.mark.parametrize("command", BEGINNINGS)
def test_ctrl_c_while_a_command_begins(command, tmp_path):
    with Terminal("-m", *command.format(tmp_path).split()) as terminal:
        terminal.until(BEGINNINGS[command])
        terminal.type("\x03")
        code = terminal.end()
    assert code == 130 or (code == 2 and "reports.build" in command)  # which may have ended before
    assert "interrupted" in terminal.text or code == 2
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(
    "command",
    ["benchmarks.data list", "benchmarks.run --setting three_task --dry-run", "benchmarks.restore --help",
     "reports.calibration --trials 1", "art"],
)  # fmt: skip
def test_a_closed_pipe_is_no_traceback(command):
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert not process.stderr.read() and process.wait(PATIENCE) in (0 if "--help" in command else 141, 141)


WAITING = """
import time
from results.command import announce, framed, leave, waits_for
def work():
    announce("at work")
    with waits_for("what is at hand"):
        try:
            time.sleep(100)
        finally:
            time.sleep({0})
            open({1!r}, "w").close()
leave(framed(work))
"""


def test_a_closed_window_lets_the_work_be_saved(tmp_path):
    saved = tmp_path / "saved"
    with Terminal("-c", WAITING.format(0.1, str(saved))) as terminal:
        terminal.until("at work")
        terminal.hang_up()
        assert terminal.process.wait(PATIENCE) == 129 and saved.exists()


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    saved = tmp_path / "saved"
    with Terminal("-c", WAITING.format(50, str(saved))) as terminal:
        terminal.until("at work")
        terminal.type("\x03")
        terminal.until("stopping: what is at hand; Ctrl-C again stops at once")
        time.sleep(AGAIN + 0.1)
        terminal.type("\x03")
        assert terminal.end() == 130 and not saved.exists() and "Traceback" not in terminal.text
