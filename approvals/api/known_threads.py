"""Threads that operations are about."""

from collections import defaultdict

from approvals.errors import THREAD_CLEANED, Gone, NotFound
from approvals.models import Approval, Thread


def existing(thread_id: str) -> Thread:
    """Return the thread. Raises NotFound."""
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None:
        raise NotFound("There is no such thread.")
    return thread


def readable(thread_id: str) -> Thread:
    """Return a thread that still has its state. Raises NotFound, or Gone for one that was cleaned."""
    thread = existing(thread_id)
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    return thread


def interrupts_of(threads: list[Thread]) -> dict[str, list[Approval]]:
    """Return the open questions of each thread, but no breakpoints."""
    found = Approval.objects.pending().filter(thread__in=threads).exclude(interrupt_id="").defer("state", "actions")
    grouped: dict[str, list[Approval]] = defaultdict(list)
    for approval in found.oldest_first():
        grouped[approval.thread_id].append(approval)
    return grouped
