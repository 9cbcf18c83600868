"""Lock a thread and one of its approvals, to vote, claim or close.

Lock order: thread row, approval row, fence, audit head; docs/explanation/decisions.md has all of it. Counting votes
happens under the thread's lock as well, because it reads what others write.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Now

from approvals import audit
from approvals.audit import rows
from approvals.compiled import Compiled, compiled
from approvals.domain import answers
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
        wanted = wanted.annotate(has_graph=Exists(graph))
        if reads:
            wanted = wanted.annotate(graph_code=Subquery(graph.values_list(KT("card__code_digest"))))
        return wanted.defer(*left_out, "thread__state", "thread__metadata").filter(pk=pk)

    return compiled(found)


_FOUND: dict[tuple[str, ...], Compiled[Approval]] = {reads: _reading(*reads) for reads in ((), CONTENT, LARGE)}


def lock(seen: Approval) -> Locked:
    """Lock the thread and the approval, in this order, and read both again.

    Large columns are read before: a process that freezes while it receives them would keep the locks. They are as they
    were if the hash that is read under the lock says so; a vote compares these hashes with the log as well.
    """
    if not answers.is_edited_beside(seen):
        # What the graph is given for a plain verdict on a question is made from the question itself.
        seen.refresh_from_db(fields=[name for name in CONTENT if name in seen.get_deferred_fields()])
    thread = Thread.objects.locked(seen.thread_id)
    [approval] = _locked(pk=seen.pk)
    rows.take_over(seen, approval, (*CONTENT, "proposal"))
    now, voters = getattr(approval, "read_at"), list(getattr(approval, "voters"))  # noqa: B009
    return Locked(thread, approval, Rule.of(approval.rule), now=now, voters=voters)


@compiled
def _locked(pk: UUID) -> "QuerySet[Approval]":
    approvals = rows.with_marks(Approval.objects.all(), APPROVAL_CONTENT).select_for_update(of=("self",))
    of_decision = [f"decision__{name}" for name in DECISION_CONTENT]
    approvals = approvals.select_related("claimed_by", "decision").defer(*of_decision)
    return approvals.annotate(read_at=Now(), voters=ArraySubquery(_voters())).filter(pk=pk)


def _voters() -> "QuerySet[Vote, int]":
    return Vote.objects.counting().filter(approval=OuterRef("pk")).order_by().values_list("voter_id", flat=True)
