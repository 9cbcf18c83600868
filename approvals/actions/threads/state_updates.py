"""Edits of a state that clients of a LangGraph server send. Here an edit is part of a vote, or of a fork."""

from approvals.domain import permissions, policies
from approvals.domain.permissions import User
from approvals.enums import ThreadStatus
from approvals.errors import THREAD_CLEANED, Busy, Gone, NotFound, NotOffered
from approvals.models import Approval, Thread

IS_A_VOTE = (
    "People are asked about this thread, so an edit is part of a vote: POST /api/approvals/ID/votes with `edits`,"
    " or decide it at the address in `approvals`."
)
IS_A_FORK = (
    "The state of a thread is not changed in its place. Fork it with the edit: POST /api/threads/ID/fork with `edits`."
)
_MOST_NAMED = 50


def refuse(*, thread_id: str, by: User) -> None:
    """Raise what says how the edit is made: Busy with the approvals that wait, or while a run holds the thread;
    NotOffered otherwise.
    """
    permissions.check_view(by)
    thread = Thread.objects.filter(pk=thread_id).only("status", "cleaned_at").first()
    if thread is None:
        raise NotFound("There is no such thread.")
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    waiting = Approval.objects.pending().filter(thread=thread).oldest_first().only("pk")[:_MOST_NAMED]
    if asked := [{"approval": str(each.pk), "address": each.address} for each in waiting]:
        raise Busy(IS_A_VOTE, approvals=asked)
    if thread.status == ThreadStatus.BUSY:
        raise Busy(policies.THREAD_HELD, status=thread.status)
    raise NotOffered(IS_A_FORK)
