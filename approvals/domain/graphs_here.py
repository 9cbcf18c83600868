"""Which graphs workers have now: what waits for a graph that none of them has says so before anybody decides it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from approvals.counts import Listed, Read
from approvals.domain import bindings
from approvals.domain.answers import BREAKPOINT
from approvals.models import Approval, Graph, Worker

CARRIED_OUT_LATER = "What is decided is carried out once one has it."
_NODE_GONE = (
    "The graph {!r:.60} has no node {} any more: what is approved is not carried out until its code has it again."
    " A rejection ends the thread."
)


@dataclass(frozen=True)
class GoneGraph:
    """Why nothing can carry out what is decided, as a word and a sentence."""

    word: str
    sentence: str


@cache
def reads() -> dict[str, Read]:
    """Return what `GraphsHere` is made of, to be read with other small things of a page."""
    alive = Worker.objects.filter(seen_at__gt=Now() - timedelta(seconds=settings.ALIVE_SECONDS))
    cards = Graph.objects.order_by("id")
    return {"workers": Listed(alive.values("graphs")), "cards": Listed(cards.values("id", "nodes"))}


class GraphsHere:
    """The graphs that have a card, and those that a worker which is alive has."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.cards = [each["id"] for each in told["cards"]]
        self._nodes = {each["id"]: each["nodes"] for each in told["cards"]}
        self._has_worker = bool(told["workers"])
        self._at_work = {graph_id for worker in told["workers"] for graph_id in worker["graphs"]}

    def why_gone(self, approval: Approval) -> GoneGraph | None:
        """Say that the graph of an approval is gone: others are at work, or nobody has left a card of it. Or that its
        code is another one by now, without the nodes that were shown.
        """
        graph_id = approval.graph_id
        if not graph_id:
            return None
        if graph_id not in self._at_work and (self._has_worker or graph_id not in self.cards):
            return GoneGraph("Graph missing", f"{bindings.graph_gone(graph_id)} {CARRIED_OUT_LATER}")
        lacking = self._lacking(approval)
        return GoneGraph("Node missing", _NODE_GONE.format(graph_id, ", ".join(lacking))) if lacking else None

    def _lacking(self, approval: Approval) -> list[str]:
        """Return the nodes of a breakpoint that its graph no longer has. A question can come from within a node."""
        nodes = self._nodes.get(approval.graph_id)
        if not nodes or approval.kind != BREAKPOINT:
            return []
        return [node for node in approval.path[:1] or approval.next if node not in nodes]
