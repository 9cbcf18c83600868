"""Questions that differ from the audit log. The log records each finding once."""

from collections.abc import Collection, Sequence

from approvals import audit
from approvals.audit import vouching
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Altered
from approvals.models import Approval, AuditEntry, Thread

ACTION = "approval.altered"


def altered(approvals: Sequence[Approval], by: User | None = None) -> dict[str, str]:
    """Return the sentence about each altered question, by its id. One query if none is altered."""
    if not approvals:
        return {}
    log = vouching.read(approvals, with_rules=False)
    found = {}
    for approval in approvals:
        if differing := vouching.what_differs(log, approval):
            note(approval, differing, by=by)
            _leave_out(approval, differing)
            found[str(approval.pk)] = vouching.why_not_altered(differing)
    return found


def why_not(approval: Approval, by: User) -> str:
    """Return why this person cannot decide on the stored question, its votes or its thread, or an empty string."""
    log = vouching.read([approval], people=[by.pk or 0])
    if differing := vouching.what_differs(log, approval):
        note(approval, differing, by=by)
        _leave_out(approval, differing)
        return vouching.why_not_altered(differing)
    if not approval.is_pending:
        return ""
    if differing := vouching.thread_differs(log, approval.thread):
        note(approval, differing, by=by)
        return vouching.why_not_thread(differing)
    return vouching.why_not_rule(log, approval) or vouching.why_not_person(
        log, by.pk, by.get_username(), permissions.memberships_of(by)
    )


def check(approval: Approval, by: User) -> None:
    """Raise Altered for a question that is not as asked."""
    differing = vouching.what_differs(vouching.read([approval], with_rules=False), approval)
    if differing:
        note(approval, differing, by=by)
        raise Altered(vouching.why_not_altered(differing), columns=differing)


def check_thread(thread: Thread) -> None:
    """Raise Altered for a thread that was changed outside the console, before anything new is made from it."""
    if differing := vouching.thread_differs(vouching.read((), threads=[thread.pk]), thread):
        raise Altered(vouching.why_not_thread(differing), columns=differing)


def _leave_out(approval: Approval, differing: Collection[str]) -> None:
    """Leave out a proposal that nobody made: it may have any content."""
    if "proposal" in differing:
        approval.proposal = None


def note(approval: Approval, differing: Collection[str], *, by: User | None) -> None:
    """Write an entry, once for each question and difference."""
    about = {"approval": str(approval.pk), "columns": sorted(differing)}
    with audit.transaction():
        known = AuditEntry.objects.filter(action=ACTION, thread_id=approval.thread_id)
        if about not in [entry.record["object"] for entry in known]:
            actor = by.get_username() if by else "countersign"
            kind = "person" if by else "system"
            audit.append(
                ACTION, actor=actor, actor_kind=kind, thread_id=approval.thread_id, object=about, outcome="altered"
            )
