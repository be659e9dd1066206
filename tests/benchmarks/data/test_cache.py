"""The cache of decoded images: damage is noticed and told, never used; identities follow the pixels."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature import picture, save

from benchmarks.config.errors import UserError
from benchmarks.data import images
from benchmarks.data.decoding import decode
from benchmarks.data.images import open_images
from benchmarks.data.scenes import scenes


@pytest.fixture
def paths(tmp_path):
    for number in range(3):
        save(tmp_path / f"in/{number}.png", picture(number, 20 + number, 30))
    return sorted((tmp_path / "in").iterdir())


def opened(paths, tmp_path, **more):
    found, problems = open_images(paths, tmp_path / "cache", "set", **more)
    assert not problems
    return found


def right(found, paths):
    return all(np.array_equal(found[number], decode(path)) for number, path in enumerate(paths))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit of a pixel": lambda folder: flip(folder / "pixels.u8", 1900),
    "pixels cut short": lambda folder: (folder / "pixels.u8").write_bytes((folder / "pixels.u8").read_bytes()[:2000]),
    "no pixels": lambda folder: (folder / "pixels.u8").unlink(),
    "an index cut short": lambda folder: (folder / "index.json").write_text((folder / "index.json").read_text()[:40]),
    "another place": lambda folder: (folder / "index.json").write_text(
        (folder / "index.json").read_text().replace("1800", "1803", 1)
    ),
    "no index at all": lambda folder: (folder / "index.json").write_text("[]"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_cache_is_told_once_and_made_anew(case, paths, tmp_path, capsys):
    before = opened(paths, tmp_path).identity
    (folder,) = (tmp_path / "cache").iterdir()
    DAMAGE[case](folder)
    for _ in range(2):
        found = opened(paths, tmp_path)
        assert right(found, paths) and right(found, paths) and found.identity == before
    told = capsys.readouterr().err
    assert told.count("warning:") == 1 and f"the cache of decoded images {folder} is damaged" in told
    assert right(opened(paths, tmp_path), paths) and not capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_damage_is_noticed_by_every_process_of_its_own(paths, tmp_path, capsys):
    found = opened(paths, tmp_path)
    assert right(found, paths)
    other = pickle.loads(pickle.dumps(found))  # as a worker gets it
    (folder,) = (tmp_path / "cache").iterdir()
    flip(folder / "pixels.u8", 0)
    assert np.array_equal(other[0], decode(paths[0])) and "is damaged" in capsys.readouterr().err


def test_neither_cache_nor_file_as_it_was(paths, tmp_path):
    found = opened(paths, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    flip(folder / "pixels.u8", 0)
    save(paths[0], picture(9, 20, 30))
    with pytest.raises(UserError, match=r"0\.png: other pixels than when it was first opened"):
        found[0]


def test_identities_are_of_pixels_or_of_files(paths, tmp_path):
    cached, streamed = opened(paths, tmp_path / "1"), opened(paths, tmp_path / "2", limit=0)
    assert (cached.identity[0], streamed.identity[0], len(cached.identity)) == ("p", "f", 17) and streamed.streams
    assert [opened(paths, tmp_path / "2", limit=0).digest(n) for n in range(3)] == [
        streamed.digest(n) for n in range(3)
    ]
    other = opened(paths[::-1], tmp_path / "1")
    assert other.identity != cached.identity and other.digest(0) == cached.digest(2)
    paths[0].rename(paths[0].with_suffix(".bmp"))
    save(paths[0].with_suffix(".bmp"), picture(0, 20, 30))  # the same pixels in another file
    changed = [paths[0].with_suffix(".bmp"), *paths[1:]]
    assert opened(changed, tmp_path / "1").identity == cached.identity
    assert opened(changed, tmp_path / "2", limit=0).identity != streamed.identity


def test_two_processes_make_one_cache(paths, tmp_path, monkeypatch):
    finished = tmp_path / "finished"
    opened(paths, finished)
    (made,) = (finished / "cache").iterdir()
    folder, move = tmp_path / "cache" / made.name, images._move

    def other_is_quicker(temporary, place, count):
        shutil.copytree(made, place)
        move(temporary, place, count)

    monkeypatch.setattr(images, "_move", other_is_quicker)
    assert right(opened(paths, tmp_path), paths)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.name]
    shutil.rmtree(folder)
    (made / "index.json").unlink()  # the other was stopped, or what it left is damaged
    assert right(opened(paths, tmp_path), paths)
    assert len(json.loads((folder / "index.json").read_text())["images"]) == 3


def test_large_sets_hold_few_results_at_a_time(paths, monkeypatch):
    monkeypatch.setattr("benchmarks.data.decoding.HELD", 5)
    running, most = [], []

    def look(path: Path):
        running.append(path)
        return path

    for path, _, _ in images.attempts(look, list(range(50)), "", [3] * 50):
        most.append(len(running) - path)
    assert max(most) <= 2


def test_scenes_are_drawn_again_where_they_are_damaged(tmp_path, capsys):
    first, depths, digests = scenes(tmp_path, "test", 2, 32)
    first, depths = first.copy(), depths.copy()
    names = sorted(path.name for path in tmp_path.iterdir())
    for damage in (
        lambda: flip(tmp_path / "scenes-test-images.npy", 999),
        lambda: (tmp_path / "scenes-test-depths.npy").write_bytes(b""),
        lambda: (tmp_path / "scenes-test.json").write_text("{"),
    ):
        damage()
        found = scenes(tmp_path, "test", 2, 32)
        assert np.array_equal(found[0], first) and np.array_equal(found[1], depths) and found[2] == digests
        assert "training scenes" in capsys.readouterr().err
    scenes(tmp_path, "test", 2, 32)
    assert not capsys.readouterr().err and names == sorted(path.name for path in tmp_path.iterdir())
