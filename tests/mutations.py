"""Files that are not as they were written: every kind that a run leaves or reads, damaged in many ways.

A case damages one file and lets the project read it. It is well when the damage is told in a sentence (or a note), or
changes nothing; it is lost when it goes unseen, raises anything else, takes long, or takes much memory.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from miniature import picture, three_task
from PIL import Image

from results import Damaged, Run
from results.schema import DIGESTS, GUARDED

SECONDS, MEMORY = 20, 1.5 * 2**30  # of one case, at most; memory grown in all
Case = Callable[[random.Random], str]


def mutated(good: bytes, chance: random.Random) -> bytes:
    """One of the ways in which files rot: a flipped bit, a lost or doubled part, zeros, noise, an end cut off."""
    place, length = chance.randrange(len(good) + 1), chance.choice([1, 1, 8, 64, 512])
    end = place + length
    return chance.choice([
        lambda: _flipped(good, chance),
        lambda: good[:place],
        lambda: good[:place] + good[end:],
        lambda: good[:end] + good[place:],
        lambda: good[:place] + bytes(min(length, len(good) - place)) + good[end:],
        lambda: good[:place] + chance.randbytes(length) + good[end:],
        lambda: good[:place] + chance.choice([b"9", b"-", b"nan", b"1e999", b"\n", b'"', b"[", b"{}"]) + good[place:],
        lambda: chance.choice([b"", b"\0" * len(good), chance.randbytes(len(good)), good + good]),
    ])()  # fmt: skip


def _flipped(good: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(good)) if good else 0
    return good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :] if good else b"\0"


def _alike(path: Path, bad: bytes, good: bytes) -> bool:
    """Whether both say the same; space between the words of a JSON file says nothing."""
    return bad == good or (path.suffix == ".json" and json.loads(bad) == json.loads(good))


@contextmanager
def damaged(path: Path, chance: random.Random) -> Iterator[bytes]:
    """The file while it is damaged; it is well again afterwards."""
    good = path.read_bytes()
    path.write_bytes(bad := mutated(good, chance))
    try:
        yield bad
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(good)


def of_a_run(run: Run) -> dict[str, Case]:
    """The files that a run leaves, read for a table."""
    names = [name for name in (*GUARDED, DIGESTS) if (run.folder / name).exists()]

    def case(name: str) -> Case:
        def look(chance: random.Random) -> str:
            path = run.folder / name
            good = path.read_bytes()
            with damaged(path, chance) as bad:
                told = run.damage()
                legible = run.legible()
                for read in (lambda: legible.record, lambda: legible.environment, lambda: legible.data,
                             lambda: legible.status, legible.scores, legible.rhythm, legible.conflicts,
                             legible.curve):  # fmt: skip
                    read()
                return "told" if told else "same" if _alike(path, bad, good) else "SILENT"

        return look

    return {name: case(name) for name in names}


def of_a_report(run: Run) -> dict[str, Case]:
    """Any file of a run, and the report of its setting."""
    from reports.build import build

    output = run.folder.parents[4]
    names = [path for path in sorted(run.folder.rglob("*")) if path.is_file() and path.suffix != ".pt"]

    def look(chance: random.Random) -> str:
        path = chance.choice(names)
        good = path.read_bytes()
        with damaged(path, chance) as bad:
            text = build("three_task", output, formats=[]).text
            told = "damaged" in text or "missing" in text
            guarded = path.name in (*GUARDED, DIGESTS)
            return "told" if told else "same" if not guarded or _alike(path, bad, good) else "SILENT"

    return {"report": look}


def of_an_archive(run: Run, folder: Path) -> dict[str, Case]:
    """Runs kept in a few files."""
    from results.archive import pack
    from results.kept import kept_runs

    pack(run.folder.parents[4], "three_task", folder)

    def look(chance: random.Random) -> str:
        path = chance.choice(sorted(folder.iterdir()))
        good = path.read_bytes()
        with damaged(path, chance) as bad:
            try:
                kept_runs(folder)
            except Damaged:
                return "told"
            return "same" if _alike(path, bad, good) else "SILENT"

    return {"archive": look}


def of_checkpoints(run: Run) -> dict[str, Case]:
    """A run's checkpoint, to be continued."""
    import torch

    from benchmarks.config.errors import UserError
    from benchmarks.scoring.unpacking import load_checkpoint

    path = run.folder / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)["network"]

    def look(chance: random.Random) -> str:
        with damaged(path, chance):
            try:
                found = load_checkpoint(path)["network"]
            except UserError:
                return "told"
            return "same" if all(torch.equal(found[key], value) for key, value in whole.items()) else "SILENT"

    return {"checkpoint": look}


def of_weights(folder: Path) -> dict[str, Case]:
    """A published checkpoint."""
    import torch

    import baselines
    from benchmarks.config.errors import UserError
    from benchmarks.scoring.weights import load_published

    folder.mkdir()
    network = baselines.build("nafnet", "tiny")
    whole, path = network.state_dict(), folder / "weights.pth"
    torch.save({"params": whole}, path)

    def look(chance: random.Random) -> str:
        with damaged(path, chance):
            try:
                found = load_published(path, "nafnet", "tiny").network.state_dict()
            except UserError:
                return "told"
            return "same" if all(torch.equal(found[key], value) for key, value in whole.items()) else "SILENT"

    return {"weights": look}


def of_the_cache(folder: Path) -> dict[str, Case]:
    """The cache of decoded images: the pixels come out as they are, whatever lies there."""
    from benchmarks.data.images import open_images

    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(picture(number, 20, 24)).save(path)
    open_images(paths, folder / "cache", "x")
    (kept,) = (folder / "cache").glob("x-*")

    def look(chance: random.Random) -> str:
        shutil.copytree(kept, folder / "kept")
        path = chance.choice(sorted(kept.iterdir()))
        try:
            path.write_bytes(mutated(path.read_bytes(), chance))
            images, problems = open_images(paths, folder / "cache", "x")
            fine = not problems and all(
                np.array_equal(images[number], picture(number, 20, 24)) for number in range(len(paths))
            )
            return "mended" if fine else "SILENT"
        finally:
            shutil.rmtree(folder / "cache")
            (folder / "cache").mkdir()
            shutil.move(folder / "kept", kept)

    return {"cache": look}


def of_pictures(folder: Path) -> dict[str, Case]:
    """Pictures of strangers: read, or refused in words."""
    from benchmarks.data.decoding import UnusableImage, decode, shape_of
    from benchmarks.scoring import photos

    folder.mkdir()
    image = Image.fromarray(picture(3, 40, 52))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    for ending, options in {"png": {"exif": exif}, "jpg": {"exif": exif}, "webp": {"exif": exif}, "tif": {}, "bmp": {},
                            "gif": {}, "ppm": {}}.items():  # fmt: skip
        image.save(folder / f"a.{ending}", **options)

    def look(chance: random.Random) -> str:
        path = chance.choice(sorted(folder.iterdir()))
        found = "read"
        with damaged(path, chance):
            for read in (shape_of, decode, photos.read):
                try:
                    read(path)
                except UnusableImage:
                    found = "told"
        return found

    return {"picture": look}


def of_lists(folder: Path) -> dict[str, Case]:
    """List files of data sets: what they leave out or cannot say is noted."""
    from benchmarks.config.data_sets import known
    from benchmarks.data import layouts

    three_task(folder)
    names = sorted(path.name for path in (folder / "OTS/synthetic").rglob("*.jpg"))
    path = folder / "OTS/hazy_outside.txt"
    path.write_text("\n".join(names) + "\n")

    def look(chance: random.Random) -> str:
        with damaged(path, chance):
            located = layouts.locate(known().get("OTS"), folder)
            whole = len(located.pairs) == len(names)
            return "same" if whole and not located.notes else "told" if located.notes or located.problems else "SILENT"

    return {"list": look}


def exercise(folder: Path, count: int, seed: int, run: Run) -> Counter:
    """``count`` cases over all kinds; what became of them by ``(kind, outcome)``.

    Args:
        folder: an empty one, for the files.
        count: cases.
        seed: of what is damaged, and how.
        run: a finished one of three_task, in a store of its own.
    """
    kinds = of_a_run(run) | of_a_report(run) | of_an_archive(run, folder / "archive")
    kinds |= of_checkpoints(run) if (run.folder / "checkpoint.pt").exists() else {}
    kinds |= of_weights(folder / "weights") | of_the_cache(folder / "cached") | of_pictures(folder / "pictures")
    kinds |= of_lists(folder / "lists")
    chance, found, before = random.Random(seed), Counter(), _memory()
    slow = {"report": 20, "weights": 4}  # one in so many
    names = [name for name in kinds for _ in range(60 // slow.get(name, 1))]
    for _ in range(count):
        name, number = chance.choice(names), chance.randrange(2**32)
        began = time.monotonic()
        try:
            outcome = kinds[name](random.Random(number))
        except Exception as error:
            outcome = f"RAISED {type(error).__name__}: {str(error)[:80]} (case {number})"
        if time.monotonic() - began > SECONDS:
            outcome = f"SLOW (case {number})"
        found[name, outcome] += 1
    if _memory() - before > MEMORY:
        found["memory", f"LOST {(_memory() - before) / 2**20:.0f} MiB"] += 1
    return found


def lost(found: Counter) -> list[str]:
    """The outcomes that must not be."""
    return [f"{kind}: {outcome} x {number}" for (kind, outcome), number in found.items()
            if outcome not in ("told", "same", "mended", "read")]  # fmt: skip


def table(found: Counter) -> str:
    """Kinds by outcome."""
    rows = pd.Series({key: number for key, number in sorted(found.items())}).unstack(fill_value=0)
    return rows.to_string()


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if os.name == "posix" else 0.0
