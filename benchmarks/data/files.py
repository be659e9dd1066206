"""Which files are pictures: one rule for data sets and for ``benchmarks.restore``.

A picture is a file whose name ends in one of :data:`READ` or :data:`NOT_READ`, in any case of letters; linked files and
folders count like others. What has such a name and cannot be read (those of :data:`NOT_READ`, broken links, pipes,
devices, damaged files) is reported by name, never left out silently. Hidden and system files (:func:`is_hidden`) are
left out, and counted.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# what is in a file decides how it is read, not its ending
READ = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp",
     ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"]
)  # fmt: skip
_CAMERAS = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 sr2 srf srw x3f"
NOT_READ = frozenset(f".{name}" for name in f"heic heif hif jxl jp2 j2k j2c jpf jpx psd tga exr {_CAMERAS}".split())
_SYSTEM = frozenset(
    ["__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
     "@eadir", "@tmp", "#recycle", "#snapshot", "lost+found"]
)  # fmt: skip


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden (it begins with a dot) or a system's own (``__MACOSX``,
    ``Thumbs.db``, ``desktop.ini``, ``@eaDir``, ...)."""
    return name.startswith(".") or name.lower() in _SYSTEM


def ending(name: str) -> str:
    """The ending of a name, in small letters and without blanks behind it: ``.png``."""
    return os.path.splitext(name)[1].lower().rstrip()


def is_picture(name: str) -> bool:
    """Whether a file of that name is a picture."""
    return ending(name) in READ or ending(name) in NOT_READ


def plain(name: str) -> str:
    """A name as it is compared: in small letters and one Unicode form (macOS writes others than Linux and Windows)."""
    return unicodedata.normalize("NFC", name).lower()


def text(name: object) -> str:
    r"""A path or name as text that can be printed and written: bytes that are not UTF-8 as ``\xff``."""
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass
class Folder:
    """What lies directly in a folder, each sorted: ``pictures``, ``folders``, ``hidden`` pictures and folders, ``lost``
    links that lead nowhere and are no pictures by their name; ``problem``: why the folder cannot be read."""

    folder: Path
    pictures: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    lost: list[Path] = field(default_factory=list)
    problem: str = ""


def look(folder: Path) -> Folder:
    """List a folder; one bad entry hides no other. A file that is no folder, or nothing, is an empty one."""
    found = Folder(folder)
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                _sort_in(entry, folder / entry.name, found)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        found.problem = f"cannot be read ({error.strerror or error})"
    return found


def _sort_in(entry: os.DirEntry[str], path: Path, found: Folder) -> None:
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link to itself
        is_folder = False
    if is_hidden(entry.name):
        if is_folder or is_picture(entry.name):
            found.hidden.append(path)
    elif is_folder:
        found.folders.append(path)
    elif is_picture(entry.name):  # whoever opens it reports whether it can be read
        found.pictures.append(path)
    elif not os.path.exists(path):
        found.lost.append(path)


def not_regular(path: Path) -> str:
    """Why a file cannot be opened as one, or nothing; a pipe or a device would be waited for without end.

    Raises:
        OSError: if it is not there, or cannot be looked at.
    """
    return "" if stat.S_ISREG(os.stat(path).st_mode) else "not a regular file, but a folder, pipe or device"


def why(path: Path, error: OSError) -> str:
    """The system's reason for not reading a file, for people."""
    lost = isinstance(error, FileNotFoundError) and path.is_symlink()
    return f"cannot be read ({'a link that leads nowhere' if lost else error.strerror or error})"


class Tree:
    """Folders, each listed once; ``problems`` are about all, ``notes`` about those whose pictures were asked for, with
    paths from ``root`` on, or ``whole`` ones."""

    def __init__(self, root: Path, whole: bool = False):
        self.root, self.whole = root, whole
        self._listed: dict[Path, Folder] = {}
        self._asked: dict[Path, None] = {}

    def pictures(self, folder: Path) -> list[Path]:
        """The pictures directly in ``folder``, sorted."""
        self._asked[folder] = None
        return self._look(folder).pictures

    def folders(self, folder: Path, reported: bool = False) -> list[Path]:
        """The folders directly in ``folder``, sorted; ``reported``: also note what is wrong with it."""
        if reported:
            self._asked[folder] = None
        return self._look(folder).folders

    def unasked(self, folder: Path) -> list[Path]:
        """The folders directly in ``folder`` that hold pictures which were not asked for."""
        return [path for path in self.folders(folder) if path not in self._asked and look(path).pictures]

    def alike(self, folder: Path, place: str) -> list[Path]:
        """The folders ``place`` below ``folder``, whatever the case of their letters; the exact one first."""
        found = [folder]
        for part in Path(place).parts:
            found = [path for parent in found for path in self._named(parent, part)]
        return found

    def _named(self, parent: Path, name: str) -> list[Path]:
        exact = parent / name
        others = [path for path in self._look(parent).folders if plain(path.name) == plain(name)]
        if not os.path.isdir(exact):
            return others
        return [exact] + [path for path in others if not os.path.samefile(path, exact)]

    def named(self, folder: Path, name: str) -> list[Path]:
        """What has that name directly in ``folder`` and is no folder, whatever the case of its letters; the exact name
        first."""
        try:
            with os.scandir(folder) as entries:
                found = [folder / entry.name for entry in entries if plain(entry.name) == plain(name)]
        except OSError:
            return []
        return sorted((path for path in found if not os.path.isdir(path)), key=lambda path: (path.name != name, path))

    def _look(self, folder: Path) -> Folder:
        if folder not in self._listed:
            self._listed[folder] = look(folder)
        return self._listed[folder]

    def shown(self, path: Path) -> str:
        """The path from the root on, or the whole one."""
        return text(path if self.whole else path.relative_to(self.root).as_posix())

    @property
    def problems(self) -> list[str]:
        """Folders that cannot be read."""
        return [f"{self.shown(path)}: {listed.problem}" for path, listed in self._listed.items() if listed.problem]

    @property
    def notes(self) -> list[str]:
        """What was left out by its name, and links that lead nowhere."""
        asked = [self._look(path) for path in self._asked]
        lost = [f"{self.shown(path)}: a link that leads nowhere" for listed in asked for path in listed.lost]
        return hidden_note([self.shown(path) for listed in asked for path in listed.hidden]) + lost


def hidden_note(names: list[str]) -> list[str]:
    """One note about hidden and system files that were left out; none where there are none."""
    several = "s or folders are" if len(names) > 1 else " or folder is"
    return [f"{len(names)} hidden or system file{several} left out, such as {names[0]}"] if names else []


def walk(folder: Path) -> Iterator[Folder]:
    """Every folder from ``folder`` down, links followed, each real folder once however many links lead to it."""
    seen, waiting, linked = set(), [folder], []
    while waiting or linked:
        at = waiting.pop() if waiting else linked.pop(0)  # links last, so that a folder goes by its own name
        real = os.path.realpath(at)
        if real in seen:
            continue
        seen.add(real)
        listed = look(at)
        yield listed
        for path in listed.folders:
            (linked if path.is_symlink() else waiting).append(path)
