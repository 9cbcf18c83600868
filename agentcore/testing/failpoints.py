"""Failpoints: named places where a test may inject a fault, and mechanisms that it may switch off. Refused outside
tests.

`FAILPOINTS="run.entered=kill;saver.before_put=stop@3;fence=off"`, together with COUNTERSIGN_TESTING=1, arms a process
from its start. `arm` does it for a forked process.
"""

import os
import re
import signal
import threading
import time
from dataclasses import dataclass

from agentcore.plain.errors import FailpointsRefused

NAMES = {
    "decide.locked": "The thread and the approval are locked; nothing is written.",
    "decide.voted": "The vote is written.",
    "decide.decided": "Decision, run and job are written.",
    "decide.committed": "All of it is committed; the client does not know.",
    "audit.written": "The entries of a transaction are written and the log's head is locked; nothing is committed.",
    "audit.turn": "A process may sign the log, and no other one may; nothing is written.",
    "audit.signed": "A note on the log is signed; it is neither in the file nor in the database.",
    "audit.writing": "A process holds the files of the signed heads and is about to write one.",
    "thread.locked": "The row of a thread is locked; nothing is written.",
    "clean.deleted": "Some rows of a removed thread are deleted; nothing is committed.",
    "run.claimed": "A worker has the lease; the graph was not called.",
    "run.entered": "It is committed that nodes may run from here on.",
    "run.stepped": "A node that begins or ends is noted on the run's row.",
    "run.ended": "The graph stopped; where its thread stands is about to be read.",
    "run.stopped": "The graph stopped; how is not stored yet.",
    "run.settled": "How it stopped is stored.",
    "resume.edited": "The edit is a checkpoint; the graph was not called.",
    "saver.before_put": "A checkpoint is about to be written.",
    "saver.after_put": "A checkpoint was written.",
    "saver.before_writes": "Pending writes are about to be written.",
    "saver.after_writes": "Pending writes were written.",
}
MECHANISMS = {
    "fence": "Checkpoint writes of a worker that lost its thread are refused.",
    "hold": "While a run has its lease, others write nothing to its thread.",
    "head_check": "A vote is refused when the thread moved since.",
    "bytes_check": "What is stored is compared with what a question was bound to, at the vote and before a run.",
    "digest_check": "A vote must name what was shown.",
    "row_check": "What a decision rests on must stand in the audit log.",
    "rights_again": "Under a lock a person's rights are read again.",
    "folds": "A yes needs the end of each value that is taller than a screen to have been seen.",
    "one_decision": "What was decided is not decided again.",
    "tombstone": "What is written to a thread that was removed is refused, and looked for again.",
    "nothing_ran": "A run that carried nothing out has its question asked anew.",
    "sync": "A checkpoint is written before the next step begins.",
}


class FailpointReached(Exception):
    """Raised by the action `raise`."""


_ACTION = re.compile(r"off|kill|stop|raise|sleep:\d+(\.\d+)?")


@dataclass
class _Armed:
    action: str
    left: int


_armed: dict[str, _Armed] = {}


def arm(name: str, action: str, *, at: int = 1) -> None:
    """Have `action` happen the `at`-th time that `name` is reached: kill, stop, raise, sleep:SECONDS; or off.

    Raises FailpointsRefused outside tests, and for unknown names and actions.
    """
    if os.environ.get("COUNTERSIGN_TESTING") != "1":
        raise FailpointsRefused("FAILPOINTS is for tests: unset it. It works only with COUNTERSIGN_TESTING=1.")
    if not _ACTION.fullmatch(action) or at < 1:
        raise FailpointsRefused(
            f"{action!r:.40} at {at} is nothing a failpoint does. Type kill, stop, raise, sleep:SECONDS or off, and @2"
            " behind it for the second time."
        )
    known = MECHANISMS if action == "off" else NAMES
    if name not in known:
        raise FailpointsRefused(f"{name!r:.60} cannot {action!r:.20}. What can: {', '.join(known)}.")
    _armed[name] = _Armed(action, at)


def disarm() -> None:
    """Disarm every failpoint."""
    _armed.clear()


def reach(name: str) -> None:
    """Mark this place in the code. What a test has armed here happens."""
    assert name in NAMES, f"{name} is not in NAMES"
    armed = _armed.get(name)
    if armed is None:
        return
    armed.left -= 1
    if armed.left == 0:
        _act(armed.action, name)


def is_off(name: str) -> bool:
    """Return whether a test has switched this mechanism off."""
    assert name in MECHANISMS, f"{name} is not in MECHANISMS"
    return name in _armed


def _act(action: str, name: str) -> None:
    match action.partition(":"):
        case "kill", *_:
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop", *_:
            # Sent to this thread: a signal to the process may reach another one, and this one would run on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case "raise", *_:
            raise FailpointReached(name)
        case "sleep", _, seconds:
            time.sleep(float(seconds))


def arm_from(text: str) -> None:
    """Arm what FAILPOINTS says: `name=action` or `name=action@n`, separated by semicolons."""
    for item in filter(None, (part.strip() for part in text.split(";"))):
        name, _, what = item.partition("=")
        action, _, at = what.partition("@")
        at = at or "1"
        arm(name, action, at=int(at) if at.isdecimal() else 0)


arm_from(os.environ.get("FAILPOINTS", ""))
