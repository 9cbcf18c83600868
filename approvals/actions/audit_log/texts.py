"""Erase a text of an entry wherever it is stored. The entry stays, and the log still verifies."""

from django.utils import timezone

from approvals import audit
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.enums import ACTIVE_RUNS, STUCK_RUNS
from approvals.errors import Busy, Gone, Invalid, NotFound
from approvals.live import events
from approvals.models import AuditEntry, AuditText, Decision, Draft, Run, Thread, Vote


def erase_text(*, seq: int, name: str, reason: str, by: User) -> None:
    """Erase a text and its salt. Raises Denied, NotFound, Gone, Invalid, or Busy while a run may still need it."""
    permissions.check_erase_text(by)
    if not reason.strip():
        raise Invalid("Say why the text is erased: the reason goes into the log.")
    entry = AuditEntry.objects.filter(pk=seq).first()
    if entry is None:
        raise NotFound("There is no such entry.")
    with audit.transaction():
        Thread.objects.find_locked(entry.thread_id)
        permissions.check_again(by, "erase_text")
        text = AuditText.objects.select_for_update().filter(seq=seq, name=name).first()
        _check(entry, text)
        assert text
        _erase_copies(entry, text.text)
        text.salt, text.text, text.erased_at, text.erased_by = "", "", timezone.now(), by.get_username()
        text.save()
        audit.append(
            "text.erased",
            actor=by.get_username(),
            thread_id=entry.thread_id,
            object={"seq": seq, "name": name},
            texts={"reason": reason.strip()},
        )
        events.publish(thread_id=entry.thread_id)


def _check(entry: AuditEntry, text: AuditText | None) -> None:
    if text is None:
        raise NotFound("No such text stands beside this entry.")
    if text.erased_at:
        raise Gone("This text was erased before.")
    if Run.objects.filter(thread_id=entry.thread_id, status__in=[*ACTIVE_RUNS, *STUCK_RUNS]).exists():
        raise Busy("A run of this thread may still need the text. Erase it once the run has ended or was given up.")


def _erase_copies(entry: AuditEntry, text: str) -> None:
    """Erase the copies. A decision's comment is made of its votes' comments, so it is erased as a whole."""
    about = entry.record["object"]
    votes = Vote.objects.filter(pk__in=[about["vote"]] if "vote" in about else [])
    Decision.objects.filter(approval__votes__in=votes, comment__contains=text).update(comment="")
    votes.update(comment="")
    Draft.objects.filter(thread_id=entry.thread_id, comment=text).update(comment="")
