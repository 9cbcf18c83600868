"""The processes of `manage.py serve`: started, watched and stopped together."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
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
        self.is_ready = _spawn.Event()
        self.process = _spawn.Process(target=_begin, args=[duty, listening, self.is_ready], name=duty)
        self.process.start()


def run(duties: Sequence[Duty], listening: socket.socket, on_ready: Callable[[], object]) -> int:
    """Run a process for each duty until SIGINT or SIGTERM. Return the exit code: 1 if one could not begin.

    A process that ends later is started again.
    """
    asked_to_stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: asked_to_stop.set()) for number in SIGNALS}
    children: list[_Child] = []
    try:
        children = [_started(duty, listening) for duty in duties]
        if not _are_ready(children, asked_to_stop):
            return 0 if asked_to_stop.is_set() else 1
        on_ready()
        while not asked_to_stop.is_set():
            has_ended = connection.wait([child.process.sentinel for child in children], timeout=_LOOK_SECONDS)
            if has_ended and not asked_to_stop.wait(REST_SECONDS):
                children = [child if child.process.is_alive() else _replaced(child, listening) for child in children]
        return 0
    finally:
        _end(children)
        for number, before in previous.items():
            signal.signal(number, before)


def _replaced(child: _Child, listening: socket.socket) -> _Child:
    logger.error("a %s process ended with %s; another is started", child.duty, child.process.exitcode)
    return _started(child.duty, listening)


def _started(duty: Duty, listening: socket.socket) -> _Child:
    """Start a process that ignores Ctrl-C, which a terminal sends to all of them: it is told to stop by this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _Child(duty, listening)
    finally:
        signal.signal(signal.SIGINT, before)


def _are_ready(children: Sequence[_Child], asked_to_stop: threading.Event) -> bool:
    """Wait until all processes serve; return False as soon as one of them has ended, or a stop was asked for."""
    while not all(child.is_ready.is_set() for child in children):
        has_ended = connection.wait([child.process.sentinel for child in children], timeout=_LOOK_SECONDS)
        if has_ended or asked_to_stop.is_set():
            return False
    return True


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


def _begin(duty: Duty, listening: socket.socket, is_ready: "multiprocessing.synchronize.Event") -> None:
    """Be one of the processes."""
    import django

    django.setup()
    from django.core.management.base import CommandError

    from approvals.management import serving

    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        serving.serve(duty, listening, is_ready.set)
    except CommandError as error:
        sys.exit(str(error))


def _end_with_parent() -> None:
    """Stop when the process that started this one was killed: nobody else would stop it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
