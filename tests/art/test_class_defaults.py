"""One's own class has its defaults from its signature: a value at its default is no other strategy."""

import pytest

import art

MODULE = """
import torch
from torchjd.scalarization import Scalarizer

class Temp(Scalarizer):
    def __init__(self, temperature: float = 1.0, sharp: bool = False, kind: str = "soft", size=None):
        super().__init__()

    def forward(self, values):
        return values.mean()
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "ownclass.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        ("temperature=1.0", ""),
        ("temperature=1", ""),
        ("sharp=false:temperature=1:kind=soft", ""),
        ("temperature=2.0", ":temperature=2"),
        ("temperature=true", ":temperature"),  # true is no 1
        ("sharp", ":sharp"),
        ("size=1:temperature=1", ":size=1"),
    ],
)
def test_what_is_at_its_default_is_left_out(typed, spelt):
    assert art.canonical(f"ownclass:Temp:{typed}") == f"ownclass:Temp{spelt}"
    assert art.canonical(f"crmogm:of=ownclass:Temp:{typed}") == f"crmogm:of=ownclass:Temp{spelt}"


def test_all_parameters_are_told():
    assert art.parameters("ownclass:Temp:temperature=3") == {"temperature": 3, "sharp": False, "kind": "soft"}
    assert art.parameters("art:tau=1")["momentum"] == 0.01


def test_a_class_that_cannot_be_imported_keeps_what_was_typed():
    assert art.canonical("nowhere:Temp:b=1:a=2") == "nowhere:Temp:a=2:b=1"
    assert art.parameters("nowhere:Temp:a=2") == {"a": 2}
