"""The processes of `manage.py serve`: started, watched and stopped together."""

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


class Duty(StrEnum):
    """What one process does."""

    WEB = "web"
    WORKER = "worker"
    BOTH = "web and worker"


class _Child:
    """One process, and whether it has begun to serve."""

    def __init__(self, duty: Duty, listening: socket.socket) -> None:
        self.duty = duty
        self._told, tells = _spawn.Pipe(duplex=False)
        self.process = _spawn.Process(target=_begin, args=[duty, listening, tells], name=duty)
        self.process.start()
        tells.close()
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        if not self._is_ready and self._told.poll():
            with suppress(EOFError):  # it ended without a word
                self._is_ready = bool(self._told.recv())
        return self._is_ready


class _Supervisor:
    """The processes, and whether a signal asked for their end."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._children: list[_Child] = []
        self.is_stopping = False

    def stop(self, *_: object) -> None:
        self.is_stopping = True

    def start(self, duties: Iterable[Duty]) -> bool:
        """Start a process for each; return whether all serve: one may not be able to, or a stop be asked for."""
        for duty in duties:
            self._children.append(_started(duty, self._listening))
        while not all(child.is_ready for child in self._children):
            if self._wait_for_an_end() or self.is_stopping:
                return False
        return True

    def watch(self) -> None:
        """Replace each process that ends, until a stop is asked for."""
        while not self.is_stopping:
            if self._wait_for_an_end():
                time.sleep(REST_SECONDS)
                self._children = [each if each.process.is_alive() else self._replaced(each) for each in self._children]

    def _replaced(self, child: _Child) -> _Child:
        if self.is_stopping:
            return child
        logger.error("a %s process ended with %s; another is started", child.duty, child.process.exitcode)
        return _started(child.duty, self._listening)

    def _wait_for_an_end(self) -> bool:
        return bool(connection.wait([child.process.sentinel for child in self._children], timeout=_LOOK_SECONDS))

    def end(self) -> None:
        """Stop all processes; kill those that take too long."""
        for child in self._children:
            child.process.terminate()
        until = time.monotonic() + LONGEST_REQUEST_SECONDS + settings.GRACE_SECONDS + 5
        for child in self._children:
            child.process.join(max(0, until - time.monotonic()))
            if child.process.is_alive():
                logger.error("a %s process did not stop in time and is killed", child.duty)
                child.process.kill()
                child.process.join()


def run(duties: Sequence[Duty], listening: socket.socket, on_ready: Callable[[], object]) -> int:
    """Run a process for each duty until SIGINT or SIGTERM. Return the exit code: 1 if one could not begin.

    A process that ends later is started again.
    """
    supervisor = _Supervisor(listening)
    previous = {number: signal.signal(number, supervisor.stop) for number in SIGNALS}
    first = list(dict.fromkeys(duties))
    try:
        # One of each first: what keeps it from beginning would keep its likes, and is said once.
        if supervisor.start(first) and supervisor.start(list((Counter(duties) - Counter(first)).elements())):
            on_ready()
            supervisor.watch()
        return 0 if supervisor.is_stopping else 1
    finally:
        supervisor.end()
        for number, before in previous.items():
            signal.signal(number, before)


def _started(duty: Duty, listening: socket.socket) -> _Child:
    """Start a process that ignores Ctrl-C, which a terminal sends to all of them: it is told to stop by this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _Child(duty, listening)
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(duty: Duty, listening: socket.socket, tells: "connection.Connection") -> None:
    """Be one of the processes."""
    import django

    gc.disable()  # until the apps are loaded
    django.setup()
    from django.core.management.base import CommandError

    from approvals.management import serving

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        serving.serve(duty, listening, partial(tells.send, True), stops_on=(signal.SIGTERM,))
    except CommandError as error:
        sys.exit(str(error))


def _end_with_parent() -> None:
    """Stop when the process that started this one was killed: nobody else would stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
