"""The house: our own modules are imported at the top, but where a command must answer before they are loaded."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("art", "baselines", "results", "benchmarks", "reports")
COMMANDS = {"benchmarks/run.py", "benchmarks/tune.py", "benchmarks/evaluate.py", "benchmarks/restore.py",
            "reports/build.py", "reports/calibration.py", "reports/published.py", "reports/speed.py"}  # fmt: skip
LAZY = {
    "baselines/registry.py": "names without torch",
    "baselines/deform_conv.py": "numba takes long to import",
    "benchmarks/scoring/weights.py": "options of commands without torch",
}


def late_imports(path):
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                yield from (name for name in names if name and name.partition(".")[0] in PACKAGES)


def test_own_modules_are_imported_at_the_top():
    late = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name not in COMMANDS and path.stem not in ("__init__", "__main__") and (found := {*late_imports(path)}):
            late[name] = found
    assert {name: found for name, found in late.items() if name not in LAZY} == {}
    assert late.keys() == LAZY.keys()  # the list holds no more than it must
