"""Sets too large to cache: decoded ahead in the background, and the batches stay the same to the bit."""

import threading

import pytest
import torch
from miniature import all_weather

from benchmarks.config import settings
from benchmarks.config.configuration import resolve
from benchmarks.config.errors import UserError
from benchmarks.config.sections import DataConfig
from benchmarks.data import sources
from benchmarks.data.batches import Batches
from benchmarks.data.cropping import Ahead

SETTING = settings.load("all_weather")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Batches by what may be cached: everything, or nothing."""
    root = all_weather(tmp_path / "data")
    data = DataConfig(source="files", root=str(root))

    def make(limit, baseline="transweather"):
        monkeypatch.setattr(sources, "CACHE_LIMIT", limit)
        prepared = sources.prepare(SETTING, data, (), tmp_path / f"cache-{limit}")
        config = resolve(SETTING, baseline, "mix", data=data, overrides=["train.patch=32", "train.steps=9"])
        return Batches(prepared.train, config, torch.device("cpu"))

    make.root = root
    return make


def same(one, other):
    sides = [(one.degraded, other.degraded), (one.clean, other.clean), (one.tasks, other.tasks)]
    sides += [(one.second, other.second)] if one.second is not None else []
    return all(torch.equal(*side) for side in sides)


@pytest.mark.parametrize("baseline", ["transweather", "airnet"])
def test_streamed_batches_are_the_cached_ones(baseline, made):
    cached, streamed = made(2**30, baseline), made(0, baseline)
    assert not any(pool.streams for pool in cached.pools) and all(pool.streams for pool in streamed.pools)
    expected = [cached(step) for step in range(9)]
    assert all(same(streamed(step), batch) for step, batch in enumerate(expected))
    assert same(streamed(7), expected[7]) and same(streamed(2), expected[2])  # asked for again, as after a resume
    for batches in (cached, streamed):
        batches.begin(3)
        assert same(batches(3), expected[3])
        batches.begin(5)
        assert same(batches(4), expected[4]) and same(batches(5), expected[5])  # another was begun
        batches.begin(9)
        assert batches._begun is None  # after the end


def test_a_file_that_goes_bad_is_named(made):
    streamed = made(0)
    for path in (made.root / "allweather/input").iterdir():
        path.write_text("gone bad since")
    with pytest.raises(UserError, match=r"allweather/input/.*: not an image"):
        streamed(0)


def test_ahead_asks_for_what_comes_next_and_no_further_than_the_end():
    asked, enough = [], threading.Event()

    def function(step):
        asked.append(step)
        if len(asked) >= 3:
            enough.set()
        return step

    ahead = Ahead(function, last=5)
    assert ahead(0) == 0 and enough.wait(5)
    assert [ahead(step) for step in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert sorted(asked) == [0, 1, 2, 3, 4]
    assert ahead(2) == 2
