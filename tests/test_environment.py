"""pyproject.toml, constraints.txt and environment.yml say the same."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import benchmarks

ROOT = Path(__file__).parents[1]
PYPI_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}  # conda-forge name: PyPI name


def required():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] + [entry for extra in project["optional-dependencies"].values() for entry in extra]
    return {requirement.name: requirement for requirement in map(Requirement, listed)}


def pinned():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines)}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_bounded_explained_and_pinned_within_its_bounds():
    pins = pinned()
    for name, requirement in required().items():
        assert any(spec.operator == ">=" for spec in requirement.specifier), name
        assert requirement.specifier.contains(pins[canonical(name)]), name
    text = (ROOT / "pyproject.toml").read_text()
    listed = text[text.index("dependencies = [") : text.index("[project.entry-points")]
    for line in listed.splitlines():
        assert not line.strip().startswith('"') or "  # " in line, f"no reason: {line}"


def test_pins_are_exact_and_portable():
    for name, version in pinned().items():
        assert version and "+" not in version and "@" not in version, name


def test_conda_environment_is_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (by_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    wanted, pins = required(), pinned()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = {}
    for entry in conda:
        requirement = Requirement(entry)
        given[PYPI_NAMES.get(requirement.name, requirement.name)] = requirement.specifier
    assert given.pop("python") == Requirement(f"python{project['requires-python']}").specifier
    given.pop("pip")
    assert "--editable ." in by_pip
    for entry in by_pip:
        if not entry.startswith("-"):
            name, _, version = entry.partition("==")
            assert pins[canonical(name)] == version
            given[name] = wanted[name].specifier
    assert given == {name: requirement.specifier for name, requirement in wanted.items()}


def test_version_is_the_same_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == benchmarks.__version__
    assert f"## {benchmarks.__version__} " in (ROOT / "CHANGELOG.md").read_text()
