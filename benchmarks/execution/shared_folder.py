"""Whether other machines see a folder: as far as the kind of its file system tells."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
_NETWORK = re.compile(
    r"nfs\d?|lustre|gpfs|beegfs|ceph|fuse\..*|panfs|wekafs|cifs|smb3?|afs|orangefs|pvfs2|glusterfs|9p|virtiofs|vast.*|"
    r"autofs|ocfs2|gfs2|daos|quobyte|moosefs|dtfs"
)


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """Kind of the file system that a folder lies on (``nfs4``, ``ext4``); empty where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    place = folder.absolute().resolve()
    found: tuple[int, str] = (-1, "")
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:
            continue
        # the kernel writes spaces and the like as octal numbers
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1]))
        if place.is_relative_to(point) and len(point.parts) >= found[0]:
            found = (len(point.parts), words[2])
    return found[1]


def doubt(folder: Path, mounts: Path = MOUNTS) -> str:
    """What to say where a folder may be this machine's own; empty where it lies on a network's file system."""
    kind = file_system(folder, mounts)
    if not kind or _NETWORK.fullmatch(kind):
        return ""
    return (
        f"{folder} lies on {kind}, which may be this machine's own; the machines that jobs run on must see the same "
        "files below the same path, for nothing is sent."
    )
