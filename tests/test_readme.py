"""The README is true: its loop runs, its commands parse, its files exist."""

import re
import shlex
from pathlib import Path

import pytest
import torch

import art
from benchmarks.run import parser

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language=""):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_it_opens_with_the_two_commands():
    first = TEXT.splitlines()[:3]
    assert first[0] == "```" and first[1].startswith("make run") and first[2].startswith("make test")


def test_what_make_does_stands_beside_it_in_plain_python():
    lines = re.findall(r"^\t\$\(BIN\)/(python -m .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.replace(" --quiet", "") for line in lines]
    assert len(commands) == 3
    for command in commands:
        assert re.search(rf"^{re.escape(command)}( *#.*)?$", TEXT, re.MULTILINE), command


def test_art_in_a_foreign_training_loop():
    (loop,) = blocks("python")
    assert len([line for line in loop.splitlines() if line.strip()]) < 10
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 1)
    clean = torch.rand(12, 3, 8, 8)
    task = torch.arange(12) % 2  # the third task is absent
    scope = {
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=1.0),
        "batches": [(clean * 0.5, clean, task)] * 40,
    }
    before = (network(clean * 0.5) - clean).abs().mean()
    exec(loop, scope)
    criterion, after = scope["criterion"], (network(clean * 0.5) - clean).abs().mean()
    assert isinstance(criterion, art.Art) and criterion.weights[2] == 0
    assert after < 0.6 * before and scope["losses"][:2].lt(before).all()


def test_every_command_of_the_readme_is_understood():
    lines = [line.split("#")[0] for block in blocks() for line in block.splitlines()]
    commands = [shlex.split(line)[3:] for line in lines if line.startswith("python -m benchmarks.run")]
    assert len(commands) >= 5
    for command in commands:
        parser().parse_args(command)


def test_every_option_is_described():
    options = {
        word.removeprefix("--") for action in parser()._actions for word in action.option_strings if word[:2] == "--"
    }
    for option in options - {"help"}:
        assert f"`--{option}" in TEXT, option


DOCUMENTS = [path for path in ROOT.rglob("*.md") if not {".venv", ".git"} & {*path.parts}]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_documents_name_is_there(document):
    text = document.read_text("utf-8")
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target
    for target in re.findall(r"`((?:art|baselines|benchmarks|reports|results)/[\w/]+\.(?:py|toml|csv))`", text):
        assert (ROOT / target).exists() or (document.parent / target).exists(), target
