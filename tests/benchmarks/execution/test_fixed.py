"""Fixed weights on the command line: designs are written out, mistakes are said before anything is trained."""

import subprocess
import sys

import art
from benchmarks.config.settings import load
from benchmarks.run import main

TASKS = load("three_task").task_names


def listed(capsys, output, *strategies):
    """Exit code, and what a dry run prints."""
    command = ["--setting", "three_task", "--baselines", "nafnet", "--output", str(output), "--dry-run"]
    code = main([*command, "--strategies", *strategies])
    return code, capsys.readouterr()


def test_a_design_is_as_many_runs_and_a_larger_one_keeps_them(tmp_path, capsys):
    code, printed = listed(capsys, tmp_path, "equal", "fixed:design=4")
    again = ":".join(f"{task}=5" for task in TASKS)
    _, larger = listed(capsys, tmp_path, "fixed:design=8", "equal", f"fixed:{again}", art.design(1024, TASKS)[5])
    folders = [{line.split()[-1] for line in text.out.splitlines() if "new" in line} for text in (printed, larger)]
    assert code == 0 and len(folders[0]) == 5 and len(folders[1]) == 9 and folders[0] < folders[1]


def test_all_mistakes_at_once(tmp_path, capsys):
    code, printed = listed(capsys, tmp_path, "fixed", "fixed:derian=2", "artt", "fixed:design=1", "mix")
    assert code == 2
    for said in ("fixed needs weights", "did you mean 'derain'", "did you mean 'art'", "2 to 1024"):
        assert said in printed.err


def test_fixed_weights_are_listed_without_torch(tmp_path):
    code = "import sys; from benchmarks.run import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    command = ["--setting", "three_task", "--strategies", "fixed:derain=2", "--dry-run", "--output", str(tmp_path)]
    run = subprocess.run([sys.executable, "-c", code, *command], check=False, stdout=subprocess.DEVNULL)
    assert run.returncode == 0
