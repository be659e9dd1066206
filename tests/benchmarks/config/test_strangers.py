"""What strangers write: configuration, list files, results of a cluster's workers, image and run names.

``FUZZ_CASES=10000 pytest tests/benchmarks/config/test_strangers.py`` (or ``tests/endurance.py fuzz``) tries more.
"""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import art
from benchmarks.config.configuration import resolve
from benchmarks.config.data_sets import _Written, known, parse
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig, EvaluateConfig, TrainConfig
from benchmarks.config.settings import load
from benchmarks.data.decoding import UnusableImage, decode
from benchmarks.data.layouts import locate
from benchmarks.execution import cluster
from benchmarks.execution.plan import Plan

CASES = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", 200)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SECTIONS = {"data": DataConfig, "train": TrainConfig, "evaluate": EvaluateConfig}
KEYS = st.sampled_from([f"{name}.{field}" for name, model in SECTIONS.items() for field in model.model_fields])
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "true",
            "[1, 2]",
            "{a = 1}",
            "[[",
            "'''",
            "1e999",
            "nan",
            "[" * 999,
            "9" * 5000,
            "1\nx = 2",
            "7 # x",
            "-1",
            "2026-01-01",
            "__import__('os')",
        ]
    ),
)
SPECS = st.lists(
    st.one_of(
        st.sampled_from(
            ["art", "mgda", "famo", "m.n", "Class", "tau=1", "lr=", "max_iters=1e400", "..", "", "\n", "x=nan"]
        ),
        st.text(max_size=8),
        st.floats().map(lambda value: f"tau={value!r}"),
        st.integers().map(lambda value: f"max_iters={value}"),
    ),
    min_size=1,
    max_size=4,
).map(":".join)
OVERRIDES = st.one_of(st.text(max_size=40), st.tuples(KEYS, VALUES).map("=".join))
NAMES = st.one_of(st.text(max_size=30), st.sampled_from(["../../x", "/etc/passwd", "..", "a/../../b", "mix\0", "~"]))


@CASES
@given(st.lists(OVERRIDES, max_size=3))
def test_any_override_gives_a_configuration_or_a_sentence(overrides):
    try:
        config = resolve(load("three_task"), "transweather", "mix", overrides=overrides)
    except UserError as error:
        assert str(error)
    else:
        assert len(config.hash) == 8


@CASES
@given(SPECS)
def test_any_spec_has_one_spelling_that_stays_or_a_sentence(spec):
    try:
        name, parameters = art.parse(spec)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    else:
        spelt = art.canonical(spec)
        assert art.canonical(spelt) == spelt and art.parse(spelt)[0] == name
        defaults = art.entries()[name].defaults if name in art.entries() else {}
        before, after = defaults | parameters, defaults | art.parse(spelt)[1]
        assert before.keys() == after.keys()
        assert all(after[key] == value or value != value for key, value in before.items())  # NaN of one's own classes


@CASES
@given(NAMES, NAMES, NAMES)
def test_any_name_is_refused_or_gives_a_folder_below_the_output(setting, baseline, strategy):
    output = Path("/somewhere/out")
    for name, *others in (
        (setting, "transweather", "mix"),
        ("three_task", baseline, "mix"),
        ("three_task", "airnet", strategy),
    ):
        try:
            setting = load(name)
            folder = Plan.of(setting, resolve(setting, *others), output).folder
        except UserError:
            continue
        assert Path(os.path.normpath(folder)).is_relative_to(output / "runs") and "\0" not in str(folder)
        assert len(folder.relative_to(output).parts) == 5


@CASES
@given(st.dictionaries(st.one_of(st.text(max_size=20), NAMES), st.just(b"x"), min_size=1, max_size=3))
def test_what_a_worker_sends_is_written_below_its_run_or_refused(tmp_path, files):
    folder = tmp_path / "runs/run"
    with contextlib.suppress(ValueError, OSError):
        cluster._unpack(files, folder)
    below = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(folder) for path in below)


@pytest.fixture(scope="module")
def allweather(tmp_path_factory):
    from miniature import all_weather

    return all_weather(tmp_path_factory.mktemp("data"))


LINES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["/etc/passwd", "../../../etc/passwd", "./allweather/input/castle_00001.jpg", "\\..\\x", "C:\\a.jpg"]
    ),
)


@CASES
@given(st.one_of(st.binary(max_size=200), st.lists(LINES, max_size=5).map(lambda lines: "\n".join(lines).encode(
    errors="surrogatepass"))))  # fmt: skip
def test_any_list_file_selects_among_the_files_that_are_there(allweather, content):
    (allweather / "allweather.txt").write_bytes(content)
    for name in ("AllWeather:raindrop", "AllWeather:snow"):
        located = locate(known().get(name), allweather)
        assert all(path.is_relative_to(allweather) and path.is_file() for path in located.files())


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["input", "gt", ".", "..", "*", "*/a", "/", "//x", "/x*/y", "~", "~nobody/x", "{key}", "{part}",
                     "{", "{0}", "}{", "*_{key}", "{key}.png", "(?P<key>x)", "(?P<key>", "[", "\0", "a" * 300]),
)  # fmt: skip
TABLES = st.dictionaries(
    st.one_of(st.sampled_from([*_Written.model_fields]), st.text(max_size=8)),
    st.one_of(WORDS, st.integers(-5, 2**70), st.booleans(), st.floats(), st.lists(WORDS, max_size=3),
              st.dictionaries(WORDS, WORDS, max_size=2)),
    max_size=5,
)  # fmt: skip


@CASES
@given(st.sampled_from(["Mine", "BSD400", "CDD-11"]), TABLES)
def test_any_table_of_a_data_set_is_read_or_told(allweather, name, table):
    found, problems = parse({name: table}, known().sets)
    assert bool(found) != bool(problems)
    for data_set in found.values():
        located = locate(data_set, allweather)
        assert data_set.where() and (located is None or all(path.is_file() for path in located.files()))


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path):
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b""))
    with pytest.raises(UnusableImage, match="more pixels than"):
        decode(bomb)
