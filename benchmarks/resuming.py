"""Checkpoints of runs: written whole, with the one before kept, and looked through before they are used."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.config import Config
from benchmarks.errors import UserError
from results import Run
from results.schema import CHECKPOINT, PREVIOUS

if TYPE_CHECKING:
    import torch


def save(run: Run, content: dict[str, Any]) -> None:
    """Write the run's checkpoint; the one that was there becomes :data:`results.schema.PREVIOUS`.

    Raises:
        OSError: if it cannot be written (a full disk); both files are then as they were.
    """
    import torch

    def write(path: Path) -> None:
        with _File(io.FileIO(path, "wb")) as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:
                raise file.trouble or error from None
        _sign(path)

    run.write(CHECKPOINT, write, keep=PREVIOUS)


def resumable(folder: Path) -> bool:
    """Whether there is a checkpoint, whatever its condition."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def latest(folder: Path, config: Config, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The newest intact checkpoint of a run, ``None`` where there is none; a damaged one is told of on stderr.

    Raises:
        UserError: if what is there is damaged beyond use or of another configuration.
    """
    damaged = []
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = load_checkpoint(path, device)
        except UserError as error:
            damaged.append(str(error))
            continue
        _same(content, path, config)
        for told in damaged:
            print(f"warning: {told} Continuing from the one before, after step {content['step']}.", file=sys.stderr)
        return content
    if damaged:
        raise UserError("no checkpoint can be used; move it away, or start the run anew with --fresh:", damaged)
    return None


def _same(content: dict[str, Any], path: Path, config: Config) -> None:
    wanted = config.identity()["hash"]
    if content.get("hash") != wanted:
        raise UserError(
            f"{path} belongs to another configuration ({content.get('hash')}, this run is {wanted}); "
            "move it away, or start the run anew with --fresh."
        )


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's content; code inside it is never executed.

    Raises:
        UserError: if the file cannot be read as a checkpoint, or its checksums tell that it was changed.
    """
    import torch

    problem = damage(path)
    if problem:
        raise UserError(f"{path} cannot be read as a checkpoint ({problem}).")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files; all mean the same to the user
        reason = str(error).strip().splitlines()[0][:160]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no checkpoint but a {type(content).__name__}.")
    return content


class _File(io.BufferedWriter):
    """Keeps the system's reason why it could not be written, which torch may cover with an error of its own."""

    trouble: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.trouble = error
            raise


_LENGTH = hashlib.sha256().digest_size * 2  # of the signature, in hexadecimal
_MARK = struct.pack("<H", _LENGTH)


def _sign(path: Path) -> None:
    """Put a digest of the file at its end, as the comment that ends a zip archive: its length, then itself.

    The checksums inside do not cover the archive's directory, which readers of damaged ones understand differently.
    """
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        if file.read() != b"\0\0":
            raise ValueError(f"{path}: torch.save ends its files otherwise than it did")
        digest = _digest(path, 2)
        file.seek(-2, os.SEEK_END)
        file.write(_MARK + digest)


def _digest(path: Path, but: int) -> bytes:
    """Of all but the last ``but`` bytes."""
    digest, left = hashlib.sha256(), path.stat().st_size - but
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(2**20, left))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest().encode()


def damage(path: Path) -> str | None:
    """What is wrong with a file of ``torch.save``, by the digest that this project's files end with and by the checksum
    of each part, neither of which torch looks at.

    A file whose parts are compressed, as torch never writes them, is refused: it may unpack to any size.
    """
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, _LENGTH + 2), os.SEEK_END)
            end = file.read()
        if end[:2] == _MARK and len(end) == _LENGTH + 2 and end[2:] != _digest(path, _LENGTH + 2):
            return "damaged: its digest is another"
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return "its parts are compressed, which torch does not do"
            part = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, zlib.error) as error:
        return f"damaged or cut short: {str(error) or type(error).__name__}"
    return f"damaged: the checksum of {part} is another" if part else None
