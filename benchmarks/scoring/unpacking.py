"""Whether a file of ``torch.save`` is whole and safe to open: checked before torch reads it.

torch's reader executes nothing, but trusts the file's structure. The rule here: what is unpacked is never larger than
the file. The parts of its archive are stored, one after the other, with one directory that every reader finds; its
index builds tensors and plain values, no chains of calls that grow.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from benchmarks.config.errors import UserError

if TYPE_CHECKING:
    import torch

ZIPPED = b"PK\3\4"  # what torch goes by
INDEX, INDEX_BYTES = "data.pkl", 2**25  # a network's is some 0.1 MB
NESTED = 10**6  # values in a tuple, its inner ones counted as often as they stand there

_LENGTH = hashlib.sha256().digest_size * 2  # of the signature, in hexadecimal
_MARK = struct.pack("<H", _LENGTH)
_END = struct.Struct("<4s4H2LH")  # of a zip archive: signature, ..., directory's length and start, comment's length
_END64, _LOCATOR = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")


def sign(path: Path) -> None:
    """Put a digest of the file at its end, as the comment that ends a zip archive: its length, then itself.

    The checksums inside do not cover the archive's directory, which readers of damaged ones understand differently.
    """
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        if file.read() != b"\0\0":
            raise ValueError(f"{path}: torch.save ends its files otherwise than it did")
        digest = _digest(path, leave_out=2)
        file.seek(-2, os.SEEK_END)
        file.write(_MARK + digest)


def _digest(path: Path, leave_out: int) -> bytes:
    """SHA-256 of the file without its last ``leave_out`` bytes, in hexadecimal."""
    digest, left = hashlib.sha256(), path.stat().st_size - leave_out
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(2**20, left))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest().encode()


def damage(path: Path) -> str | None:
    """What is wrong with a zip file of ``torch.save``: with the digest at the end of this project's files, the
    checksums of its parts (torch checks neither), or its structure; ``None`` if nothing is."""
    try:
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, _LENGTH + 2), os.SEEK_END)
            end = file.read()
            if end[:2] == _MARK and len(end) == _LENGTH + 2 and end[2:] != _digest(path, _LENGTH + 2):
                return "damaged: its digest is another"
            with zipfile.ZipFile(file) as archive:
                if problem := _ambiguous(file, archive) or _grows(archive):
                    return problem
                part = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, zlib.error) as error:
        return f"damaged or cut short: {str(error) or type(error).__name__}"
    except (struct.error, KeyError, IndexError, AttributeError, TypeError) as error:
        return f"damaged: {type(error).__name__}"
    return f"damaged: the checksum of {part} is another" if part else None


def strange(path: Path) -> str | None:
    """What in the index of an undamaged file of ``torch.save``, also of its older format, is foreign to weights and
    could grow, or run without end, while torch builds it; ``None`` if nothing is."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIPPED)) == ZIPPED:
                return _strange_parts(file)
            file.seek(0)
            for _ in range(5):  # magic number, version, system, content, storages
                if problem := _strange(file):
                    return problem
    except Exception as error:  # no pickle: pickletools raises many kinds
        return f"damaged, cut short or not of torch.save ({type(error).__name__})"
    return None


def reason(error: BaseException) -> str:
    """The kind of an error with the first line of its words, shortened."""
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    line = next(iter(text.splitlines()), "").partition(". ")[0].strip(".: ")
    return f"{type(error).__name__}: {line[:160]}" if line else type(error).__name__


def _ambiguous(file: BinaryIO, archive: zipfile.ZipFile) -> str | None:
    """Whether other readers may find another directory than Python's, which takes the one just before the end."""
    place = file.seek(0, os.SEEK_END) - _END.size - len(archive.comment)
    mark, *_, length, start, comment = _at(file, place, _END)
    sure = mark == b"PK\5\6" and comment == len(archive.comment)
    before = place - _LOCATOR.size
    if before >= _END64.size and (found := _at(file, before, _LOCATOR))[0] == b"PK\6\7":
        place = before - _END64.size
        mark, *_, length, start = _at(file, place, _END64)
        sure &= found[2] == place and mark == b"PK\6\6"
    if sure and start == archive.start_dir and start + length == place:
        return None
    return "damaged: it has several directories, or its directory is not where its end says"


def _at(file: BinaryIO, place: int, layout: struct.Struct) -> tuple[Any, ...]:
    file.seek(place)
    return layout.unpack(file.read(layout.size))


def _grows(archive: zipfile.ZipFile) -> str | None:
    """Whether parts unpack to more than they take up in the file, or may be confused with one another."""
    parts = sorted(archive.infolist(), key=lambda part: part.header_offset)
    if any(part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size for part in parts):
        return "its parts are compressed, which torch does not do"
    ends = [part.header_offset + 30 + part.compress_size for part in parts]  # 30: the least that a header takes
    starts = [part.header_offset for part in parts[1:]] + [archive.start_dir]
    if any(end > start for end, start in zip(ends, starts, strict=True)):
        return "damaged: its parts overlap"
    if len({part.filename.lower() for part in parts}) < len(parts):
        return "damaged: two of its parts have one name"
    if any(part.filename.rpartition("/")[2] == "constants.pkl" for part in parts):
        return "a program of TorchScript; save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), OTHER)"
    return None


def _strange_parts(file: BinaryIO) -> str | None:
    with zipfile.ZipFile(file) as archive:
        for part in archive.infolist():
            if part.filename.lower().endswith(INDEX):
                if part.file_size > INDEX_BYTES:
                    return f"its index has {part.file_size >> 20} MiB, {INDEX_BYTES >> 20} at most are read"
                if problem := _strange(io.BytesIO(archive.read(part))):
                    return problem
    return None


class _Value(NamedTuple):
    """Of a value on the unpickler's stack: values in it, if a tuple, and what is known of it and those inside."""

    size: int = 1
    marks: frozenset[str] = frozenset()


_PLAIN = _Value()
# Marks: a call's result; functions that walk through their argument; bytes encoded from a text, and the encoder.
_RESULT, _GREEDY, _BYTES, _ENCODER = "result", "greedy", "bytes", "encoder"
_TOGETHER = ({_RESULT, _GREEDY}, {_BYTES, _ENCODER})  # in one call: may grow at each link of a chain
_WALKING = {
    "_codecs encode", "builtins bytearray", "builtins complex", "builtins set", "__builtin__ bytearray",
    "__builtin__ complex", "__builtin__ set", "collections Counter", "torch Size", "torch Tensor",
}  # fmt: skip
_CONVERTING = ("_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor")


def _strange(file: BinaryIO) -> str | None:
    """Whether a pickle could grow or run without end while torch builds it: tuples of tuples doubled many times (as
    keys they are walked through), calls on the results of calls, tensors converted while they are built.

    Raises:
        ValueError: and others, if it is no pickle.
    """
    stack: list[_Value | None] = []  # None: a mark
    memo: dict[int, _Value] = {}
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name.endswith("GET"):
            stack.append(memo[int(argument or 0)])
        elif name.endswith("PUT"):
            stack.append(value := _popped(stack))
            memo[int(argument or 0)] = value
        elif name == "MARK":
            stack.append(None)
        elif not operation.stack_before and name != "GLOBAL":
            stack.extend([_PLAIN] * len(operation.stack_after))  # a number, a text, an empty container
        else:
            taken = _taken(stack, operation)
            marks = frozenset[str]().union(*(value.marks for value in taken))
            if name in ("REDUCE", "NEWOBJ") and any(both <= marks for both in _TOGETHER):
                return "it builds values by calls on the results of calls, which weights do not need"
            if name == "GLOBAL" and str(argument).partition(" ")[2] in _CONVERTING:
                return "its tensors are of another device and converted while they are read; save them as .cpu()"
            result = _result(name, str(argument), taken, marks)
            if result.size > NESTED:
                return "its values are nested beyond measure"
            stack.extend([result] * len(operation.stack_after))
    return None


def _taken(stack: list[_Value | None], operation: pickletools.OpcodeInfo) -> list[_Value]:
    """The values that an operation takes from the stack, the topmost first."""
    before = operation.stack_before
    taken: list[_Value] = []
    if pickletools.markobject in before:
        while (value := stack.pop()) is not None:
            taken.append(value)
        before = before[: before.index(pickletools.markobject)]
    return taken + [_popped(stack) for _ in before]


def _popped(stack: list[_Value | None]) -> _Value:
    value = stack.pop()
    if value is None:
        raise ValueError("a mark where a value should be")
    return value


def _result(name: str, argument: str, taken: list[_Value], marks: frozenset[str]) -> _Value:
    if name == "GLOBAL":
        typed = argument.startswith("torch ") and argument.endswith("Tensor")
        encoder = [_ENCODER] if argument == "_codecs encode" else []
        return _Value(marks=frozenset([_GREEDY, *encoder] if typed or argument in _WALKING else []))
    if name in ("REDUCE", "NEWOBJ"):
        if _ENCODER in marks:
            return _Value(marks=frozenset([_BYTES]))
        return _Value(
            marks=frozenset([_RESULT] if taken[0].size > 1 else [])
        )  # of OrderedDict() nothing is to be feared
    if name.startswith("TUPLE"):
        return _Value(1 + sum(value.size for value in taken), marks)
    return _Value(marks=marks if name.startswith("APPEND") else frozenset())


def scored(content: Mapping[str, Any], of: str = "") -> tuple[Mapping[str, Any], str] | None:
    """The weights of a run's checkpoint that are scored, its average where it keeps one, and what they are in words;
    ``None`` for other content."""
    if not {"network", "optimizer", "strategy", "step", "hash"} <= content.keys():
        return None
    average = content.get("average")
    weights, kind = (average, ", moving average") if average is not None else (content["network"], "")
    return (weights if isinstance(weights, Mapping) else {}), f"after step {content['step']!s:.20}{of}{kind}"


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's content; code inside it is never executed.

    Raises:
        UserError: if the file cannot be read as a checkpoint, or its checksums show that it was changed.
    """
    import torch

    problem = damage(path) or strange(path)
    if problem:
        raise UserError(f"{path} cannot be read as a checkpoint ({problem}).")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files; all mean the same to the user
        raise UserError(f"{path} cannot be read as a checkpoint ({reason(error)}).") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no checkpoint but a {type(content).__name__}.")
    return content
