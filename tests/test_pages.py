"""All Markdown pages are true: links and anchors lead somewhere, files exist, commands are understood."""

import argparse
import contextlib
import importlib
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from unittest import mock
from urllib.parse import unquote

import pytest

from benchmarks.run import parser

ROOT = Path(__file__).parents[1]


@cache
def files():
    """Files of the project by name, as a clone has them: what runs and tools have left is none of it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        return frozenset(name for name in told.decode().split("\0") if name and (ROOT / name).is_file())
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return frozenset(path.as_posix() for path in found if not path.parts[0].startswith("."))


@cache
def places():
    """The files, and all folders that they lie in."""
    return files() | {parent.as_posix() for name in files() for parent in Path(name).parents}


PAGES = sorted(name for name in files() if name.endswith(".md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:art|baselines|benchmarks|reports|results|tests)/[\w/]+\.(?:py|toml|csv|md))`")
LINK = re.compile(r"\]\(([^()\s]+)\)|<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")


@cache
def page(name):
    return (ROOT / name).read_text("utf-8")


@cache
def prose(name):
    """A page without its blocks of code, whose brackets are no links and whose ``#`` no headings."""
    return FENCE.sub("", page(name))


def slug(heading):
    """The anchor that a heading gets: its words without marks, in small letters, joined by hyphens."""
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(name):
    found, count = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", prose(name))), {}
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(name), re.MULTILINE):
        one = slug(heading)
        count[one] = count.get(one, -1) + 1
        found.add(f"{one}-{count[one]}" if count[one] else one)
    return found


def broken(name):
    """The links of a page to files, folders and anchors of this project that are not there."""
    text = re.sub(r"`[^`\n]*`", "``", prose(name))
    for target in (one or other for one, other in LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = unquote(target).partition("#")
        whole = (ROOT / name).parent.joinpath(place).resolve() if place else ROOT.resolve() / name
        inside = whole.is_relative_to(ROOT.resolve()) and whole.relative_to(ROOT.resolve()).as_posix()
        if inside not in places() or (anchor and (not inside.endswith(".md") or anchor not in anchors(inside))):
            yield target


@pytest.mark.parametrize("name", PAGES)
def test_links_and_anchors_lead_somewhere(name):
    assert not list(broken(name))


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch):
    (tmp_path / "one.md").write_text(
        "# A `b`: c_d, e\n## Twice\n## Twice\n"
        "[a](#a-b-c_d-e) [b](#twice-1) [c](sub/two.md#deep) [d](sub) ![e](sub/e.png)\n"
        '```\n# no heading, [no link](nowhere)\n```\n`[nor](this)` [out](https://example.org) <img src="sub/e.png">\n'
        "[1](#twice-2) [2](sub/two.md#no-heading) [3](three.md) ![4](sub/f.png) [5](../out.md)\n"
        '<img alt="" src="6.png">\n'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/two.md").write_text("### Deep\n[up](../one.md#twice) [a space](a%20b.txt)\n")
    for there in ("sub/e.png", "sub/a b.txt"):
        (tmp_path / there).touch()
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    remembered = (files, places, page, prose, anchors)
    for one in remembered:
        one.cache_clear()
    try:
        assert list(broken("one.md")) == [
            "#twice-2", "sub/two.md#no-heading", "three.md", "sub/f.png", "../out.md", "6.png",
        ]  # fmt: skip
        assert not list(broken("sub/two.md"))
    finally:
        for one in remembered:
            one.cache_clear()


@pytest.mark.parametrize("name", PAGES)
def test_files_that_pages_name_are_there(name):
    for target in re.findall(NAMED, page(name)):
        assert (ROOT / target).exists() or (ROOT / name).parent.joinpath(target).exists(), target


class Understood(BaseException):
    """Raised in place of what a command does once it has taken its words."""


def commands(name):
    """(module, words) of every command of this project in the blocks of a page that name no language.

    ``...`` right behind a module stands for what the commands of a block have in common.
    """
    for language, block in FENCE.findall(page(name)):
        for line in block.replace("\\\n", " ").splitlines() if not language else ():
            words = shlex.split(line, comments=True)
            if "-m" in words and (ROOT / words[words.index("-m") + 1].split(".")[0]).is_dir():
                module, *rest = words[words.index("-m") + 1 :]
                yield module, ["--setting", "three_task", *rest[1:]] if rest[:1] == ["..."] else rest


def module_of(name):
    package = (ROOT / name.replace(".", "/")).is_dir()
    return importlib.import_module(f"{name}.__main__" if package else name)


def understand(module, words):
    """Let a command take its words, and do nothing.

    Raises:
        SystemExit: if it refuses them.
    """
    take = argparse.ArgumentParser.parse_args

    def only_taken(self, args=None, namespace=None):
        take(self, args, namespace)
        raise Understood

    with mock.patch.object(argparse.ArgumentParser, "parse_args", only_taken), pytest.raises(Understood):
        module.main(words)


@pytest.mark.parametrize("name", [name for name in PAGES if list(commands(name))])
def test_every_command_is_understood(name):
    for module, words in commands(name):
        if module == "art":  # takes no words
            assert not words
            continue
        try:
            understand(module_of(module), words)
        except SystemExit as refused:
            pytest.fail(f"python -m {module} {shlex.join(words)}: refused with {refused.code}")


def test_the_page_of_commands_has_them_all():
    found = [module for module, _ in commands("benchmarks/COMMANDS.md")]
    assert found.count("benchmarks.run") >= 5
    assert {"benchmarks.tune", "benchmarks.data", "benchmarks.evaluate", "benchmarks.restore", "benchmarks.speed",
            "reports.build", "reports.published", "results.archive", "results.verify"} <= {*found}  # fmt: skip


def test_every_option_is_described():
    options = {
        word.removeprefix("--") for action in parser()._actions for word in action.option_strings if word[:2] == "--"
    }
    for option in options - {"help"}:
        assert f"`--{option}" in page("benchmarks/COMMANDS.md"), option


def test_a_wrong_command_is_refused():
    for module, words in (("benchmarks.run", ["--sets", "x"]), ("reports.build", ["--nothing"])):
        with pytest.raises(SystemExit):
            understand(module_of(module), words)
