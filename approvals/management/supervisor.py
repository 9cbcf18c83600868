"""The processes of `manage.py serve`: started, watched and stopped together. `manage.py dev` has the workers replaced
when the code of graphs changes.
"""

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing import connection

from django.conf import settings

logger = logging.getLogger(__name__)

# Not forked: a process that has threads and connections to the database cannot be copied.
_spawn = multiprocessing.get_context("spawn")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LONGEST_REQUEST_SECONDS = 10
"""How long requests may go on after a stop was asked for."""
REST_SECONDS = 1.0
"""Pause before a process that ended is started again."""
_LOOK_SECONDS = 0.2
_RETIRED_SECONDS = 10.0
"""A worker answers within this time that it takes no more runs."""
RETIRE, RETIRED = "retire", "retired"
WAITS = "They are loaded when their code changes; until then no run is carried out."


class Duty(StrEnum):
    """What one process does."""

    WEB = "web"
    WORKER = "worker"
    BOTH = "web and worker"


@dataclass(frozen=True)
class Reloading:
    """Of `manage.py dev`: what changed since it was asked last, what to do after a reload, and where to say so."""

    changes: Callable[[], list[str]]
    after: Callable[[], object]
    tell: Callable[[str], object]


class _Child:
    """One process, and whether it has begun to serve."""

    def __init__(self, duty: Duty, listening: socket.socket, *, is_reload: bool = False) -> None:
        self.duty = duty
        self._talk, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=_begin, args=[duty, listening, theirs, is_reload], name=duty.value)
        self.process.start()
        theirs.close()
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        if not self._is_ready and self._talk.poll():
            with suppress(EOFError):  # it ended without a word
                self._is_ready = bool(self._talk.recv())
        return self._is_ready

    def retire(self) -> None:
        """Have it take no more runs, and end when those that it has are over. Returns once it takes none."""
        with suppress(EOFError, OSError):  # it has ended
            self._talk.send(RETIRE)
            while self._talk.poll(_RETIRED_SECONDS) and self._talk.recv() != RETIRED:
                pass


class _Supervisor:
    """The processes, and whether a signal asked for their end."""

    def __init__(self, listening: socket.socket, reloading: Reloading | None = None) -> None:
        self._listening, self._reloading = listening, reloading
        self._children: list[_Child] = []
        self._retired: list[_Child] = []
        self._wanted: list[Duty] = []
        """Workers that could not begin with the code as it is, and wait for a change."""
        self.is_stopping = False

    def stop(self, *_: object) -> None:
        self.is_stopping = True

    def start(self, duties: Iterable[Duty]) -> bool:
        """Start a process for each; return whether all serve: one may not be able to, or a stop be asked for."""
        self._children += [_started(duty, self._listening) for duty in duties]
        return self._all_serve(self._children)

    def start_or_wait(self, workers: Sequence[Duty]) -> None:
        """Start workers; where their code cannot be loaded, wait for a change of it."""
        self._wanted = list(workers)
        if self._reloading and not self._replace_workers() and not self.is_stopping:
            self._reloading.tell(f"The graphs cannot be loaded. {WAITS}")

    def _all_serve(self, children: Sequence[_Child]) -> bool:
        while not all(child.is_ready for child in children):
            if _wait_for_an_end(children) or self.is_stopping:
                return False
        return True

    def watch(self) -> None:
        """Replace each process that ends, until a stop is asked for, and workers whose code changed."""
        while not self.is_stopping:
            if _wait_for_an_end([*self._children, *self._retired]):
                self._replace_ended()
            if self._reloading and (changed := self._reloading.changes()):
                self._reload(self._reloading, changed)

    def _replace_ended(self) -> None:
        self._retired = [each for each in self._retired if each.process.is_alive()]
        if all(each.process.is_alive() for each in self._children):
            return
        time.sleep(REST_SECONDS)
        self._children = [each if each.process.is_alive() else self._replaced(each) for each in self._children]
        if self._reloading and (unready := [each for each in self._children if self._is_to_wait(each)]):
            self._children = [each for each in self._children if each not in unready]
            self._wanted += [each.duty for each in unready]

    def _is_to_wait(self, child: _Child) -> bool:
        """Return whether a worker ended before it began: it waits for a change of code, and is not started forever."""
        return child.duty is Duty.WORKER and not self._all_serve([child]) and not self.is_stopping

    def _replaced(self, child: _Child) -> _Child:
        if self.is_stopping:
            return child
        logger.error("a %s process ended with %s; another is started", child.duty, child.process.exitcode)
        return _started(child.duty, self._listening)

    def _reload(self, reloading: Reloading, changed: list[str]) -> None:
        """Start workers with the code as it is now. Once they work, those with the old code end with their runs."""
        what = f"{', '.join(changed)} changed"
        if self._replace_workers():
            reloading.after()
            reloading.tell(f"Reloaded: {what}. The next run uses the new code.")
        elif not self.is_stopping:
            reloading.tell(
                f"Not reloaded: {what}, and the graphs cannot be loaded as they are. {self._told_of_workers()}"
            )

    def _told_of_workers(self) -> str:
        return WAITS if self._wanted else "The workers go on with the code before."

    def _replace_workers(self) -> bool:
        """Return whether new workers took the place of those that are there, or of those that could not begin."""
        old = [child for child in self._children if child.duty is Duty.WORKER]
        duties = self._wanted or [child.duty for child in old]
        new = [_started(duty, self._listening, is_reload=True) for duty in duties]
        if not self._all_serve(new):
            _end(new)
            return False
        self._children = [child for child in self._children if child not in old] + new
        self._wanted = []
        for child in old:
            child.retire()
        self._retired += old
        return True

    def end(self) -> None:
        """Stop all processes; kill those that take too long."""
        _end([*self._children, *self._retired])


def run(
    duties: Sequence[Duty],
    listening: socket.socket,
    on_ready: Callable[[], object],
    *,
    reloading: Reloading | None = None,
) -> int:
    """Run a process for each duty until SIGINT or SIGTERM. Return the exit code: 1 if one could not begin.

    A process that ends later is started again. With `reloading`, workers are replaced when their code changes, and
    begin later if it cannot be loaded.
    """
    supervisor = _Supervisor(listening, reloading)
    previous = {number: signal.signal(number, supervisor.stop) for number in SIGNALS}
    waiting = [duty for duty in duties if duty is Duty.WORKER] if reloading else []
    at_once = [duty for duty in duties if duty not in waiting]
    first = list(dict.fromkeys(at_once))
    try:
        # One of each first: what keeps it from beginning would keep its likes, and is said once.
        if supervisor.start(first) and supervisor.start(list((Counter(at_once) - Counter(first)).elements())):
            supervisor.start_or_wait(waiting)
            on_ready()
            supervisor.watch()
        return 0 if supervisor.is_stopping else 1
    finally:
        supervisor.end()
        for number, before in previous.items():
            signal.signal(number, before)


def _wait_for_an_end(children: Sequence[_Child]) -> bool:
    return bool(connection.wait([child.process.sentinel for child in children], timeout=_LOOK_SECONDS))


def _end(children: Sequence[_Child]) -> None:
    for child in children:
        child.process.terminate()
    until = time.monotonic() + LONGEST_REQUEST_SECONDS + settings.GRACE_SECONDS + 5
    for child in children:
        child.process.join(max(0, until - time.monotonic()))
        if child.process.is_alive():
            logger.error("a %s process did not stop in time and is killed", child.duty)
            child.process.kill()
            child.process.join()


def _started(duty: Duty, listening: socket.socket, *, is_reload: bool = False) -> _Child:
    """Start a process that ignores Ctrl-C, which a terminal sends to all of them: it is told to stop by this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _Child(duty, listening, is_reload=is_reload)
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(
    duty: Duty, listening: socket.socket, talk: "connection.Connection[object, object]", is_reload: bool
) -> None:
    """Be one of the processes."""
    import django

    gc.disable()  # until the apps are loaded
    django.setup()
    from django.core.management.base import CommandError

    from approvals.management import serving

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    orders = serving.Orders(
        duty=duty,
        on_ready=partial(talk.send, True),
        stops_on=(signal.SIGTERM,),
        is_reload=is_reload,
        until_retired=partial(_wait_for_word, talk),
        on_retired=partial(talk.send, RETIRED),
    )
    try:
        serving.serve(orders, listening)
    except CommandError as error:
        sys.exit(str(error))


def _wait_for_word(talk: "connection.Connection[object, object]") -> bool:
    """Return whether this process is told to retire; False if nobody is there any more who would."""
    try:
        return talk.recv() == RETIRE
    except (EOFError, OSError):
        return False


def _end_with_parent() -> None:
    """Stop when the process that started this one was killed: nobody else would stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
