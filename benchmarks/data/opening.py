"""Opening a located set: its images, and everything that is to be said about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.data import layouts
from benchmarks.data.images import Images, identity, open_images

Shape = tuple[int, int]


@dataclass
class Opened:
    """A set's ``targets``, and ``inputs`` where it is paired; where there are ``problems`` the images are of no use.
    ``notes`` are for information."""

    located: layouts.Located
    targets: Images
    inputs: Images | None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Stands for all its images, as :attr:`Images.identity` does."""
        return identity(images.identity for images in (self.targets, self.inputs) if images is not None)

    @property
    def title(self) -> str:
        """Names the set in the cache."""
        return _title(self.located)

    def only(self, numbers: Sequence[int]) -> Opened:
        """These of its samples, in this order; what there is to say of the set is said of all of it."""
        pairs = tuple(self.located.pairs[number] for number in numbers)
        inputs = None if self.inputs is None else self.inputs.only(numbers)
        return Opened(replace(self.located, pairs=pairs), self.targets.only(numbers), inputs)

    def shapes(self) -> dict[Path, Shape]:
        """Height and width of every target."""
        return {path: self.targets.shape(number) for number, path in enumerate(self.targets.paths)}


def _title(located: layouts.Located) -> str:
    return located.data_set.name.replace(":", "-")


def open_set(located: layouts.Located, cache: Path, limit: float) -> Opened:
    """Open a set's images; pixels up to ``limit`` bytes are cached."""
    title = _title(located)
    targets, bad = open_images([pair.target for pair in located.pairs], cache, f"{title}-target", limit)
    inputs = None
    if sources := [pair.input for pair in located.pairs if pair.input]:
        inputs, bad_inputs = open_images(sources, cache, f"{title}-input", limit)
        bad |= bad_inputs
    shown = names(located)
    problems = [*located.problems, *(f"{shown[path]}: {reason}" for path, reason in bad.items())]
    opened = Opened(located, targets, inputs, problems, list(located.notes))
    if not bad:
        sides = [images for images in (targets, inputs) if images is not None]
        shapes = {path: images.shape(n) for images in sides for n, path in enumerate(images.paths)}
        digests = {path: images.digest(n) for images in sides for n, path in enumerate(images.paths)}
        problems += different_sizes(located, shapes)
        opened.notes += [f"{shown[path]}: {note}" for images in sides for path, note in images.notes.items()]
        opened.notes += equal_pictures(located, digests)
    return opened


def names(located: layouts.Located) -> dict[Path, str]:
    """How messages name every file."""
    return {path: located.shown(path) for path in located.files()}


def size_text(shape: Shape) -> str:
    """Height and width for people."""
    return "x".join(map(str, shape))


def different_sizes(located: layouts.Located, shapes: Mapping[Path, Shape]) -> list[str]:
    """Pairs whose images are not of one size; files without a shape are passed over."""
    shown = names(located)
    return [
        f"{shown[pair.input]} and {shown[pair.target]}: a pair of different sizes, "
        f"{size_text(shapes[pair.input])} and {size_text(shapes[pair.target])}"
        for pair in located.pairs
        if pair.input and pair.input in shapes and pair.target in shapes and shapes[pair.input] != shapes[pair.target]
    ]


def too_small(located: layouts.Located, shapes: Mapping[Path, Shape], least: int, protocol: str) -> list[str]:
    """Targets that have a side shorter than the ``least`` that a protocol can score."""
    shown = names(located)
    return [
        f"{shown[path]}: {size_text(shape)} pixels, too small to be scored: {protocol} needs {least} a side at least"
        for path, shape in shapes.items()
        if path in shown and min(shape) < least
    ]


def equal_pictures(located: layouts.Located, digests: Mapping[Path, object]) -> list[str]:
    """Notes on inputs that equal their target, and on equal images under several names.

    Several inputs may share one clean scene; inputs, and the images of a clean set, are meant to differ.
    """
    shown = names(located)
    notes = [
        f"{shown[pair.input]} equals its target {shown[pair.target]}"
        for pair in located.pairs
        if pair.input and pair.input in digests and digests[pair.input] == digests.get(pair.target)
    ]
    groups: dict[object, list[Path]] = {}
    for path in dict.fromkeys(pair.input or pair.target for pair in located.pairs):
        if path in digests:
            groups.setdefault(digests[path], []).append(path)
    several = [group for group in groups.values() if len(group) > 1]
    return notes + [f"the same picture: {', '.join(shown[path] for path in group)}" for group in several]


def mirrored(opened: Iterable[Opened], patch: int) -> list[str]:
    """Notes on training images with a side shorter than the patches."""
    notes = []
    for images in opened:
        small = [path for path, shape in images.shapes().items() if min(shape) < patch]
        if small:
            are = "images are" if len(small) > 1 else "image is"
            notes.append(
                f"{images.located.data_set.name}: {len(small)} {are} smaller than patches of {patch} pixels and "
                f"mirrored at the edges to fill them, such as {names(images.located)[small[0]]}"
            )
    return notes
