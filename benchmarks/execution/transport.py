"""A Dask client to which workers can send data and no code.

Dask's own client unpickles what workers send: results, exceptions, types, warnings, answers to ``run``. A pickle can
run code. This client reads plain data only (msgpack: numbers, texts, bytes, lists, mappings):

* its connections (a communication backend of Dask's registry) hand out plain data and, for everything else, a text;
* what Dask itself would unpickle from bytes in such a message is stopped by Python's audit hook: in the context of this
  client no pickle may name a class or a function.
"""

from __future__ import annotations

import contextvars
import logging
import struct
import sys
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

LARGEST = 8 * 2**30  # bytes of one message; a larger one closes the connection
PLAIN = "msgpack"  # Dask's name for it

OBJECT = "an object, where only data are taken"

Frame = bytes | bytearray | memoryview

_data_only: contextvars.ContextVar[bool] = contextvars.ContextVar("data_only", default=False)


class CodeRefusedError(TypeError):
    """A pickle arrived where only data may."""


@contextmanager
def client(address: str, timeout: float) -> Generator[Any]:
    """A ``distributed.Client`` that takes data only; this thread and the client's tasks unpickle nothing meanwhile.

    Args:
        address: of the scheduler, ``tcp://HOST:PORT``, ``tls://HOST:PORT`` (Dask's configuration names the
            certificates) or ``HOST:PORT``.
        timeout: seconds for connecting.

    Raises:
        ImportError: without Dask.
        OSError, ValueError: if no scheduler answers there, or the address is none.
        TypeError: for ``tls`` without certificates.
    """
    from distributed import Client, Security

    _install()
    scheme, _, place = address.rpartition("://")
    if scheme not in ("", "tcp", "tls"):
        raise ValueError(f"unknown kind of address {scheme!r}; tcp://HOST:PORT or tls://HOST:PORT")
    security = Security()
    if scheme == "tls" and security.get_connection_args("client").get("ssl_context") is None:
        raise TypeError("no distributed.comm.tls.ca-file, client.cert and client.key")
    token = _data_only.set(True)
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:  # it would print tracebacks about what a stranger sent
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on versions, in the workers' words; the command compares them itself
            connected = Client(
                f"data+{scheme or 'tcp'}://{place}", timeout=timeout, set_as_default=False, direct_to_workers=False,
                serializers=[PLAIN], deserializers=[PLAIN], security=security,
            )  # fmt: skip
        with connected:
            for topic in ("print", "warn"):  # that workers write to this terminal
                connected.unsubscribe_topic(topic)
            yield connected
    finally:
        _data_only.reset(token)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@cache
def _install() -> None:
    """The audit hook and the two communication backends, once a process."""
    from distributed.comm import registry, tcp

    sys.addaudithook(_audit)
    for scheme, comm, connector, backend in (
        ("data+tcp", tcp.TCP, tcp.TCPConnector, tcp.TCPBackend),
        ("data+tls", tcp.TLS, tcp.TLSConnector, tcp.TLSBackend),
    ):
        plain_comm = type(f"Data{comm.__name__}", (_DataOnly, comm), {})
        plain_connector = type(f"Data{connector.__name__}", (connector,), {"comm_class": plain_comm})
        plain_backend: Any = type("DataBackend", (backend,), {"_connector_class": plain_connector})
        registry.backends[scheme] = plain_backend()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and _data_only.get():
        raise CodeRefusedError(f"a pickle that names {arguments[0]}.{arguments[1]} was refused")


class _DataOnly:
    """Mixed into a comm of Dask: its messages are read by :func:`plain`."""

    if TYPE_CHECKING:
        stream: Any  # of tornado

        def abort(self) -> None: ...

    async def read(self, deserializers: Any = None) -> Any:
        from distributed.comm.core import CommClosedError

        if self.stream is None:
            raise CommClosedError()
        try:
            return plain(await _frames(self.stream))
        except Exception as error:  # a lost connection, or a message of a stranger's making: Dask connects anew
            self.abort()
            raise CommClosedError(f"{type(error).__name__}: {error}") from error
        except BaseException:  # cancelled: nobody knows what of the message was read already
            self.abort()
            raise


async def _frames(stream: Any) -> list[Frame]:
    """The parts of the next message, in Dask's framing.

    Raises:
        ValueError: for a message of more than :data:`LARGEST` bytes.
    """
    from distributed.comm.tcp import read_bytes_rw
    from distributed.protocol.utils import unpack_frames

    (length,) = struct.unpack("Q", await stream.read_bytes(8))
    _check_size(length)
    frames, sizes = unpack_frames(await read_bytes_rw(stream, length), partial=True)
    _check_size(length + sum(sizes))
    return [*frames, *[await read_bytes_rw(stream, size) for size in sizes]]


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"a message of {size / 2**30:,.1f} GiB, and at most {LARGEST / 2**30:g} GiB are taken")


def plain(frames: Sequence[Frame]) -> Any:
    """A message as numbers, texts, bytes, tuples, sets and mappings.

    An object that was sent in another form than :data:`PLAIN` becomes a text that says so (:data:`OBJECT`).

    Raises:
        CodeRefusedError: for a part that Dask would unpickle without asking.
        Exception: whatever is wrong with a damaged message.
    """
    import msgpack

    def entry(found: dict[Any, Any]) -> Any:
        if "__Pickled__" in found:
            raise CodeRefusedError("a pickle arrived where only data may")
        if "__Serialized__" in found:
            place = found["__Serialized__"]
            header: Any = msgpack.loads(frames[place], use_list=False, strict_map_key=False)
            return _content(header, frames[place + 1 : place + 1 + header["num-sub-frames"]])
        if "__Set__" in found:
            return set(found["as-list"])
        if isinstance(found.get("exception_text"), str):  # beside the pickled exception: Dask tells it by this text
            found |= {"exception": found["exception_text"], "traceback": None}
        return found

    return msgpack.loads(frames[0], object_hook=entry, use_list=False, strict_map_key=False)


def _content(header: Mapping[str, Any], parts: Sequence[Frame]) -> Any:
    from distributed.protocol.serialize import merge_and_deserialize

    if any(header.get("compression") or ()):
        return "compressed data, which is not taken; set distributed.comm.compression to false on the workers"
    if sum(header.get("split-num-sub-frames", ())) > len(parts):
        return "data whose parts overlap"
    try:
        return merge_and_deserialize(header, parts, deserializers=(PLAIN,))
    except Exception:
        return OBJECT
