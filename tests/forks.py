"""Python processes of any environment, started in a quarter of the time: forked from one that knows the libraries.

To import LangGraph and Django takes three seconds, and there are two hundred processes. The one that forks has imported
nothing of ours, has no thread and no connection; what is forked reads its own environment, settings and graphs, and
does what `python manage.py` does. Where a library reads its environment as it is imported, and in the console that most
tests share, a process is started as usual.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LIBRARIES = (
    "langgraph.graph langgraph.types langgraph.checkpoint.memory langgraph.checkpoint.postgres.aio"
    " langgraph.checkpoint.sqlite.aio langchain.agents.middleware langsmith psycopg psycopg_pool redis.asyncio"
    " jsonschema uvicorn websockets uvloop httptools cryptography.fernet cryptography.hazmat.primitives.serialization"
    " procrastinate pydantic channels.auth servestatic.middleware"
    " confusable_homoglyphs.confusables django.contrib.admin django.contrib.postgres.expressions"
    " django.core.handlers.asgi django.core.management.commands.makemigrations django.db.backends.postgresql.base"
    " django.db.models django.forms django.http django.template django.test django.views.generic"
).split()
READY = b"ready"
READ_WHILE_IMPORTED = ("LANGGRAPH_STRICT_MSGPACK",)


class Forked:
    """What subprocess.Popen is for a process of its own."""

    def __init__(self, args: list[str], env: Mapping[str, str], stdout: int, stderr: int) -> None:
        self.args = args
        self.returncode: int | None = None
        self._report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps({"args": args, "env": dict(env)}).encode()
            with _one_at_a_time:
                socket.send_fds(_door(), [message], [stdout, stderr, theirs.fileno()])
        self.pid = int(self._report.recv(100))

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], seconds)[0]:
            self.returncode = int(self._report.recv(100))
            self._report.close()
        return self.returncode


def start(
    args: list[str], env: Mapping[str, str], output: int, *, is_forked: bool = True
) -> "Forked | subprocess.Popen[bytes]":
    """Start Python with these arguments, in ROOT; it writes to the file descriptor `output`."""
    if not is_forked or any(env.get(name) != os.environ.get(name) for name in READ_WHILE_IMPORTED):
        return subprocess.Popen([sys.executable, *args], cwd=ROOT, env=env, stdout=output, stderr=output)
    return Forked(args, env, output, output)


def run(
    args: list[str], *, env: Mapping[str, str] = os.environ, timeout: float = 60, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments, in ROOT, to its end; return what it wrote."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = Forked(args, env, stdout.fileno(), stderr.fileno())
        try:
            process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        stdout.seek(0)
        stderr.seek(0)
        done = subprocess.CompletedProcess(args, process.wait(), stdout.read(), stderr.read())
    if check and done.returncode:
        raise AssertionError(f"{args} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


@cache
def _door() -> socket.socket:
    """Start the process that forks. It ends when this end of the socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
        _forking.append(subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL))
    assert ours.recv(100) == READY
    return ours


_forking: list[subprocess.Popen[bytes]] = []
_one_at_a_time = threading.Lock()


def end() -> None:
    for process in _forking:
        _door().close()
        process.wait(timeout=10)
    _forking.clear()


def _fork_until_told(door: socket.socket) -> list[str]:
    """Fork for whoever asks. Returns in what was forked, with its arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    door.send(READY)
    while True:
        message, descriptors, *_ = socket.recv_fds(door, 1 << 20, 3)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            door.close()
            return _keep(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(asked: dict[str, Any], stdout: int, stderr: int, report: int) -> list[str]:
    """Stay beside the process that was asked for, and tell its id and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := os.fork():
        os.close(stdout)
        os.close(stderr)
        os.write(report, str(pid).encode())
        _, status = os.waitpid(pid, 0)
        os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for descriptor in (stdout, stderr, report):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["env"])
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # which Python read as it started
    sys.path[1:1] = [folder for folder in folders if folder and folder not in sys.path]
    return list(asked["args"])


def _do(args: list[str]) -> None:
    """Do what `python` does with these arguments."""
    sys.argv = args
    if args[0] == "-c":
        code = sys.argv.pop(1)
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif args[0] == "-m":
        runpy.run_module(sys.argv.pop(1), run_name="__main__")
    else:
        runpy.run_path(args[0], run_name="__main__")


def _end(code: int) -> None:
    """End as Python does, but leave the memory as it is.

    To take it apart would copy what it shares with the process that forked: that takes as long as half of a command.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    try:
        _do(_fork_until_told(socket.socket(fileno=int(sys.argv[1]))))
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        _end(ended.code or 0)
    _end(0)
