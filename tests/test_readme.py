"""The front page is short, and what it says of make is true; ``test_pages.py`` looks at what all pages have."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_it_opens_with_the_two_commands():
    first = TEXT.splitlines()[:3]
    assert first[0] == "```" and first[1].startswith("make run") and first[2].startswith("make test")


def test_what_make_does_stands_beside_it_in_plain_python():
    lines = re.findall(r"^\t\$\(BIN\)/(python -m .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.replace(" --quiet", "") for line in lines]
    assert len(commands) == 3
    for command in commands:
        assert re.search(rf"^{re.escape(command)}( *#.*)?$", TEXT, re.MULTILINE), command


def test_it_stays_a_front_page():
    """One screen or two: what is longer belongs to the page of a package."""
    assert len(TEXT.splitlines()) <= 100
    assert len(re.findall(r"!\[|<img", TEXT)) == 1
    assert len(re.findall(r"^\|[-:|]+\|$", TEXT, re.MULTILINE)) == 1
