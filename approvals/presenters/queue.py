"""The rows of the queue."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import groupby
from types import MappingProxyType
from urllib.parse import quote
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.http import RFC3986_SUBDELIMS

from agentcore.plain.gist import money
from approvals.domain.graphs_here import GoneGraph, GraphsHere
from approvals.domain.sorts import TIME_GROUPS, time_group_of
from approvals.enums import VERDICT_WORDS, ApprovalStatus, RunStatus, Verdict
from approvals.models import Approval, Decision, Run
from approvals.presenters.runs import WORDS as RUN_WORDS

OUTCOMES = {VERDICT_WORDS[verdict].status: VERDICT_WORDS[verdict].decided for verdict in Verdict} | {
    ApprovalStatus.PENDING: "Open",
    ApprovalStatus.EXPIRED: "Timed out",
    ApprovalStatus.SUPERSEDED: "Superseded",
    ApprovalStatus.CLEANED: "Cleaned",
}
KIND_WORDS = {
    "breakpoint": "Breakpoint",
    "hitl_batched": "Tool calls",
    "hitl_per_call": "Tool call",
    "legacy": "Inbox action",
    "schema": "Form",
    "plain": "Question",
    "raised": "Raised by the node",
}


@dataclass(frozen=True)
class StuckShown:
    """The run of a decision that could not be carried out."""

    run_id: UUID
    status: str
    word: str
    error: str
    problem: str


@dataclass(frozen=True)
class Titled:
    """The title of an approval: that of the decision; before it, or if that has none, that of the question."""

    title: str
    summary: str
    asked: str = ""
    """What the agent asked, where something else was decided."""
    proposed: str = ""
    """What somebody proposes instead, while it waits."""


@dataclass(frozen=True)
class QueueRow:
    """One approval in a list. `so_far` of `needed` approving votes are in."""

    id: UUID
    address: str
    """Of its page."""
    title: str
    summary: str
    asked: str
    """What the agent asked, where something else was decided."""
    proposed: str
    """What somebody proposes instead, while it waits."""
    what: str
    """What would be done, how much, for whom; of a decided one, what was decided."""
    detail: str
    heading: str
    """What stands on top of its page. A question says that it is one: its words are the agent's."""
    action: str
    amount: Decimal | None
    currency: str
    customer: str
    risk: str
    risk_level: str
    """`final`: it cannot be undone, as its author says; `look`: they name another risk; empty: an ordinary one."""
    graph: str
    graph_id: str
    node: str
    kind: str
    thread_id: str
    thread_address: str
    started_by: str
    created_at: datetime
    closed_at: datetime | None
    due_at: datetime | None
    is_escalated: bool
    so_far: int
    needed: int
    holder: str
    status: str
    outcome: str
    decided_by: str
    others: int
    """Questions that the same step of the thread asked beside this one."""
    is_deviating: bool
    """What ran is not what was decided."""
    untrue: str
    """Why the row cannot be relied on: it differs from the audit log."""
    gone: GoneGraph | None
    """It waits, and no worker has its graph, or the graph no longer has its node."""
    stuck: StuckShown | None
    warnings: int
    """Number of warnings."""


def rows_of(
    approvals: Iterable[Approval],
    altered: Mapping[str, str] = MappingProxyType({}),
    *,
    here: GraphsHere | None = None,
) -> list[QueueRow]:
    """The approvals come with `thread__started_by`, `claimed_by`, `decision__run` and what `queries.with_...` add.

    `altered` says of those that are not what was asked why nobody may rely on them.
    """
    return [row_of(approval, altered.get(str(approval.pk), ""), here=here) for approval in approvals]


def row_of(approval: Approval, untrue: str = "", *, here: GraphsHere | None = None) -> QueueRow:
    starter = approval.thread.started_by
    decision = getattr(approval, "decision", None)
    called = titled(approval, decision)
    is_as_asked = bool(approval.headline) and called.title == approval.title and not called.asked
    return QueueRow(
        id=approval.pk,
        address=_address("approval", str(approval.pk)),
        title=called.title,
        summary=called.summary,
        asked=called.asked,
        proposed=called.proposed,
        what=approval.headline if is_as_asked else called.title,
        detail=approval.detail if is_as_asked else called.summary,
        heading=approval.headline if is_as_asked and approval.action != "Question" else called.title,
        action=approval.action,
        amount=approval.amount,
        currency=approval.currency,
        customer=approval.customer,
        risk=approval.risk,
        risk_level=_risk_level(approval.risk),
        graph=approval.graph_id or "unknown graph",
        graph_id=approval.graph_id,
        node=", ".join(approval.next),
        kind=KIND_WORDS.get(approval.kind, approval.kind),
        thread_id=approval.thread_id,
        thread_address=_address("thread", quote(approval.thread_id, safe=_SAFE)),
        started_by=starter.get_username() if starter else "outside",
        created_at=approval.created_at,
        closed_at=approval.closed_at,
        due_at=approval.due_at,
        is_escalated=approval.escalated_at is not None,
        so_far=getattr(approval, "approvals_so_far", 0),
        needed=approval.required_votes,
        holder=_holder(approval),
        status=approval.status,
        outcome=OUTCOMES[ApprovalStatus(approval.status)],
        decided_by=decision.decided_by if decision else "",
        others=max(0, getattr(approval, "asked_together", 0) - 1),
        is_deviating=bool(decision and decision.deviations),
        untrue=untrue,
        gone=here.why_gone(approval) if here and approval.is_pending else None,
        stuck=_stuck(getattr(decision, "run", None)),
        warnings=len(approval.marks),
    )


@dataclass(frozen=True)
class RowGroup:
    """Rows of a list under one heading. `count` is how many there are on all pages; None where nobody counted."""

    name: str
    rows: list[QueueRow]
    count: int | None


def grouped(rows: Iterable[QueueRow], group: str, counts: Mapping[str, int] | None) -> list[RowGroup]:
    """Return rows in their order under headings; all of them under none where `group` is none of sorts.GROUPS."""
    now = timezone.now()
    groups = []
    for key, found in groupby(rows, lambda row: _group_key(row, group, now)):
        name = TIME_GROUPS.get(key, key) if group == "due" else key or NO_NAMES.get(group, "")
        groups.append(RowGroup(name, list(found), counts.get(key) if counts is not None else None))
    return groups


NO_NAMES = {"graph": "Unknown graph", "action": "Other", "customer": "No customer"}


def _group_key(row: QueueRow, group: str, now: datetime) -> str:
    match group:
        case "due":
            return time_group_of(row.due_at, now)
        case "graph":
            return row.graph_id
        case "action":
            return row.action
        case "customer":
            return row.customer
    return ""


def _risk_level(risk: str) -> str:
    if not risk or risk in ORDINARY_RISKS:
        return ""
    return "final" if re.search(r"final|undo|irrevers", risk, re.IGNORECASE) else "look"


ORDINARY_RISKS = ("money", "question")
"""What is found without its author: see `agentcore/plain/gist.py`."""
_ANY_ID = str(UUID(int=0))
_SAFE = f"{RFC3986_SUBDELIMS}/~:@"
"""As `reverse` has it."""


def _address(page: str, quoted: str) -> str:
    """Return the address of a page. Django takes a while to write one, and a list has a hundred."""
    return _address_of_any(page).replace(_ANY_ID, quoted)


@cache
def _address_of_any(page: str) -> str:
    return reverse(page, args=[_ANY_ID])


def titled(approval: Approval, decision: Decision | None) -> Titled:
    """Return the title of what was decided; the question's title would not say what happened."""
    if decision is None:
        return Titled(approval.title, approval.summary, proposed=_proposed(approval) if approval.is_pending else "")
    if decision.verdict not in (Verdict.APPROVE, Verdict.RESPOND):
        return Titled(approval.title, approval.summary)
    preview = (approval.proposal or {}).get("preview") or {}
    if preview.get("title") and preview["digest"] == decision.seen_preview:
        is_same = (preview["title"], preview["summary"]) == (approval.title, approval.summary)
        asked = "" if is_same else _joined(approval.title, approval.summary)
        return Titled(preview["title"], preview["summary"], asked)
    is_otherwise = decision.verdict == Verdict.RESPOND or decision.seen_preview
    return Titled(f"Asked: {approval.title}" if is_otherwise else approval.title, approval.summary)


def _proposed(approval: Approval) -> str:
    if not approval.proposal:
        return ""
    by = approval.proposal.get("by") or "Somebody"
    preview = approval.proposal.get("preview") or {}
    if approval.proposal.get("verdict") == Verdict.SKIP:
        return f"{by} proposes to skip it"
    if preview.get("title"):
        return f"{by} proposes: {_joined(preview['title'], preview['summary'])}"
    return f"{by} proposes {'an answer' if approval.proposal.get('verdict') == Verdict.RESPOND else 'an edit'}"


def _joined(title: str, summary: str) -> str:
    return f"{title}, {summary}" if summary else title


def _holder(approval: Approval) -> str:
    is_held = approval.claimed_until is not None and approval.claimed_until > timezone.now()
    return approval.claimed_by.get_username() if is_held and approval.claimed_by else ""


def _stuck(run: Run | None) -> StuckShown | None:
    if run is None or not run.is_stuck:
        return None
    return StuckShown(run.pk, run.status, RUN_WORDS[RunStatus(run.status)], run.error, run.problem)


def sums_of(approvals: Iterable[Approval]) -> list[str]:
    """Return the sum of each currency, and how many of each action: `153.90 EUR`, `2 × Refund`."""
    sums: dict[str, Decimal] = {}
    actions: Counter[str] = Counter()
    for approval in approvals:
        if approval.amount is not None:
            sums[approval.currency] = sums.get(approval.currency, Decimal(0)) + approval.amount
        actions[approval.action or KIND_WORDS.get(approval.kind, approval.kind)] += 1
    return [
        *(money(amount, currency or "without a currency") for currency, amount in sorted(sums.items())),
        *(f"{number} × {action}" for action, number in actions.most_common()),
    ]
