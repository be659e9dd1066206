"""Fetching sets: from a server in this process that has them in the true layout, and from servers that behave badly."""

import csv
import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from miniature import hazy, picture, save

from benchmarks.config.data_sets import known
from benchmarks.data import layouts
from benchmarks.data.__main__ import main
from benchmarks.data.fetch import download, registry, standing
from benchmarks.data.fetch.request import FetchRequest

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("RESTORATION_DATA", ROOT.parent / "shared" / "data"))
TRUE = registry.FOLDER
FILES = {
    "BSD400": {"100075.jpg": "train/100075.jpg", "12074.jpg": "train/12074.jpg", "10081.jpg": "test/10081.jpg"},
    "Rain100H": {f"{ours}/{n}.png": f"{theirs}/{n}.png" for n in (1, 2) for ours, theirs in
                 (("input", "inputcrop"), ("target", "cleancrop"))},
    "CBSD68": {"3096.jpg": "3096.jpg"},
    "Rain100L": {f"{side}/1.png": f"{side}/1.png" for side in ("input", "target")},
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Serves ``files`` by their paths; ``odd`` answers of certain ones, as functions of the handler."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.odd, self.asked = {}, {}, Counter()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        pass  # readers that go away

    def places(self, end):
        """Paths that end in that, sorted."""
        return sorted(path for path in self.files if path.endswith(end))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = unquote(self.path)
        self.server.asked[path] += 1
        if path in self.server.odd:
            self.server.odd[path](self)
        elif path in self.server.files:
            self.give(self.server.files[path])
        else:
            self.send_error(404)

    def give(self, content, size=None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server in place of GitHub, with miniatures in the layouts of the pinned commits, and a registry of them."""
    found = Server()
    folder = tmp_path / "registry of miniatures"
    shutil.copytree(TRUE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, places in FILES.items():
        rows = []
        for number, (path, place) in enumerate(places.items()):
            file = tmp_path / "made" / name / path
            save(file, (hazy if "input" in path else lambda image: image)(picture(number)))
            content = file.read_bytes()
            rows.append((hashlib.sha256(content).hexdigest(), path, place))
            for address in registry.sources()[name].addresses:
                found.files[f"/{address.repository}/{address.commit}/{address.path}/{place}"] = content
        with (folder / "registry" / f"{name}.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("sha256", "path", "place"), *rows])
    monkeypatch.setattr(registry, "FOLDER", folder)
    monkeypatch.setattr(registry, "HOST", found.url)
    monkeypatch.setattr(download, "WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield found
    found.stop()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "a new folder"


def fetch(*arguments):
    return main(["fetch", *map(str, arguments)])


def arrived(root):
    """Every file below the root, with its digest."""
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*") if path.is_file()}  # fmt: skip


def pinned(*names):
    return {f"{name}/{entry.path}": entry.sha256 for name in names for entry in registry.sources()[name].entries}


def test_sets_arrive_in_the_layout_that_check_expects_and_are_not_fetched_twice(server, root, capsys):
    assert fetch("BSD400", "Rain100H", "Rain100L", "--data-root", root) == 0
    assert arrived(root) == pinned("BSD400", "Rain100H", "Rain100L") and len(arrived(root)) == 9
    assert {(root / name).stat().st_mode & 0o777 for name in arrived(root)} == {download._mode()}
    assert {path.name for path in root.iterdir()} == {"BSD400", "Rain100H", "Rain100L"}
    told = capsys.readouterr().out
    terms = told.index("terms    non-commercial research and education")
    assert terms < told.index("BSD400: 3 files fetched") and "BIDS/BSDS500 at a04b7c6c3a" in told
    main(["check", "--setting", "three_task", "--data-root", str(root)])
    checked = capsys.readouterr().out
    assert "  3 of     400  partial" in checked and "!" not in checked
    server.stop()
    assert fetch("BSD400", "Rain100H", "--data-root", root) == 0
    assert "BSD400: all 3 files are there." in capsys.readouterr().out


def test_a_setting_fetches_what_can_be_and_says_how_to_get_the_rest(server, root, capsys, monkeypatch):
    assert fetch("--setting", "three_task", "--data-root", root) == 0
    told = capsys.readouterr().out
    assert arrived(root) == pinned("BSD400", "CBSD68", "Rain100L")
    for line in ("OTS/synthetic/part*/ with OTS/original/", "72,135 samples", "https://kedema.org/project/exploration",
                 "check --setting three_task --data-root '", "run --setting three_task --data-root '"):  # fmt: skip
        assert line in told, line
    assert told.index("To be fetched by hand") < told.index("files fetched")
    monkeypatch.setattr(FetchRequest, "_there", lambda self, data_set: data_set.name != "OTS")
    fetch("--setting", "three_task", "--data-root", root)
    told = capsys.readouterr().out
    assert "72,135 samples" in told and "4,744" not in told  # what is there is not to be fetched


def test_a_changed_file_is_named_and_refused_and_the_next_address_is_tried(server, root, capsys):
    for path in (server.places("train/12074.jpg")[0], *server.places("inputcrop/1.png")[:1]):
        server.odd[path] = lambda handler: handler.give(b"something else")
    assert fetch("BSD400", "Rain100H", "--data-root", root) == 1
    told = capsys.readouterr().err
    assert "BSD400/12074.jpg: 127.0.0.1" in told and "another file there than the one that was checked" in told
    assert "Rain100H" not in told  # its mirror has the right one
    assert arrived(root) == {
        path: digest for path, digest in pinned("BSD400", "Rain100H").items() if "12074" not in path
    }
    server.odd.clear()
    server.asked.clear()
    assert fetch("BSD400", "Rain100H", "--data-root", root) == 0
    assert list(server.asked) == server.places("train/12074.jpg")  # what is complete is not fetched again
    assert arrived(root) == pinned("BSD400", "Rain100H")


def broken_off(handler):
    handler.give(b"\xff\xd8 the beginning", size=5000)
    handler.close_connection = True


def busy(handler):
    handler.send_response(429)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def silent(handler):
    handler.connection.shutdown(2)
    handler.close_connection = True


@pytest.mark.parametrize(
    "answer, words",
    [
        (broken_off, "broke the connection off"),
        (busy, "is busy (429)"),
        (silent, "cannot be reached"),
        (lambda handler: handler.send_error(404), "does not have it (404)"),
        (lambda handler: handler.send_error(403), "does not give it (403)"),
    ],
)
def test_a_server_that_fails_is_asked_again_where_that_may_help(answer, words, server, root, capsys):
    (path,) = server.places("test/10081.jpg")
    server.odd[path] = answer
    assert fetch("BSD400", "--data-root", root) == 1
    assert words in capsys.readouterr().err and len(arrived(root)) == 2
    assert server.asked[path] == (1 if "(40" in words else download.TRIES)

    def once(handler):
        del server.odd[path]
        answer(handler)

    if "(40" not in words:
        server.odd[path] = once
        assert fetch("BSD400", "--data-root", root) == 0 and arrived(root) == pinned("BSD400")


def test_redirections_are_followed_within_a_host_and_refused_beyond(server, root, capsys):
    other = Server()

    def to(address):
        def answer(handler):
            handler.send_response(302)
            handler.send_header("Location", address)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return answer

    within, beyond = server.places("train/12074.jpg")[0], server.places("test/10081.jpg")[0]
    other.files[beyond] = server.files[beyond]  # though it is the right file
    server.files["/moved"] = server.files[within]
    server.odd = {within: to("/moved"), beyond: to(other.url + beyond)}
    assert fetch("BSD400", "--data-root", root) == 1
    other.stop()
    told = capsys.readouterr().err
    assert f"leads elsewhere, to {other.url}, which is refused" in told and not other.asked
    assert set(arrived(root)) == {"BSD400/100075.jpg", "BSD400/12074.jpg"}
    server.odd = {within: to(within), beyond: server.odd[beyond]}
    (root / "BSD400/12074.jpg").unlink()
    assert fetch("BSD400", "--data-root", root) == 1
    assert "leads from one address to the next" in capsys.readouterr().err


def test_no_more_is_taken_than_an_image_can_have(server, root, capsys, monkeypatch):
    monkeypatch.setattr(download, "MOST", 10_000)
    (path,) = server.places("test/10081.jpg")
    server.odd[path] = lambda handler: handler.give(b"x" * 200_000)
    fetch("BSD400", "--data-root", root)
    assert "10081.jpg: 127.0.0.1" in capsys.readouterr().err and not (root / "BSD400/10081.jpg").exists()


def test_a_mirror_is_asked_first_and_need_not_have_all(server, root, capsys):
    lab = Server()
    lab.files = {"/data of all/BSD400/12074.jpg": server.files[server.places("train/12074.jpg")[0]]}
    assert fetch("BSD400", "--data-root", root, "--mirror", f"{lab.url}/data%20of%20all/") == 0
    lab.stop()
    assert arrived(root) == pinned("BSD400") and len(lab.asked) == 3
    assert not server.asked[server.places("train/12074.jpg")[0]] and len(server.asked) == 2


def test_without_a_connection_that_is_one_sentence(server, root, capsys):
    server.stop()
    assert fetch("Rain100H", "--data-root", root) == 1
    told = capsys.readouterr().err
    assert "Rain100H: 4 files could not be had, such as Rain100H/input/1.png: 127.0.0.1" in told
    assert "cannot be reached." in told and "Traceback" not in told
    assert arrived(root) == {} and list(root.iterdir()) == []


def test_files_of_ones_own_are_never_written_over_nor_mixed_with(server, root, capsys):
    save(root / "BSD400/12074.jpg", picture(9))
    save(root / "BSD400/a117025.jpg", picture(10))
    before = arrived(root)
    assert fetch("BSD400", "Rain100L", "--data-root", root) == 2
    told = capsys.readouterr().err
    assert "BSD400/12074.jpg is another file than the one to be fetched" in told and "BSD400/a117025.jpg" in told
    assert arrived(root) == before and not server.asked


def test_a_set_that_is_there_in_another_form_is_left_as_it_is(server, root, capsys):
    for number in range(5):
        save(root / f"Classic5/picture {number}.png", picture(number))
    assert fetch("Classic5", "--data-root", root) == 0
    assert "Classic5: it is there already, in other files, in Classic5/" in capsys.readouterr().out
    (root / "Classic5/picture 1.png").unlink()
    assert fetch("Classic5", "--data-root", root) == 2
    assert "Classic5 has other files there (Classic5/picture 0.png" in capsys.readouterr().err and not server.asked


def test_a_full_disk_is_told_before_and_in_the_middle(server, root, capsys, monkeypatch):
    usage = shutil.disk_usage(root.parent)
    with monkeypatch.context() as patch:
        patch.setattr(standing.shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert fetch("Rain100H", "--data-root", root) == 2
    assert "54 MB are to be fetched, and" in capsys.readouterr().err and not server.asked

    def full(source, place):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(source), None, os.fspath(place))

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "replace", full)
        assert fetch("Rain100H", "--data-root", root) == 1
    assert f"{root}: No space left on device; make room, then give the same command again." in capsys.readouterr().err
    assert arrived(root) == {} and not list(root.glob(".fetch-*"))
    assert fetch("Rain100H", "--data-root", root) == 0


def test_a_place_that_cannot_be_written_is_told(server, root, capsys):
    root.mkdir()
    (root / "BSD400").write_text("a file")
    assert fetch("BSD400", "--data-root", root) == 1
    assert f"{root / 'BSD400'}: File exists" in capsys.readouterr().err
    assert fetch("BSD400", "--data-root", root / "BSD400") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_files_alone_and_the_same_command_goes_on(server, root):
    reached, slow = threading.Event(), server.places("test/10081.jpg")[0]

    def never(handler):
        handler.give(b"\xff\xd8", size=5000)
        reached.set()
        threading.Event().wait(20)

    server.odd[slow] = never
    code = (
        "import sys, pathlib; from benchmarks.data.fetch import registry; from benchmarks.data.__main__ import main\n"
        "registry.FOLDER, registry.HOST = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "sys.exit(main(['fetch', 'BSD400', '--data-root', sys.argv[3]]))"
    )
    command = [sys.executable, "-c", code, str(registry.FOLDER), server.url, str(root)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    assert reached.wait(60)
    while len(list(root.glob("BSD400/*"))) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=15)
    assert process.returncode == 130 and b"the same command fetches the rest" in told and b"Traceback" not in told
    assert set(arrived(root)) == {"BSD400/100075.jpg", "BSD400/12074.jpg"} and not list(root.glob(".fetch-*"))
    server.odd.clear()
    assert fetch("BSD400", "--data-root", root) == 0 and arrived(root) == pinned("BSD400")


def test_what_a_killed_process_has_left_is_cleared_up(server, root):
    for name, age in ((".fetch-old", 2 * download._OLD), (".fetch-new", 0)):
        save(root / name / "1.png", picture(1))
        os.utime(root / name, (root.stat().st_mtime - age,) * 2)
    assert fetch("BSD400", "--data-root", root) == 0
    assert [path.name for path in root.glob(".fetch-*")] == [".fetch-new"]  # of another command, perhaps


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ["WED", "BSD40"],
            ["WED lies complete in no public repository that is known: 4,744", "did you mean 'BSD400'?"],
        ),
        (["BSD400", "--mirror", "ftp://somewhere"], ["--mirror 'ftp://somewhere': an address is needed"]),
    ],
)
def test_what_cannot_be_fetched_is_told_all_at_once(arguments, words, server, root, capsys):
    assert fetch(*arguments, "--data-root", root) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in words) and not root.exists() and not server.asked


def test_without_a_name_it_lists_what_can_be_fetched(capsys):
    assert fetch() == 0
    told = capsys.readouterr().out
    assert all(name in told for name in registry.sources()) and "crops of 500x500 pixels, not the originals" in told
    assert fetch("BSD400") == 2 and "--data-root missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", registry.sources())
def test_the_registry_is_whole_and_its_files_are_found_as_that_set(name, tmp_path):
    source, data_set = registry.sources()[name], known().get(name)
    assert registry.digest_of(source.entries) == source.digest
    sides = 2 if data_set.paired else 1
    assert len({entry.path for entry in source.entries}) == len(source.entries) == sides * data_set.expected
    assert len({address.url(entry.place) for entry in source.entries for address in source.addresses}) == len(
        source.entries
    ) * len(source.addresses)
    for entry in source.entries:
        assert ".." not in Path(entry.path).parts and not Path(entry.path).is_absolute()
        file = tmp_path / data_set.folders[0] / entry.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    located = layouts.locate(data_set, tmp_path)
    assert len(located.pairs) == data_set.expected and located.problems == located.notes == ()


def test_addresses_are_written_as_a_server_expects():
    url = registry.sources()["Rain100L"].addresses[0].url("input/1.png")
    assert url.startswith("https://raw.githubusercontent.com/ytpeng-aimlab/Rain2Avoid-")
    assert url.endswith("22bf3a7075a3484cdcdca903508b7eedcfd30c05/Rain2Avoid%28Single%29/dataset/Rain100L/input/1.png")


@pytest.mark.parametrize("name", ["BSD400", "CBSD68", "Rain100L", "Rain100H"])
@pytest.mark.skipif(not (SHARED / "Rain100L").is_dir(), reason="needs real images, named by RESTORATION_DATA")
def test_real_files_have_the_pinned_digests(name):
    entries = {entry.path: entry.sha256 for entry in registry.sources()[name].entries}
    here = arrived(SHARED / name)
    assert here and here.items() <= entries.items()
    if name != "Rain100H":
        assert here == entries
        assert sum(path.stat().st_size for path in (SHARED / name).rglob("*.*")) == registry.sources()[name].bytes
