"""Published data sets on disk: where their files are, and which input belongs to which target."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.config.data_sets import DataSet, Layout
from benchmarks.data.files import Tree, text
from benchmarks.data.pairing import Pair, Pairing


@dataclass(frozen=True)
class Located:
    """What of a set lies below a ``root``: the data root, or the set's own.

    ``problems`` name files that cannot be used, ``notes`` what is left out on purpose.
    """

    data_set: DataSet
    root: Path
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        """Every file once, targets first."""
        paths = [pair.target for pair in self.pairs] + [pair.input for pair in self.pairs if pair.input]
        return list(dict.fromkeys(paths))

    def shown(self, path: Path) -> str:
        """How messages name a file: by its path from the data root on, or whole."""
        return text(path if self.data_set.root else path.relative_to(self.root).as_posix())

    def fingerprint(self) -> str:
        """Digest of the names and sizes of the files: the same wherever the folder lies."""
        digest = hashlib.sha256(self.data_set.name.encode())
        for pair in self.pairs:
            for path in filter(None, (pair.input, pair.target)):
                line = f"{self._named(path).as_posix()} {_size(path)}\n"
                digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def _named(self, path: Path) -> Path:
        """The path from the data root on, as it would be where the set is usually looked for."""
        folder = self.root / self.data_set.folders[0]
        if self.data_set.known_as and path.is_relative_to(folder):
            return Path(self.data_set.known_as) / path.relative_to(folder)
        return path.relative_to(self.root)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # a link to nowhere; whoever opens it reports that


def locate(data_set: DataSet, root: Path | None) -> Located | None:
    """Find the set below ``root``, or where it says that it lies, and pair its files; ``None`` where no folder of its
    names exists.

    Names of folders and files may be in upper or lower case, and in any Unicode form. A folder without usable images,
    files whose names fit no layout, inputs or targets without partner, samples in several files and folders that cannot
    be read are ``problems``, by name; a further place where samples of the set lie is a note.
    """
    if data_set.root:
        root = Path(data_set.root)
        if not os.path.isdir(root):
            reason = f"{data_set.name} is to lie in {text(root)}, which is not a folder; --data-sets can name another"
            return Located(data_set, root, (), (reason,))
    if root is None:
        return None
    tree = Tree(root, whole=bool(data_set.root))
    folders, found, lone = [], [], []
    for folder, layouts in _places(data_set, tree):
        folders.append(folder)
        pairings = [Pairing(data_set, layout, folder, tree) for layout in layouts]
        lone += [problem for pairing in pairings if not pairing.pairs for problem in pairing.problems]
        found += sorted((pairing for pairing in pairings if pairing.pairs), key=lambda pairing: -len(pairing.pairs))
    if not found:
        problems = [f"{place}: a link that leads nowhere" for place in data_set.folders if _lost(root / place)]
        if folders:
            such = f". Such as {lone[0]} (input_name and target_name say how names pair)" if lone else ""
            problems = [
                f"{tree.shown(folders[0])}: no image that fits the layout of {data_set.name}. {data_set.where()}{such}"
            ]
        problems += tree.problems
        return Located(data_set, root, (), tuple(problems), tuple(tree.notes)) if problems else None
    best, *others = found
    best.tell_folders()
    best.keep_listed()
    notes = [*best.notes, *tree.notes]
    if others:
        places = "; ".join(f"{other.place} ({len(other.pairs)} samples)" for other in others)
        notes.append(f"{data_set.name} lies in several places: {best.place} is used, not used are {places}")
    return Located(data_set, root, tuple(best.pairs), (*best.problems, *tree.problems), tuple(notes))


def _places(data_set: DataSet, tree: Tree) -> Iterator[tuple[Path, list[Layout]]]:
    """Folders that the set may lie in and that are there, each once with the layouts that are for it."""
    seen = set()
    for place in dict.fromkeys((*data_set.folders, *(f for layout in data_set.layouts for f in layout.folders))):
        specific = [layout for layout in data_set.layouts if place in layout.folders]
        layouts = specific or [layout for layout in data_set.layouts if not layout.folders]
        for folder in tree.alike(tree.root, place):
            key = os.path.realpath(folder), tuple(map(id, layouts))
            if key not in seen:
                seen.add(key)
                yield folder, layouts


def _lost(path: Path) -> bool:
    return path.is_symlink() and not os.path.exists(path)


def pairs_in(data_set: DataSet, folder: Path, root: Path) -> bool:
    """Whether some layout of the set finds samples in ``folder``."""
    tree = Tree(root)
    return any(Pairing(data_set, layout, folder, tree).pairs for layout in data_set.layouts if not layout.shared)
