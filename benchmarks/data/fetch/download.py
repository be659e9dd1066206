"""Getting files over HTTP: several at a time, from one address after the other, each let in by its digest alone.

pooch writes a file beside its place, compares its SHA-256 and only then moves it; here stands which answers of a server
are taken at all, when it is asked again, and how everything stops.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import requests

AT_ONCE = 8  # files that are fetched at a time
TRIES = 3  # of one address, where the connection fails
WAIT = 1.0  # seconds before it is tried again; then twice as long
SILENT = 3  # files in a row for which a host could not be reached: it is not asked any more
MOST = 64 * 2**20  # bytes of a file
_TIMEOUT = 10, 30  # seconds for a connection, and between two pieces of an answer
_LONGEST = 60.0  # seconds that a server may ask to be left alone
_REDIRECTIONS = 5
_PARTIAL = ".fetch-"  # folders of files that are not complete
_OLD = 3600  # seconds after which such a folder is that of a process that was killed


class Wanted(NamedTuple):
    """A file to fetch: its ``path`` below the root, its SHA-256, and where it lies, to be tried in turn."""

    path: str
    sha256: str
    urls: tuple[str, ...]


class _Refused(Exception):
    """An address is of no use for a file, with the reason in words."""


class _Unreachable(Exception):
    """The connection failed, or the server is busy; ``wait``: seconds that it asks for."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def download(wanted: Sequence[Wanted], root: Path, title: str) -> dict[str, str]:
    """Fetch the files to their places below ``root``, with a progress bar.

    A file stands in its place only once it is complete and its SHA-256 is right; what cannot be had hinders no other.

    Returns:
        By path, why a file could not be had.

    Raises:
        OSError: if a file cannot be written; what was fetched before is kept.
        KeyboardInterrupt: passed on; half files are removed.
    """
    import pooch
    from tqdm import tqdm

    pooch.get_logger().setLevel(logging.CRITICAL)  # it would tell of every file
    root.mkdir(parents=True, exist_ok=True)
    _clear_up(root)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=root))
    crew = _Crew(wanted, root, partial)
    failed: dict[str, str] = {}
    try:
        crew.start()
        with tqdm(total=len(wanted), desc=title, unit="file", leave=False, mininterval=0.5, disable=None) as bar:
            for _ in wanted:
                path, outcome = crew.next()
                if isinstance(outcome, BaseException):
                    raise _of_place(outcome, partial, root)
                if outcome:
                    failed[path] = outcome
                bar.update()
    finally:
        crew.stop()
        shutil.rmtree(partial, ignore_errors=True)
    return failed


def _of_place(error: BaseException, partial: Path, root: Path) -> BaseException:
    """An error in words that people understand: not of a file for the time being, but of the folder it is for."""
    if isinstance(error, OSError) and (not error.filename or str(partial) in os.fsdecode(error.filename)):
        error.filename = str(root)
    return error


def _clear_up(root: Path) -> None:
    """Remove what a process has left that was killed."""
    for folder in root.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _OLD:
                shutil.rmtree(folder, ignore_errors=True)


class _Crew:
    """Threads that fetch files. They end with the process: one that waits for a server holds nobody up."""

    def __init__(self, wanted: Sequence[Wanted], root: Path, partial: Path):
        self._waiting: queue.SimpleQueue[tuple[int, Wanted]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[str, str | BaseException]] = queue.SimpleQueue()
        self._root, self._partial, self._mode = root, partial, _mode()
        self._stopping = threading.Event()
        self._hosts = _Hosts()
        for item in enumerate(wanted):
            self._waiting.put(item)
        count = min(AT_ONCE, len(wanted))
        self._threads = [threading.Thread(target=self._work, daemon=True, name=f"fetch-{n}") for n in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def next(self) -> tuple[str, str | BaseException]:
        """The next file that is done, with the reason where it could not be had."""
        while True:
            with suppress(queue.Empty):  # waited for in pieces, so that Ctrl-C is heard everywhere
                return self._done.get(timeout=0.2)

    def stop(self) -> None:
        """No further file is begun, and those at work end at their next piece."""
        self._stopping.set()
        end = time.monotonic() + 1
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        import requests

        with requests.Session() as session:
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "restoration-optimizers"})
            while not self._stopping.is_set():
                try:
                    number, wanted = self._waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    outcome: str | BaseException = self._fetch(number, wanted, session)
                except BaseException as error:  # told by the main thread
                    outcome = error
                self._done.put((wanted.path, outcome))

    def _fetch(self, number: int, wanted: Wanted, session: requests.Session) -> str:
        """Fetch one file; returns why it could not be had, or nothing."""
        reasons = list[str]()
        for url in wanted.urls:
            host = urlsplit(url).netloc.rpartition("@")[2]
            try:
                self._from(url, number, wanted, session)
            except (_Refused, _Unreachable) as reason:
                reasons.append(f"{host} {reason}")
            else:
                return ""
        return "; ".join(dict.fromkeys(reasons))

    def _from(self, url: str, number: int, wanted: Wanted, session: requests.Session) -> None:
        """Fetch one file from one address.

        Raises:
            _Refused: if it is not there, or not this file.
            _Unreachable: if the connection failed again and again.
        """
        import pooch

        host = urlsplit(url).netloc
        for attempt in range(TRIES):
            self._hosts.ask(host)
            try:
                found = pooch.retrieve(
                    url,
                    f"sha256:{wanted.sha256}",
                    str(number),
                    self._partial,
                    downloader=cast("Any", self._downloader(session)),
                )
            except ValueError:  # of pooch: another digest. Once more, for a connection may have been cut
                if attempt:
                    raise _Refused("has another file there than the one that was checked") from None
            except _Refused:
                self._hosts.answered(host)
                raise
            except _Unreachable as reason:
                if attempt == TRIES - 1 or self._stopping.is_set():
                    self._hosts.silent(host, str(reason))
                    raise
                self._stopping.wait(reason.wait or WAIT * 2**attempt)
            else:
                self._hosts.answered(host)
                self._place(Path(found), self._root / wanted.path)
                return

    def _place(self, file: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(self._mode)  # temporary files are for their owner alone
        os.replace(file, place)

    def _downloader(self, session: requests.Session) -> Callable[[str, str, object], None]:
        """What pooch calls to get an address into a file."""
        import requests

        def get(url: str, file: str, _: object) -> None:
            try:
                with _opened(session, url) as response, open(file, "wb") as out:
                    size = 0
                    for piece in response.iter_content(2**16):
                        size += len(piece)
                        if self._stopping.is_set():
                            raise _Refused("was not waited for")
                        if size > MOST:
                            raise _Refused(f"sends more than {MOST // 2**20} MiB")
                        out.write(piece)
            except requests.RequestException as error:
                raise _Unreachable(_why(error)) from error

        return get


class _Hosts:
    """Which hosts cannot be reached at all, so that not every file waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent: dict[str, int] = {}
        self._reasons: dict[str, str] = {}

    def ask(self, host: str) -> None:
        """Whether it is worth asking a host.

        Raises:
            _Unreachable: if it is not.
        """
        with self._lock:
            if self._silent.get(host, 0) >= SILENT:
                raise _Unreachable(self._reasons[host])

    def silent(self, host: str, reason: str) -> None:
        with self._lock:
            self._silent[host] = self._silent.get(host, 0) + 1
            self._reasons[host] = reason

    def answered(self, host: str) -> None:
        with self._lock:
            self._silent.pop(host, None)


def _opened(session: requests.Session, url: str) -> requests.Response:
    """The answer that holds the file; redirections within its host are followed.

    Raises:
        _Refused, _Unreachable: for any other answer.
    """
    for _ in range(_REDIRECTIONS):
        response = session.get(url, stream=True, timeout=_TIMEOUT, allow_redirects=False)
        if response.status_code == 200:
            return response
        response.close()
        if not response.is_redirect:
            raise _told(response)
        target = urljoin(url, response.headers["location"])
        before, after = urlsplit(url), urlsplit(target)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            raise _Refused(f"leads elsewhere, to {after.scheme}://{after.netloc.rpartition('@')[2]}, which is refused")
        url = target
    raise _Refused("leads from one address to the next")


def _told(response: requests.Response) -> _Refused | _Unreachable:
    code = response.status_code
    if code in (404, 410):
        return _Refused(f"does not have it ({code})")
    if code == 429 or code >= 500:
        asked = response.headers.get("retry-after", "")
        return _Unreachable(f"is busy ({code})", min(float(asked), _LONGEST) if asked.isdecimal() else 0.0)
    return _Refused(f"does not give it ({code})")


def _why(error: requests.RequestException) -> str:
    """Why a connection failed, in few words."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that can be trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached through the proxy"
    if isinstance(error, requests.Timeout):
        return "does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke the connection off"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return f"cannot be asked ({type(error).__name__})"


def _mode() -> int:
    """The permissions that this process gives to a new file."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
