"""A question that is not what was asked, as whoever draws it or votes on it finds: said once in the log."""

from collections.abc import Collection, Sequence

from approvals import audit
from approvals.audit import vouching
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Altered
from approvals.models import Approval, AuditEntry, Thread

ACTION = "approval.altered"


def altered(approvals: Sequence[Approval], by: User | None = None) -> dict[str, str]:
    """Return what is to be said of each question that is not what was asked, by its id; one query where all is well."""
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
    """Say why this person cannot decide on what stands in the database: something of it is not as the log has it."""
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
    """Raise Altered for a question that is not what was asked."""
    differing = vouching.what_differs(vouching.read([approval], with_rules=False), approval)
    if differing:
        note(approval, differing, by=by)
        raise Altered(vouching.why_not_altered(differing), columns=differing)


def check_thread(thread: Thread) -> None:
    """Raise Altered for a thread that was changed past the console, before something more is made of it."""
    if differing := vouching.thread_differs(vouching.read((), threads=[thread.pk]), thread):
        raise Altered(vouching.why_not_thread(differing), columns=differing)


def _leave_out(approval: Approval, differing: Collection[str]) -> None:
    """A proposal that nobody made is not drawn: it may have any shape."""
    if "proposal" in differing:
        approval.proposal = None


def note(approval: Approval, differing: Collection[str], *, by: User | None) -> None:
    """Write it down, once for each question and what differs."""
    about = {"approval": str(approval.pk), "columns": sorted(differing)}
    with audit.transaction():
        known = AuditEntry.objects.filter(action=ACTION, thread_id=approval.thread_id)
        if about not in [entry.record["object"] for entry in known]:
            actor = by.get_username() if by else "countersign"
            kind = "person" if by else "system"
            audit.append(
                ACTION, actor=actor, actor_kind=kind, thread_id=approval.thread_id, object=about, outcome="altered"
            )
