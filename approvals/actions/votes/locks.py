"""Lock a thread and one of its approvals, to vote, claim or close.

Lock order: thread row, approval row, fence, audit head; docs/explanation/decisions.md has all of it. Counting votes
happens under the thread's lock as well, because it reads what others write.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Now

from approvals import audit
from approvals.audit import rows
from approvals.compiled import Compiled, compiled
from approvals.domain import answers, permissions
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.errors import NotFound
from approvals.models import APPROVAL_CONTENT, DECISION_CONTENT, Approval, Graph, Thread, Vote

LARGE = ("state", "request", "actions", "answer_schema")
"""Columns that hardly any vote looks at. They are read only by name, or by a statement of their own when used."""
CONTENT = ("request", "actions", "answer_schema")
"""Those that the edits or the answer of a ballot are checked against."""


@dataclass(frozen=True)
class Locked:
    """A thread and its approval with locked rows, and the database's time."""

    thread: Thread
    approval: Approval
    rule: Rule
    now: datetime
    voters: list[int]
    """People whose votes count so far."""
    rights: list[dict[str, Any]]
    """Of the person for whom it was locked: what `permissions.take_rights` takes."""
    rows: audit.Told = field(default_factory=dict)
    """What was changed beside the vote itself, for its entry."""


def find(approval_id: UUID, *, reads: Collection[str] = ()) -> Approval:
    """Return the approval with its thread, and of its large columns none, CONTENT or LARGE. Raises NotFound."""
    found = _FOUND[tuple(reads)](pk=approval_id)
    if not found:
        raise NotFound("There is no such approval.")
    return found[0]


def _reading(*reads: str) -> "Compiled[Approval]":
    left_out = [name for name in LARGE if name not in reads]

    def found(pk: UUID) -> "QuerySet[Approval]":
        wanted = Approval.objects.select_related("decision", "thread__started_by", "thread__reading")
        graph = Graph.objects.filter(pk=OuterRef("graph_id"))
        if reads:
            wanted = wanted.annotate(graph_code=Subquery(graph.values_list(KT("card__code_digest"))))
        return wanted.defer(*left_out, "thread__state", "thread__metadata").filter(pk=pk)

    return compiled(found)


_FOUND: dict[tuple[str, ...], Compiled[Approval]] = {reads: _reading(*reads) for reads in ((), CONTENT, LARGE)}


def lock(seen: Approval, *, by: User | None = None) -> Locked:
    """Lock the thread and the approval, in this order, and read both again, with the rights of a person.

    Large columns are read before: a process that freezes while it receives them would keep the locks. They are as they
    were if the hash that is read under the lock says so; a vote compares these hashes with the log as well.
    """
    if not answers.is_edited_beside(seen):
        # What the graph is given for a plain verdict on a question is made from the question itself.
        seen.refresh_from_db(fields=[name for name in CONTENT if name in seen.get_deferred_fields()])
    thread = Thread.objects.locked(seen.thread_id)
    token = permissions.token_of(by) if by else ""
    [approval] = _locked(pk=seen.pk, person=by.pk or 0 if by else 0, token=token)
    rows.take_over(seen, approval, (*CONTENT, "proposal"))
    thread.keep_reading(approval.thread)
    approval.thread = thread
    read = vars(approval)
    rule, voters, rights = Rule.of(approval.rule), list(read["voters"]), read["rights"]
    return Locked(thread, approval, rule, now=read["read_at"], voters=voters, rights=rights)


@compiled
def _locked(pk: UUID, person: int, token: str) -> "QuerySet[Approval]":
    """Everybody who changes an approval locks its thread first. So this waits for nobody, and reads what is joined as
    it is now.
    """
    approvals = rows.with_marks(Approval.objects.all(), APPROVAL_CONTENT).select_for_update(of=("self",))
    of_decision = [f"decision__{name}" for name in DECISION_CONTENT]
    of_thread = [f"thread__{field.attname}" for field in Thread._meta.concrete_fields if not field.primary_key]
    approvals = approvals.select_related("claimed_by", "decision", "thread__reading").defer(*of_decision, *of_thread)
    rights = ArraySubquery(permissions.rights(person, token))
    return approvals.annotate(read_at=Now(), voters=ArraySubquery(_voters()), rights=rights).filter(pk=pk)


def _voters() -> "QuerySet[Vote, int]":
    return Vote.objects.counting().filter(approval=OuterRef("pk")).order_by().values_list("voter_id", flat=True)
