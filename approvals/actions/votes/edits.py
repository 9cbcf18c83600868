"""Previews and validation of edits: what an edit would lead to, from the real graph on a copy, and its faults."""

from typing import Any
from uuid import UUID

from agentcore.graphs import edits as state_edit
from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.types import GraphCard
from approvals.actions.votes import alterations
from approvals.actions.workers import inquiries
from approvals.audit import vouching
from approvals.domain import answers, bindings, editable, permissions, policies, secrets
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.enums import ApprovalStatus
from approvals.errors import (
    AlreadyDecided,
    Altered,
    Expired,
    InvalidAnswer,
    InvalidEdit,
    NotFound,
    Superseded,
    Unavailable,
)
from approvals.models import Approval, Graph

SHOWN = ("next_before", "next", "diff", "title", "summary", "actions", "digest")
"""What of a preview stays with a proposal: what changes and what it leads to, without the two whole states."""


def preview(*, approval_id: UUID, edits: Any, as_node: str = "", answer: Any = None, by: User) -> dict[str, Any]:
    """Return what an edit would lead to: the fields of `agentcore.plain.types.Preview`. Nothing is stored.

    At a breakpoint with several tasks it may be an answer that decides each of them. Raises what a vote would,
    InvalidEdit or InvalidAnswer with a path for each fault, Unavailable if no worker answers.
    """
    permissions.check_preview(by)
    approval = Approval.objects.select_related("decision").filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such approval.")
    alterations.check(approval, by)
    check_open(approval)
    return tried_each(approval, answer) if answer is not None else tried(approval, edits, as_node=as_node)


def tried(approval: Approval, edits: Any, *, as_node: str, is_skip: bool = False) -> dict[str, Any]:
    """Have the graph apply the edit to a copy."""
    check_content(approval, edits, as_node=as_node, is_skip=is_skip)
    if is_skip and not as_node:
        as_node = approval.next[0]
    return inquiries.preview(
        thread_id=approval.thread_id,
        graph_id=approval.graph_id,
        checkpoint_id=approval.checkpoint_id,
        namespace=approval.checkpoint_ns,
        edits=encrypted(approval, edits),
        as_node=as_node,
    )


def tried_each(approval: Approval, answer: Any) -> dict[str, Any]:
    """Have the graph apply an answer that decides each task of a breakpoint to a copy."""
    check_answer(approval, answer)
    try:
        return inquiries.preview_each(
            thread_id=approval.thread_id,
            graph_id=approval.graph_id,
            namespace=approval.checkpoint_ns,
            checkpoint_id=approval.checkpoint_id,
            answer=answer,
        )
    except InvalidEdit as refused:
        raise InvalidAnswer(refused.message, **refused.detail) from None


def check_answer(approval: Approval, answer: Any) -> None:
    """Raise InvalidAnswer with a path for each fault."""
    if not answers.takes_answer(approval):
        raise InvalidAnswer("This takes no answer; send edits to change the state.")
    if faults := answers.faults_in(approval, answer):
        raise InvalidAnswer("The answer does not fit the question.", faults=[fault.as_dict() for fault in faults])


def encrypted(approval: Approval, edits: Any) -> Any:
    """Return the edits with each new secret encrypted: that is what is stored and shown from here on."""
    return secrets.encrypted(edits, _secrets_of(approval), approval.thread_id) if edits else edits


def _secrets_of(approval: Approval) -> list[str]:
    found = Graph.objects.filter(pk=approval.graph_id).values_list("card__secrets", flat=True).first()
    return found or []


def check_open(approval: Approval) -> None:
    """Raise Unbound, Superseded, Expired or AlreadyDecided (which says who and when) if nobody can vote any more."""
    if approval.status in (ApprovalStatus.SUPERSEDED, ApprovalStatus.PENDING):
        bindings.check_of(approval.thread_id)
    if approval.status == ApprovalStatus.SUPERSEDED:
        raise Superseded("The agent moved on before anyone decided; this question is no longer asked.")
    if approval.status == ApprovalStatus.CLEANED:
        raise Superseded("An admin removed this thread; this question is no longer asked.")
    if not approval.is_pending and not hasattr(approval, "decision"):
        raise Altered(vouching.why_not_altered(["status"]), columns=["status"])
    if approval.status == ApprovalStatus.EXPIRED:
        raise Expired("Nobody decided in time, so it was rejected.", at=approval.decision.decided_at.isoformat())
    if not approval.is_pending:
        decision = approval.decision
        raise AlreadyDecided(
            f"{decision.decided_by} decided this already: {decision.verdict}.",
            by=decision.decided_by,
            verdict=decision.verdict,
            at=decision.decided_at.isoformat(),
        )


def check_content(approval: Approval, edits: Any, *, as_node: str, is_skip: bool) -> None:
    """Validate edits against the pause and the graph's card. Raises InvalidEdit with a path for each fault."""
    if edits or is_skip:
        _refuse(policies.why_not_edit(waiting=approval.next))
    if edits:
        _refuse(policies.why_not_edit_blocked(blocked=approval.blocked))
        _refuse(policies.why_not_edit_sent(is_sent=answers.is_sent(approval) and not is_skip))
    _check_policy(approval, edits)
    _check_node(approval, as_node, is_skip=is_skip)
    card = _card(approval)
    edits = secrets.decrypted(edits, card.secrets, approval.thread_id)
    try:
        state_edit.check_edits(card.channels, edits, opaque=approval.opaque, secrets=card.secrets)
    except CannotEdit as error:
        raise InvalidEdit(
            "The edit does not fit the graph.", faults=[fault.as_dict() for fault in error.faults]
        ) from None


def _check_policy(approval: Approval, edits: Any) -> None:
    """Check the policy for edits, and for what a skipped node is said to have written."""
    rule = Rule.of(approval.rule)
    if rule.may_edit is None or not isinstance(edits, dict):
        return
    sentence = policies.why_closed(rule)
    paths = editable.closed_in_edits(rule.may_edit, approval.state, edits)
    faults = [Fault("/".join([path[0], "value", *path[1:]]), sentence).as_dict() for path in paths]
    if faults:
        raise InvalidEdit(sentence, faults=faults)


def _refuse(sentence: str, path: str = "") -> None:
    if sentence:
        raise InvalidEdit(sentence, faults=[Fault(path, sentence).as_dict()])


def _check_node(approval: Approval, as_node: str, *, is_skip: bool) -> None:
    """Refuse an edit from a node that did not run just before the pause: it would jump over the nodes between."""
    if not as_node:
        return
    if approval.interrupt_id:
        _refuse("An edit that comes with an answer is put into the state as it is: leave as_node out.", "as_node")
    allowed = approval.next if is_skip else origins(approval)
    if as_node not in allowed:
        names = ", ".join(allowed) or "leave it out"
        told = "only a node that waits here can be skipped" if is_skip else "an edit comes from the node that ran last"
        _refuse(f"as_node is not right: {told} ({names}).", "as_node")


def origins(approval: Approval) -> list[str]:
    """Return the nodes that an edit at a breakpoint may come from."""
    return [node for node in approval.request.get("ran", []) if node not in approval.next]


def _card(approval: Approval) -> GraphCard:
    graph = Graph.objects.filter(pk=approval.graph_id).first()
    if graph is None:
        raise Unavailable(f"No worker has the graph {approval.graph_id} any more. Is it in langgraph.json?")
    return graph.at(approval.path).record
