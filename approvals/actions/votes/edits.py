"""The edits of a ballot or a preview: encrypted and checked once, against the pause and the card of its graph."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from agentcore.plain import edits as state_edit
from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.types import GraphCard
from approvals.compiled import compiled
from approvals.domain import answers, bindings, editable, encryption, policies
from approvals.domain.policies import Rule
from approvals.errors import InvalidEdit, Refusal, Unavailable
from approvals.models import Approval, Graph


@dataclass(frozen=True)
class CheckedEdits:
    """`value` is what is stored, shown and sent to a worker: new secrets in it are encrypted.

    `refused` is why the graph cannot take it, with a path for each fault; None if it can.
    """

    value: Any
    refused: Refusal | None = None

    @classmethod
    def of(cls, approval: Approval, given: Any, *, as_node: str = "", is_skip: bool = False) -> "CheckedEdits":
        """Read edits as somebody sent them. The card is read if there is an edit: nothing else needs the graph."""
        card = None if given == {} else _card(approval)
        value = encryption.encrypted(given, card.secrets, approval.thread_id) if card else given
        try:
            _check_pause(approval, value, as_node, is_skip=is_skip)
            if card is None and given != {}:
                raise Unavailable(bindings.graph_gone(approval.graph_id))
            if card:
                _check_channels(approval, value, card)
        except Refusal as refused:
            return cls(value, refused)
        return cls(value)

    def check(self) -> None:
        """Raise InvalidEdit, or Unavailable if no worker has the graph."""
        if self.refused:
            raise self.refused


def origins(approval: Approval) -> list[str]:
    """Return the nodes that an edit at a breakpoint may come from."""
    return [node for node in approval.request.get("ran", []) if node not in approval.next]


def _card(approval: Approval) -> GraphCard | None:
    found = _graph(pk=approval.graph_id)
    return found[0].at(approval.path).record if found else None


@compiled
def _graph(pk: str) -> "QuerySet[Graph]":
    return Graph.objects.filter(pk=pk)


def _check_pause(approval: Approval, edits: Any, as_node: str, *, is_skip: bool) -> None:
    if edits or is_skip:
        _refuse(policies.why_not_edit(waiting=approval.next))
    if edits:
        _refuse(policies.why_not_edit_blocked(blocked=approval.blocked))
        _refuse(policies.why_not_edit_sent(is_sent=answers.is_sent(approval) and not is_skip))
    _check_policy(approval, edits)
    _check_node(approval, as_node, is_skip=is_skip)


def _check_channels(approval: Approval, edits: Any, card: GraphCard) -> None:
    plain = encryption.decrypted(edits, card.secrets, approval.thread_id)
    try:
        state_edit.check_edits(card.channels, plain, opaque=approval.opaque, secrets=card.secrets)
    except CannotEdit as error:
        faults = [fault.as_dict() for fault in error.faults]
        raise InvalidEdit("The edit does not fit the graph.", faults=faults) from None


def _check_policy(approval: Approval, edits: Any) -> None:
    """Check the policy for edits, and for what a skipped node is said to have written."""
    rule = Rule.of(approval.rule)
    if rule.may_edit is None or not edits or not isinstance(edits, dict):
        return
    sentence = policies.why_closed(rule)
    paths = editable.closed_in_edits(rule.may_edit, approval.state, edits)
    faults = [Fault("/".join([path[0], "value", *path[1:]]), sentence).as_dict() for path in paths]
    if faults:
        raise InvalidEdit(sentence, faults=faults)


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


def _refuse(sentence: str, path: str = "") -> None:
    if sentence:
        raise InvalidEdit(sentence, faults=[Fault(path, sentence).as_dict()])
