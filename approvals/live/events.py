"""Messages to open pages: what changed. A process that hears nothing tells its pages, which then ask by themselves."""

import hashlib

from approvals.live import relay

QUEUE = "queue"
THREADS = "threads"
"""The list of threads. It changes with every run, the queue does not."""


def thread_topic(thread_id: str) -> str:
    """Return the name of a thread's group. It is a hash, as thread ids may hold any character."""
    return "thread." + hashlib.sha256(thread_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def log_topic(thread_id: str) -> str:
    """Return the name under which it is announced that a run of the thread printed or logged something."""
    return "log." + hashlib.sha256(thread_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def inquiry_topic(graph_id: str) -> str:
    """Return the name under which an inquiry about a graph is announced, or one that needs no graph."""
    return "ask." + hashlib.sha256(graph_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def reply_topic(inquiry_id: str) -> str:
    """Return the name under which the answer to an inquiry is announced."""
    return f"reply.{inquiry_id}"


def subscription_topic(thread_id: str) -> str:
    """Return the name under which is announced that somebody subscribed to the stream of a thread, or left."""
    return "sub." + thread_topic(thread_id)


def stream_topic(thread_id: str) -> str:
    """Return the name under which new parts of the stream of a thread are announced."""
    return "stream." + thread_topic(thread_id)


def person_topic(person_id: int) -> str:
    """Return the name of what only this person is told."""
    return f"person.{person_id}"


def publish(*, thread_id: str, is_queue_changed: bool = True) -> None:
    """Announce that a thread, and the queue, changed: once the caller's transaction is committed, and not otherwise."""
    relay.announce([thread_topic(thread_id), THREADS, *([QUEUE] if is_queue_changed else [])])


def publish_to_all() -> None:
    """Announce that what every page shows may have changed, such as who votes or what a graph calls its nodes."""
    relay.announce([relay.EVERYTHING])
