"""`interrupt(anything)`: shown raw, never hidden. It cannot be answered from here yet, and says so."""

import json
from typing import Any

from agentcore.registry import Graph
from agentcore.types import Action, Pause, PendingInterrupt, Snapshot

WHY_NOT = (
    "This thread waits in interrupt(), a question asked inside a node. Countersign shows it but cannot answer it yet;"
    " answer it from the agent's own code."
)
_LONGEST_SUMMARY = 120


def read(graph: Graph, snapshot: Snapshot) -> list[Pause]:
    """Return one pause for each pending `interrupt()`."""
    return [_pause(snapshot, pending) for pending in snapshot.interrupts]


def _pause(snapshot: Snapshot, pending: PendingInterrupt) -> Pause:
    return Pause(
        kind="interrupt",
        interrupt_id=pending.id,
        next=snapshot.next,
        title=f"Question from {pending.node.replace('_', ' ')}",
        summary=_summary(pending.value),
        request={"node": pending.node, "value": pending.value, "response_schema": pending.response_schema},
        actions=(Action(name=pending.node, args=pending.value, title=f"Question from {pending.node}"),),
        allowed_verdicts=(),
        answer_schema=pending.response_schema,
        why_not=WHY_NOT,
    )


def _summary(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SUMMARY else text[: _LONGEST_SUMMARY - 1] + "…"
