"""What a cluster's workers send of a run: taken whole, or refused with a reason and nothing written."""

import contextlib
import io
import json
import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.execution import answers, cluster
from benchmarks.execution.answers import AnswerError
from results import Status, schema
from results.records import Fault, RunRecord, State

CONFIG = {"setting": "three_task", "baseline": "nafnet", "strategy": "mix"}
RECORD = RunRecord.model_validate({"hash": "12345678", "config": CONFIG})

OTHER = json.dumps(RECORD.content() | {"hash": "other"}).encode()


def parquet(table):
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


RHYTHM = pd.DataFrame([(1, "derain", 0.1, 0.1, 1.0, 0.2)], columns=list(schema.RHYTHM_COLUMNS))
CURVE = pd.DataFrame([(1, "derain", 2, 0.5, 20.0)], columns=list(schema.CURVE_COLUMNS))
SCORES = "dataset,task,image,protocol,metric,value,input_value,pixels\nS,derain,1,airnet_rgb,psnr,{},20.0,x\n"
GOOD = {"config.json": json.dumps(RECORD.content()).encode(), "environment.json": b"{}", "data.json": b"[]",
        "status": b"done\n", "digests.json": b"{}",
        "rhythm.parquet": parquet(RHYTHM), "curve.parquet": parquet(CURVE),
        "scores.csv": SCORES.format("25.0").encode(),
        "checkpoint.pt": bytes(range(256)), "samples/SOTS outdoor.png": b"p"}  # fmt: skip


def test_an_answer_arrives_as_it_was_sent(monkeypatch):
    monkeypatch.setattr(answers, "PIECE", 100)
    pieces = answers.sealed(Status(State.DONE, "...", Fault.COLLAPSED), GOOD)
    assert len(pieces) > 4 and max(map(len, pieces)) == 100
    status, files = answers.opened(pieces, RECORD)
    assert status == Status(State.DONE, "...", Fault.COLLAPSED)
    assert files == {
        name: content for name, content in GOOD.items() if name not in ("config.json", "status", "digests.json")
    }


@pytest.mark.parametrize(
    ("status", "change", "told"),
    [
        (Status("finished"), {}, "the state 'finished', which is none"),
        (Status(State.DONE), {"config.json": OTHER}, "the files of another run"),
        (Status(State.DONE), {"scores.csv": None}, "a finished run without scores.csv"),
        (Status(State.DONE), {"data.json": b"{}"}, "data.json is damaged"),
        (Status(State.DONE), {"environment.json": b"[" * 100_000}, "environment.json is damaged"),
        (Status(State.DONE), {"scores.csv": SCORES.format("999").encode()}, "a psnr outside -200 to 200"),
        (Status(State.DONE), {"rhythm.parquet": b"PAR1"}, "rhythm.parquet is damaged"),
        (Status(State.DONE), {"samples/sots OUTDOOR.png": b""}, "the same on some systems"),
        (Status(State.DONE), {f"samples/{i}.png": b"" for i in range(1001)}, "no run has more than 1000"),
        (Status(State.DONE), {"rhythm.parquet": bytes(2**20)}, "rhythm.parquet of 1 MiB, and 0 MiB are the limit"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused_by_name(status, change, told, monkeypatch):
    monkeypatch.setattr(answers, "SMALL", 2**18)
    files = {name: content for name, content in (GOOD | change).items() if content is not None}
    with pytest.raises(AnswerError, match=told):
        answers.opened(answers.sealed(status, files), RECORD)


NAMES = [
    "../x", "/etc/x", "samples/../x.png", "samples/a/b.png", "samples\\x.png", "C:x", "C:\\x", "samples/C:x.png",
    "samples/con.png", "samples/COM1.tar.png", "samples/nul .png", "samples/x.png.", "samples/x.png ", "samples/.x.png",
    "samples/x\0.png", "samples/x\n.png", "samples/\33[2J.png", "samples", "", ".lock", "Status", "status.",
    "mlflow.json", "samples/" + "x" * 250 + ".png",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none_of_a_run(name, tmp_path):
    with pytest.raises(ValueError, match="is none of a run"):
        cluster._unpack(GOOD | {name: b"x"}, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_links_in_the_runs_folder_lead_nowhere(tmp_path):
    folder, outside = tmp_path / "run", tmp_path / "outside"
    outside.mkdir()
    folder.mkdir()
    (outside / "kept").write_text("kept")
    (folder / "scores.csv").symlink_to(outside / "kept")
    cluster._unpack({"scores.csv": b"new"}, folder)  # replaces the link itself
    assert (outside / "kept").read_text() == "kept" and not (folder / "scores.csv").is_symlink()
    (folder / "samples").symlink_to(outside)
    with pytest.raises(AnswerError, match="samples is a link"):
        cluster._unpack(GOOD, folder)
    assert os.listdir(outside) == ["kept"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=int(os.environ.get("FUZZ_CASES", 200)), deadline=None)
@given(PLAIN, st.binary(max_size=60), st.integers(0, 400), st.data())
def test_any_answer_and_any_message_are_taken_or_refused(answer, noise, place, data):
    damaged = b"".join(answers.sealed(Status(State.DONE), GOOD))
    damaged = damaged[:place] + noise + damaged[place + data.draw(st.integers(0, 3)) :]
    head = json.dumps({"state": "done", "reason": "", "files": answer}, default=repr).encode() + b"\n"
    for tried in (answer, [damaged], [head, noise]):
        with contextlib.suppress(AnswerError):
            status, files = answers.opened(tried, RECORD)
            answers.check_files(files)
            assert status.state == "done" and {*answers.DONE} <= {*files}
    progress = {"phase": "training", "done": 1, "total": 2, "left": 3.0, "tasks": answer}
    for message in (answer, ("key", answer), ("key", progress), ("key", progress | {"done": answer})):
        with contextlib.suppress(AnswerError):
            _, sent = answers.progress(message)
            assert sent.content().keys() == {"phase", "done", "total", "left", "tasks"}
