"""Messages to open pages: something changed. Delivery is at most once, so pages also poll."""

import hashlib

from approvals.live import relay

QUEUE = "queue"


def thread_topic(thread_id: str) -> str:
    """Return the name of a thread's group. It is a hash, as thread ids may hold any character."""
    return "thread." + hashlib.sha256(thread_id.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def reply_topic(inquiry_id: str) -> str:
    """Return the name under which the answer to an inquiry is announced."""
    return f"reply.{inquiry_id}"


def publish(*, thread_id: str = "", is_queue_changed: bool = True) -> None:
    """Announce that a thread, and the queue, changed: once the caller's transaction is committed, and not otherwise."""
    topics = [thread_topic(thread_id)] if thread_id else []
    topics += [QUEUE] if is_queue_changed else []
    relay.announce(topics)
