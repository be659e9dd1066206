"""Files that are opened: never more in memory than on the disk, never a reader without end."""

import struct
import zipfile

import pytest
import torch

from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.settings import load
from benchmarks.scoring import unpacking, weights
from benchmarks.scoring.unpacking import load_checkpoint
from benchmarks.training.checkpoint import latest, save
from results import Run


def refused(path, told):
    for read in (weights.read, load_checkpoint):
        with pytest.raises(UserError, match=told):
            read(path)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.pt"
    torch.save({"a": torch.arange(4.0), "b": torch.ones(3)}, path)
    return path


def test_what_torch_and_this_project_write_is_whole(whole):
    assert unpacking.damage(whole) is None and unpacking.strange(whole) is None
    unpacking.sign(whole)
    assert unpacking.damage(whole) is None and torch.equal(load_checkpoint(whole)["a"], torch.arange(4.0))


def test_two_directories(whole, tmp_path):
    """Python reads the archive behind, torch the parts before it."""
    other = tmp_path / "other.pt"
    torch.save({"c": torch.ones(9)}, other)
    bad = tmp_path / "bad.pt"
    bad.write_bytes(other.read_bytes() + whole.read_bytes())
    refused(bad, "several directories")
    content = whole.read_bytes()
    locator = content.find(b"PK\6\7")
    for place in (locator - 8, locator + 8):  # where the directory starts, where the record is that says so
        moved = bytearray(content)
        struct.pack_into("<Q", moved, place, 0)
        bad.write_bytes(moved)
        refused(bad, "several directories|damaged")
    moved = bytearray(rewritten(bad, {"version": "3"}).read_bytes() + bytes(60))  # another directory in the comment
    struct.pack_into("<LH", moved, len(moved) - 66, len(moved) - 60, 60)
    bad.write_bytes(moved)
    refused(bad, "several directories")


def rewritten(path, parts, change=lambda archive: None, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(f"x/{name}", content)
        change(archive)
    return path


def test_parts_that_unpack_to_more_than_the_file(tmp_path):
    parts = {"version": "3", "data.pkl": b"\x80\x02}.", "data/0": bytes(2**20)}
    bad = tmp_path / "bad.pt"
    refused(rewritten(bad, parts, method=zipfile.ZIP_DEFLATED), "compressed")

    def twice(archive):
        again = zipfile.ZipInfo("x/data/1")
        part = archive.filelist[-1]
        again.header_offset, again.CRC = part.header_offset, part.CRC
        again.file_size = again.compress_size = part.file_size
        archive.filelist.append(again)

    refused(rewritten(bad, parts, twice), "overlap")
    with pytest.warns(UserWarning, match="Duplicate"):
        refused(rewritten(bad, parts, lambda archive: archive.writestr("x/data/0", "1")), "one name")
    refused(rewritten(bad, parts | {"constants.pkl": "1"}), "TorchScript")
    refused(rewritten(bad, {"version": "3", "data.pkl": bytes(2**25 + 1)}), "32 at most")


def text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


DOUBLED = b"\x80\x02K\x01\x85q\x00" + 60 * b"h\x00h\x00\x86q\x00" + b"}h\x00Ns."
ENCODED = (
    b"\x80\x02c_codecs\nencode\nq\x01"
    + text("aaaa")
    + b"q\x00"
    + 60 * (b"h\x01h\x00" + text("hex") + b"\x86Rq\x00")
    + b"}."
)
WALKED = b"\x80\x02cbuiltins\nset\ncbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R\x85R."
HANDED = (
    b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\nset\nctorch\nTensor\n"
    b"cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R\x85}tR."
)
CONVERTED = b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n."


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (DOUBLED, "nested beyond measure"),
        (ENCODED, "calls on the results of calls"),
        (WALKED, "calls on the results of calls"),
        (HANDED, "calls on the results of calls"),
        (CONVERTED, r"\.cpu\(\)"),
        (b"\x80\x02}", "damaged, cut short or not of torch.save"),
        (b"\x80\x02h\x09.", "damaged, cut short or not of torch.save"),
    ],
)
def test_an_index_that_grows(index, told, tmp_path):
    refused(rewritten(tmp_path / "bad.pt", {"data.pkl": index, "version": "3"}), told)
    legacy = tmp_path / "legacy.pt"
    legacy.write_bytes(index)
    with pytest.raises(UserError, match=told):
        weights.read(legacy)


def test_deep_nesting_is_read_and_left_alone(tmp_path):
    index = b"\x80\x02" + 50_000 * (b"}" + text("model")) + b"N" + 50_000 * b"s" + b"."
    path = rewritten(tmp_path / "deep.pt", {"data.pkl": index, "version": "3"})
    with pytest.raises(UserError, match="missing"):
        weights.load_published(path, "nafnet", "tiny")


def test_a_runs_checkpoint_with_other_content_is_one_sentence(tmp_path, capsys):
    config = resolve(load("three_task"), "nafnet", "mix")
    run = Run(tmp_path)
    rhythm = {"steps": [1, 3], "values": torch.ones(2, 4, 5), "running": torch.ones(5)}
    good = {"network": {}, "optimizer": {}, "strategy": {}, "step": 3, "seconds": 1.0, "skipped": 0, "learned": True}
    good |= {"rhythm": rhythm, "norms": torch.ones(3), "hash": config.hash}
    save(run, good)
    for key, value, told in [
        ("step", "3", "its 'step' is a str"),
        ("step", 10**9, f"its step is 1000000000 of {config.train.steps}"),
        ("step", True, "its 'step' is a bool"),
        ("seconds", float("nan"), "its seconds or its number of skipped"),
        ("learned", 1, "its 'learned' is a int"),
        ("norms", torch.ones(2), "its 'norms' is of another form"),
        ("conflicts", [1], "its probes of conflicts"),
        ("curve", {"images": [8], "seconds": 1.0, "rows": [(4, "derain", 8, 1.0, 20.0)]}, "its validation curve"),
        ("rhythm", rhythm | {"running": torch.ones(2)}, "its 'running' is of another form"),
        ("rhythm", rhythm | {"values": torch.ones(2, 4, 5).to_sparse()}, "its 'rhythm' is of another form"),
        ("rhythm", rhythm | {"steps": [1, 4]}, "its rhythm has other steps than it"),
        ("network", [1], "its 'network' is a list"),
        ("optimizer", None, "its 'optimizer' is a NoneType"),
        ("skipped", -1, "its number of skipped updates"),
    ]:
        save(run, good)
        save(run, good | {key: value})
        assert latest(tmp_path, config, 5)["step"] == 3
        assert told in capsys.readouterr().err
    (tmp_path / "checkpoint-previous.pt").unlink()
    save(run, {key: value for key, value in good.items() if key != "optimizer"})
    (tmp_path / "checkpoint-previous.pt").unlink()
    with pytest.raises(UserError, match="there is no 'optimizer' in it"):
        latest(tmp_path, config, 5)
