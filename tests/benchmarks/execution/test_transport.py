"""What workers of a cluster can do to the command's process: send data, and nothing else."""

import json
import os
import pickle
import subprocess
import sys
import time

import pytest

pytest.importorskip("distributed")
from distributed.protocol import core
from distributed.protocol.serialize import serialize_and_split

from benchmarks.execution import transport


class Evil:
    """Leaves the number of the process in which it is unpickled as the name of a file in that folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return eval, (f"open({self.folder!r} + '/' + str(__import__('os').getpid()), 'w').close()",)


def _send(**message):
    """On a worker, while its task goes on: a message to the scheduler, past what Dask's methods check."""
    from distributed import get_worker

    worker = get_worker()
    if message["op"] != "log-event":
        key = worker.get_current_task()
        message |= {"key": key, "stimulus_id": "x", "run_id": worker.state.tasks[key].run_id}
    worker.loop.add_callback(worker.batched_stream.send, message)
    time.sleep(0.1)


def evil_result(folder):
    return Evil(folder)


def evil_inside(folder):
    return [b"a", {"x": Evil(folder)}]


def evil_exception(folder):
    wrong = type("Wrong", (Exception,), {"__reduce__": lambda _: Evil(folder).__reduce__()})
    raise wrong("x")


def evil_exception_as_bytes(folder):
    _send(op="task-erred", exception=pickle.dumps(Evil(folder)), traceback=pickle.dumps(Evil(folder)))
    return [b"never looked at"]


def evil_type(folder):
    _send(op="task-finished", status="OK", nbytes=1, type=pickle.dumps(Evil(folder)), typename="list", metadata={},
          thread=1, startstops=())  # fmt: skip
    return [b"true"]


def evil_warning(folder):
    told = {"message": pickle.dumps(Evil(folder)), "category": pickle.dumps(Evil(folder)), "args": ("\33[31mred",)}
    for topic in ("warn", "print", "mine"):
        _send(op="log-event", topic=topic, msg=told)
    return [b"true"]


def evil_event(folder):
    from distributed.protocol.serialize import to_serialize

    _send(op="log-event", topic="mine", msg=to_serialize(Evil(folder)))
    return [b"true"]


LIES = [evil_result, evil_inside, evil_exception, evil_exception_as_bytes, evil_type, evil_warning, evil_event]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and a worker in processes of their own: those may run code, this one may not."""
    folder = tmp_path_factory.mktemp("cluster")
    told, dask = folder / "address.json", [sys.executable, "-m", "dask"]
    options = ["--scheduler-file", str(told), "--host", "127.0.0.1", "--no-dashboard"]
    worker = ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    here = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # they import this file for what they run
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | {"PYTHONPATH": here}}
    started = [
        subprocess.Popen([*dask, "scheduler", *options, "--port", "0"], **quiet),
        subprocess.Popen([*dask, "worker", *options, *worker], **quiet),
    ]
    until = time.monotonic() + 60
    while not (told.exists() and told.read_text().endswith("}")) and time.monotonic() < until:
        time.sleep(0.05)
    yield json.loads(told.read_text())["address"]
    for process in started:
        process.kill()
        process.wait()


def test_lying_workers_run_no_code_in_this_process(cluster, tmp_path, capfd):
    heard, told = [], {}

    def attempt(name, call):
        try:
            told[name] = call()
        except Exception as error:  # what it says is looked at below
            told[name] = error

    with transport.client(cluster, 15) as client:
        client.wait_for_workers(1, timeout=30)
        client.subscribe_topic("mine", heard.append)
        for lie in LIES:
            future = client.submit(lie, str(tmp_path), pure=False)
            attempt(lie.__name__, lambda future=future: future.result(timeout=30))
            attempt(f"run {lie.__name__}", lambda lie=lie: client.run(lie, str(tmp_path), on_error="return"))
        honest = client.submit(sorted, [b"b", b"a"], pure=False).result(timeout=30)
    assert honest == [b"a", b"b"]  # nothing of the above broke the connection
    assert str(os.getpid()) not in os.listdir(tmp_path)
    assert told["evil_result"] == told["evil_inside"] == transport.OBJECT
    assert all(isinstance(told[name], Exception) for name in ("evil_exception", "evil_exception_as_bytes"))
    assert str(*told["run evil_exception"].values()) == "Wrong('x')"
    assert heard[0][1]["args"] == ("\33[31mred",) and heard[1][1] == transport.OBJECT
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    pickle.loads(pickle.dumps(Evil(tmp_path)))  # outside of the client's context all is as ever
    assert str(os.getpid()) in os.listdir(tmp_path)


@pytest.mark.parametrize("wrapped", [core.ToPickle, core.Serialize])
def test_messages_with_pickles_are_refused_or_told(wrapped, tmp_path):
    frames = core.dumps([{"op": "event", "x": wrapped(Evil(tmp_path))}])
    frames = [bytes(frame) for frame in frames]
    if wrapped is core.ToPickle:
        with pytest.raises(transport.CodeRefusedError):
            transport.plain(frames)
    else:
        assert transport.plain(frames)[0]["x"] == transport.OBJECT
    assert not os.listdir(tmp_path)


def test_sizes_are_bounded_before_memory_is_taken():
    import asyncio
    import struct

    class Stream:
        async def read_bytes(self, count):
            return struct.pack("Q", 2**60)

    with pytest.raises(ValueError, match=r"a message of 1,073,741,824\.0 GiB, and at most 8 GiB are taken"):
        asyncio.run(transport._frames(Stream()))
    header, frames = serialize_and_split([b"x" * 10], serializers=["msgpack"])
    header |= {"split-num-sub-frames": (1,) * 1000, "split-offsets": (0,) * 1000}  # the same megabytes a thousand times
    assert transport._content(header, frames) == "data whose parts overlap"
    assert "compressed" in transport._content({"compression": ("zlib",)}, [b""])


def test_tls_with_the_certificates_of_dasks_configuration(tmp_path, monkeypatch):
    import dask
    from distributed import LocalCluster, Security

    security = Security.temporary()
    options = {"n_workers": 0, "dashboard_address": ":0", "security": security, "local_directory": tmp_path}
    with LocalCluster(protocol="tls://", **options) as secured:
        address = secured.scheduler_address
        assert address.startswith("tls://")
        with pytest.raises(TypeError, match=r"no distributed\.comm\.tls\.ca-file"), transport.client(address, 5):
            pass
        files = {"ca-file": security.tls_ca_file, "client.cert": security.tls_client_cert, "client.key":
                 security.tls_client_key}  # fmt: skip
        named = dask.config.set({f"distributed.comm.tls.{name}": value for name, value in files.items()})
        with named, transport.client(address, 15) as client:
            assert client.scheduler_info()["type"] == "Scheduler"
