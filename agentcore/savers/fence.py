"""The fence: a number of each thread that only grows. A write with another number is refused.

A run takes its thread with the next number. Each of its writes checks the number, and locks it, in the writing
transaction. So a worker that was frozen, replaced and thawed writes nothing, and its successor sees everything written
before. While a run holds the lease, writes without a number are refused as well: an agent that goes on by itself would
repeat what the run does.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from psycopg import DatabaseError

from agentcore.plain.errors import FenceLost, NotItsThread, ThreadCleaned, ThreadHeld
from agentcore.savers.base import Saver
from agentcore.testing.failpoints import is_off

HELD_SQL = "countersign_held(%s, %s)"
"""SQL function: returns the thread's id, and locks its fence until the transaction ends."""
_LOST = "CSF01"
"""The SQLSTATE it raises when the thread has another number."""
_CLEANED = "CSF02"
"""The SQLSTATE of a write to a thread that was removed."""
_HELD = "CSF03"
"""The SQLSTATE of a write to a thread that a run holds."""
HELD_SENTENCE = (
    "A run of the approval console holds this thread: nothing that others write to it is stored. Wait until it stops,"
    " read the thread again, and go on from where it stands then. A node of yours that has run may have had its effect."
)


@dataclass
class Fence:
    """What a run holds: its thread, and the number with which it took it."""

    thread_id: str
    number: int
    is_lost: bool = False

    def check(self, thread_id: str, number: int | None) -> None:
        """Raise FenceLost unless this is the fence's thread and the number is current."""
        self.check_thread(thread_id)
        if number != self.number:
            raise self.lose()

    def check_thread(self, thread_id: str) -> None:
        if thread_id != self.thread_id:
            raise NotItsThread("A run may write to its own thread only. Nothing was written.")

    def lose(self) -> FenceLost:
        """Return the error to raise. It is remembered, because LangGraph or a node may swallow it."""
        self.is_lost = True
        return FenceLost("Another worker has this thread, or its run was cancelled. Nothing was written.")


class Fenceable:
    """A saver of ours. If it has a `fence`, it checks it in the transaction of each write."""

    fence: Fence | None = None

    @contextmanager
    def holding(self, thread_id: str) -> Iterator[None]:
        """Write to this thread. Another thread than the fence's is refused; PostgreSQL's refusal becomes FenceLost."""
        if self.fence:
            self.fence.check_thread(thread_id)
        try:
            yield
        except DatabaseError as error:
            if self.fence and error.sqlstate == _LOST:
                raise self.fence.lose() from None
            if error.sqlstate == _CLEANED:
                raise ThreadCleaned("This thread was force-cleaned: nothing is written to it any more.") from None
            if error.sqlstate == _HELD:
                raise ThreadHeld(HELD_SENTENCE) from None
            raise

    def check_unfenced(self) -> None:
        """Refuse a write to many threads while there is a fence."""
        if self.fence:
            raise NotItsThread("A run may put checkpoints and writes, and delete its thread; nothing else.")


S = TypeVar("S", bound=Saver)


def fenced(saver: S, thread_id: str, number: int) -> S:
    """Return the same saver for the run that took `thread_id` with this number.

    Its writes raise FenceLost and store nothing unless the thread has this number (`Tables.raise_fence`). Writes to
    other threads raise NotItsThread.
    """
    if not isinstance(saver, Fenceable):
        raise TypeError(f"{type(saver).__name__} checks no fence. Take a saver from open_checkpointer.")
    if is_off("fence"):
        return saver
    held = copy.copy(saver)
    held.fence = Fence(thread_id, number)
    return held


@contextmanager
def lost_told(saver: Saver) -> Iterator[None]:
    """Raise FenceLost at the end of the block if a write in it was refused, even if that error was swallowed."""
    yield
    if isinstance(saver, Fenceable) and saver.fence and saver.fence.is_lost:
        raise saver.fence.lose()
