"""Training images that are held out for validation: which, and what is left to train on.

Images are chosen by the pixels of their clean side alone, so neither names nor the order of files matter, nor whether a
set is cached on this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.config.errors import UserError
from benchmarks.config.settings import Task
from benchmarks.data.decoding import UnusableImage, attempts
from benchmarks.data.files import text
from benchmarks.data.images import digest_of_file, pixels_and_digest, stamp
from benchmarks.data.opening import Opened
from benchmarks.data.pools import Pool, TestPool, joined, with_depths
from results import write_atomically

SHARE = 4  # at most one of so many clean images of a task is held out


@dataclass(frozen=True)
class HeldOut:
    """Contents (digests of clean pixels) that are held out: ``chosen`` for each task, by its name, and ``all`` of them,
    on which no task trains. ``notes`` say where they are fewer than wanted."""

    chosen: Mapping[str, Sequence[str]]
    notes: Sequence[str]

    @property
    def all(self) -> frozenset[str]:
        """Of all tasks."""
        return frozenset(content for contents in self.chosen.values() for content in contents)


def choose(contents: Mapping[str, Sequence[str]], wanted: int) -> HeldOut:
    """Hold out ``wanted`` images of each task, and of none more than a quarter.

    What one task holds out no other trains on, so tasks that share images hold out the same ones. Where a task has too
    few images to hold out any, nothing is held out at all: a curve of some tasks only has no average.

    Args:
        contents: digests of the clean images of each task, by its name; equal ones are one image.
    """
    ranked = {task: sorted(set(digests), key=_rank) for task, digests in contents.items()}
    room = {task: len(digests) // SHARE for task, digests in ranked.items()}
    if small := [f"{task} ({len(ranked[task])})" for task, most in room.items() if not most]:
        reason = f"fewer than {SHARE} clean training images to hold some out of: {', '.join(small)}"
        return HeldOut({}, [f"no validation curve, as tasks have {reason}"])
    sharing: dict[str, list[str]] = {}
    for task, digests in ranked.items():
        for content in digests:
            sharing.setdefault(content, []).append(task)
    held: set[str] = set()
    chosen: dict[str, list[str]] = {}
    for task, digests in ranked.items():
        chosen[task] = []
        for content in digests:
            if len(chosen[task]) == wanted:
                break
            if content not in held:
                if not all(room[other] for other in sharing[content]):
                    continue
                held.add(content)
                for other in sharing[content]:
                    room[other] -= 1
            chosen[task].append(content)
    notes = [
        f"{task}: {len(found)} of {len(ranked[task])} clean training images are held out for validation, not {wanted}: "
        f"never more than one of {SHARE}"
        for task, found in chosen.items()
        if len(found) < wanted
    ]
    return HeldOut(chosen, notes)


def _rank(content: str) -> str:
    return hashlib.sha256(f"validation {content}".encode()).hexdigest()


def clean_contents(opened: Opened, cache: Path) -> list[str]:
    """The digest of the clean pixels of every sample.

    Clean images that are decoded when asked for are decoded once for it, their degraded partners never; the digests are
    kept in ``cache``.

    Raises:
        UserError: if one cannot be read, or the cache not be written.
    """
    targets = opened.targets
    if not targets.streams:
        return [targets.digest(number) for number in range(len(targets))]
    unique = list(dict.fromkeys(targets.paths))
    place = cache / f"{opened.title}-contents-{stamp(unique)}.json"
    digests = _kept(place, len(unique))
    if digests is None:
        digests = _digests(unique, opened.title)
        try:
            write_atomically(
                place, lambda temporary: temporary.write_text(json.dumps([digests, _seal(digests)]), "utf-8")
            )
        except OSError as error:
            raise UserError(f"cannot write digests of images to {cache}: {error.strerror or error}.") from error
    known = dict(zip(unique, digests, strict=True))
    return [known[path] for path in targets.paths]


def _digests(paths: Sequence[Path], title: str) -> list[str]:
    found: list[str] = []
    for path, decoded, problem in attempts(pixels_and_digest, paths, f"{title}: contents"):
        if decoded is None:
            raise UserError(f"{text(path)}: {problem}.")
        found.append(decoded[1])
    return found


def _kept(place: Path, count: int) -> list[str] | None:
    """Digests written before; ``None`` where there are none, or damaged ones."""
    with suppress(OSError, ValueError, TypeError):
        digests, seal = json.loads(place.read_bytes())
        if len(digests) == count and seal == _seal(digests):
            return digests
    return None


def _seal(digests: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def samples(sets: Sequence[tuple[Opened, Sequence[str]]], wanted: Sequence[str]) -> list[Opened]:
    """One sample of each wanted content, as a set of one.

    Of several with the same clean image, such as one scene under many hazes, it is that whose degraded file has the
    smallest digest.

    Args:
        sets: of a task, each with the contents of its samples.
    """
    found: dict[str, tuple[str, Opened]] = {}
    among = frozenset(wanted)
    for opened, contents in sets:
        for number, content in enumerate(contents):
            if content in among:
                one = opened.only([number])
                key = "" if one.inputs is None else _file_digest(one.inputs.paths[0])
                if content not in found or key < found[content][0]:
                    found[content] = key, one
    return [found[content][1] for content in wanted]


def _file_digest(path: Path) -> str:
    try:
        return digest_of_file(path)
    except UnusableImage as problem:
        raise UserError(f"{text(path)}: {problem}.") from problem


def without(opened: Opened, contents: Sequence[str], held: frozenset[str]) -> Opened:
    """The samples whose clean image is not held out."""
    return opened.only([number for number, content in enumerate(contents) if content not in held])


def pool(task: Task, contents: Sequence[str], ones: Sequence[Opened]) -> TestPool:
    """What a task is validated on: :func:`samples`, named by their contents, so that made degradations and invented
    depths do not depend on the names of files either."""
    parts = [
        with_depths(Pool(task, [content], one.targets, one.inputs)) for content, one in zip(contents, ones, strict=True)
    ]
    whole = joined(task, parts)
    return TestPool(task, whole.names, whole.clean, whole.inputs, whole.depths, f"validation-{task.name}")
