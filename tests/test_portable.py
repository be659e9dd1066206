"""On systems that lack what Linux has, and for names and terminals that are not UTF-8."""

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.execution import environment
from benchmarks.execution.plan import Plan
from results import Run
from results.records import State, Status
from results.schema import RHYTHM_COLUMNS

ROOT = Path(__file__).parents[1]
PACKAGES = ("art", "baselines", "benchmarks", "reports", "results")
MISSING = ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]

HIDDEN = f"""
import importlib, importlib.abc, os, signal, sys
import multiprocessing.spawn, shutil, subprocess  # of the standard library, which knows the systems by itself

usage = shutil.disk_usage(sys.argv[2])
shutil.disk_usage = lambda path: usage

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {MISSING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in {MISSING!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "pthread_sigmask"):
    delattr(signal, name)
for name in ("getppid_", "sysconf", "fork", "killpg", "getpgid", "sched_getaffinity", "statvfs"):
    hasattr(os, name) and delattr(os, name)

for name in sys.argv[1].split():
    importlib.import_module(name)
from benchmarks import run
from benchmarks.execution import environment
from benchmarks.scoring import tiling
assert environment.peak_memory() is None
assert run.main(["--setting", "three_task", "--dry-run", "--output", sys.argv[2]]) == 0
"""


def modules():
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES)
    return [name.removesuffix(".__init__") for name in names]


def test_nothing_needs_what_only_linux_has(tmp_path):
    command = [sys.executable, "-c", HIDDEN, " ".join(modules()), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "4 runs, 4 to do" in done.stdout, done.stderr


def test_text_is_utf_8_on_every_system():
    """``read_text()``, ``write_text()`` and ``open()`` take the system's encoding where none is named."""
    careless = []
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            given = {keyword.arg for keyword in call.keywords}
            texts = [value.value for value in ast.walk(call) if isinstance(value, ast.Constant)]
            named = "utf-8" in texts or "encoding" in given
            binary = any(isinstance(text, str) and text in ("rb", "wb", "r+b", "ab") for text in texts)
            image = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") in (
                "Image",
                "os",
                "self",
            )
            if name in ("read_text", "write_text") and not named and not _is_own(call):
                careless.append(f"{path.relative_to(ROOT)}:{call.lineno}")
            if name == "open" and not (named or binary or image):
                careless.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not careless


def _is_own(call):
    return isinstance(call.func, ast.Name)  # results.write_text


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_in_the_units_of_the_system(system, unit, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=100 * 2**20 // unit))
    monkeypatch.setattr(environment, "_restart_peak", lambda: False)
    peak = environment.PeakMemory(torch.device("cpu")).facts()
    assert peak.peak_memory_mib == 100 and peak.peak_memory_of == "process"
    monkeypatch.setitem(sys.modules, "resource", None)
    assert environment.peak_memory() is None
    assert "not_recorded" in environment.PeakMemory(torch.device("cpu")).facts().content()


@pytest.mark.skipif(not environment._restart_peak(), reason="this system does not let a process forget its peak")
def test_peak_memory_is_that_of_one_training():
    def peak(mib):
        memory = environment.PeakMemory(torch.device("cpu"))
        torch.ones(mib * 2**18)
        return memory.facts()

    first, second = peak(300), peak(50)
    assert first.peak_memory_of == "training"
    assert 200 < first.peak_memory_mib - second.peak_memory_mib < 300


def test_apples_device_is_taken_where_torch_has_it(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    device = environment.device("mps")
    assert device.type == "mps" and environment.devices(device) == ["mps"]
    assert environment.describe(device).device.startswith("Apple GPU")
    assert environment.device("auto").type != "mps"
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UserError, match="no Apple GPU"):
        environment.device("mps")


@pytest.mark.parametrize("spec", ["mypkg.opt:Mine:a=1.", "nul", "COM1", "aux.opt"])
def test_folders_have_names_that_every_system_takes(spec):
    setting = load("three_task")
    config = resolve(setting, "transweather", "mix").model_copy(update={"strategy": spec})
    slug = Plan.of(setting, config, Path()).folder.parent.name
    assert not set(slug) & set('<>:"/\\|?*') and not slug.endswith((".", " "))
    assert not PureWindowsPath(slug).is_reserved()


def test_names_that_are_not_utf_8_are_kept(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")  # Latin 1, as old archives unpack
    run = Run(tmp_path / name)
    run.write_json("mlflow.json", {"file": name})
    run.write_status(Status(State.FAILED, f"{name} is broken"))
    assert run.read_json("mlflow.json") == {"file": name} and run.status.reason == "caf\\udce9.png is broken"
    run.write_rhythm(pd.DataFrame([dict.fromkeys(RHYTHM_COLUMNS, 1) | {"task": "derain"}]))
    assert len(run.rhythm()) == 1
    assert b"\r" not in b"".join((run.folder / file).read_bytes() for file in ("mlflow.json", "status", "digests.json"))


def test_folders_named_as_the_packages_are_hide_none_of_them(tmp_path):
    """A command leaves ``results`` where it is called, and the next one is called there too."""
    try:
        importlib.metadata.distribution("restoration-optimizers")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the project is not installed here")
    for name in ("art", "baselines", "benchmarks", "reports", "results"):
        (tmp_path / name).mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for module in ("benchmarks.run", "reports.build", "results.archive"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
